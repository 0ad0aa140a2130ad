//! What the configuration says about frames that subscribers miss: `recovery_bind` and `[ring]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use zonescope_link::recover::{Bounds, DEFAULT_PORT};
use zonescope_link::transport::address_and_port;
use zonescope_link::{LinkError, RecoveryOptions, ring, spool};

/// `recovery_bind` where none is wanted.
const OFF: &str = "off";

/// Smallest ring: a frame of the largest size that may be.
const SMALLEST_BYTES: u64 = 2 << 20;

/// Smallest spool: some segments, so that not everything goes at once.
const SMALLEST_SPOOL_BYTES: u64 = 8 * spool::SEGMENT_BYTES;

/// How many frames are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RingConfig {
    /// Most bytes in memory.
    pub bytes: u64,
    /// Longest time in memory, seconds.
    pub age_s: u64,
    /// Directory on disk, where frames should survive a restart.
    pub spool: Option<PathBuf>,
    /// Most bytes on disk.
    pub spool_bytes: u64,
    /// Longest time on disk, seconds.
    pub spool_age_s: u64,
}

impl Default for RingConfig {
    fn default() -> Self {
        let (ring, spool) = (ring::Limits::default(), spool::Limits::default());
        RingConfig {
            bytes: ring.bytes,
            age_s: ring.age.as_secs(),
            spool: None,
            spool_bytes: spool.bytes,
            spool_age_s: spool.age.as_secs(),
        }
    }
}

/// A value that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its key.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

impl RingConfig {
    /// Whether all values can be.
    ///
    /// # Errors
    /// Says which cannot, and what could.
    pub fn check(&self) -> Result<(), Wrong> {
        let least = |key, value: u64, least: u64| {
            let wrong = || Wrong { key, value: value.to_string(), allowed: format!("{least} or more") };
            if value < least { Err(wrong()) } else { Ok(()) }
        };
        least("bytes", self.bytes, SMALLEST_BYTES)?;
        least("age_s", self.age_s, 1)?;
        least("spool_bytes", self.spool_bytes, SMALLEST_SPOOL_BYTES)?;
        least("spool_age_s", self.spool_age_s, 1)?;
        match &self.spool {
            Some(path) if !path.is_absolute() => {
                Err(Wrong { key: "spool", value: path.display().to_string(), allowed: "an absolute path".to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The same as options, to be served at `bind`.
    pub fn options(&self, bind: String) -> RecoveryOptions {
        let age = Duration::from_secs;
        RecoveryOptions {
            bind,
            ring: ring::Limits { bytes: self.bytes, age: age(self.age_s) },
            spool: self.spool.as_ref().map(|directory| {
                (directory.clone(), spool::Limits { bytes: self.spool_bytes, age: age(self.spool_age_s) })
            }),
            bounds: Bounds::default(),
        }
    }
}

/// Where to serve what subscribers missed.
#[derive(Debug, PartialEq, Eq)]
pub enum RecoveryBind {
    /// Nowhere.
    Off,
    /// Here and nowhere else.
    Configured(String),
    /// Here; if that is taken, anywhere at this address: subscribers learn the port from the host frame.
    Derived {
        /// One above the port where frames are published: 7212.
        first: String,
        /// Any port.
        otherwise: String,
    },
}

impl RecoveryBind {
    /// What `recovery_bind` means beside `bind`.
    ///
    /// # Errors
    /// Where it is neither `off` nor an endpoint.
    pub fn new(configured: Option<&str>, bind: &str) -> Result<Self, LinkError> {
        match configured {
            Some(OFF) => Ok(RecoveryBind::Off),
            Some(endpoint) => {
                address_and_port(endpoint)?;
                Ok(RecoveryBind::Configured(endpoint.to_owned()))
            }
            None => {
                let (address, port) = address_and_port(bind)?;
                let next = if port == 0 { 0 } else { port.checked_add(1).unwrap_or(DEFAULT_PORT) };
                Ok(RecoveryBind::Derived { first: format!("{address}:{next}"), otherwise: format!("{address}:0") })
            }
        }
    }
}

impl RecoveryBind {
    /// The addresses to try, in order.
    pub fn places(self) -> Vec<String> {
        match self {
            RecoveryBind::Off => Vec::new(),
            RecoveryBind::Configured(endpoint) => vec![endpoint],
            RecoveryBind::Derived { first, otherwise } => vec![first, otherwise],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_one_port_above_publishing_unless_told_otherwise() {
        let first = |bind| match RecoveryBind::new(None, bind).unwrap() {
            RecoveryBind::Derived { first, .. } => first,
            other => panic!("{other:?}"),
        };
        assert_eq!(first(zonescope_link::DEFAULT_ENDPOINT), "tcp://127.0.0.1:7212");
        assert_eq!(first("tcp://10.0.0.5:9000"), "tcp://10.0.0.5:9001");
        assert_eq!(first("tcp://10.0.0.5:65535"), "tcp://10.0.0.5:7212");
        assert_eq!(RecoveryBind::new(Some("off"), "tcp://h:1").unwrap(), RecoveryBind::Off);
        let own = RecoveryBind::new(Some("tcp://h:5"), "tcp://h:1").unwrap();
        assert_eq!(own, RecoveryBind::Configured("tcp://h:5".into()));
        assert!(RecoveryBind::new(Some("h:5"), "tcp://h:1").is_err());
    }

    #[test]
    fn a_ring_too_small_for_a_frame_is_refused() {
        let small = RingConfig { bytes: 1000, ..RingConfig::default() };
        let wrong = small.check().unwrap_err();
        assert_eq!((wrong.key, wrong.value.as_str()), ("bytes", "1000"));
        let relative = RingConfig { spool: Some("spool".into()), ..RingConfig::default() };
        assert_eq!(relative.check().unwrap_err().key, "spool");
        assert_eq!(RingConfig::default().check(), Ok(()));
    }
}
