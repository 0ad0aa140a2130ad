//! A frame on its way: as it came, as it waits, as it is handed out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zonescope_proto::{Topic, decode, v1};

use crate::order::Item;

/// A frame, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Where from.
    pub endpoint: Arc<str>,
    /// Its topic.
    pub topic: Topic,
    /// The frame: valid, within all limits. In a box: it goes from hand to hand, and has 4 KB without what it holds.
    pub frame: Box<v1::Frame>,
    /// The same as it travelled.
    pub bytes: Bytes,
    /// It did not come when it was published, but was asked for.
    pub recovered: bool,
}

impl Received {
    /// The header. [`decode`] has seen to it that there is one.
    pub fn header(&self) -> &v1::Header {
        static NONE: v1::Header = v1::Header {
            version: 0,
            host_id: String::new(),
            host: String::new(),
            zone: None,
            epoch: 0,
            sequence: 0,
            time: 0,
            interval_ms: 0,
        };
        self.frame.header.as_ref().unwrap_or(&NONE)
    }
}

/// A frame on its way through the state machine. While it waits it is kept as it travelled: decoded it takes several times as
/// much.
#[derive(Debug)]
pub(super) struct Parcel {
    endpoint: Arc<str>,
    pub(super) topic: Topic,
    epoch: u64,
    sequence: u64,
    interval_ms: u32,
    frame: Option<Box<v1::Frame>>,
    bytes: Bytes,
    recovered: bool,
}

impl Parcel {
    /// Checks what came.
    pub(super) fn new(
        endpoint: &Arc<str>,
        topic: Option<&[u8]>,
        bytes: Bytes,
        recovered: bool,
    ) -> Result<Self, String> {
        let frame = decode(&bytes).map_err(|e| e.to_string())?;
        let header = frame.header.as_ref().ok_or("no header")?;
        let zone = header.zone.as_ref().map_or("", |z| z.name.as_str());
        // Whose header is valid: so it is as well.
        let own = Topic { zone: zone.to_owned(), host_id: header.host_id.clone() };
        if topic.is_some_and(|topic| !own.is(topic)) {
            return Err(format!("its topic is not its header's {own}"));
        }
        let (epoch, sequence, interval_ms) = (header.epoch, header.sequence, header.interval_ms);
        let (endpoint, frame) = (Arc::clone(endpoint), Some(Box::new(frame)));
        Ok(Parcel { endpoint, topic: own, epoch, sequence, interval_ms, frame, bytes, recovered })
    }

    pub(super) fn open(self) -> Option<Received> {
        let Parcel { endpoint, topic, frame, bytes, recovered, .. } = self;
        // It was decoded before, so it can be again.
        let frame = frame.or_else(|| decode(&bytes).ok().map(Box::new))?;
        Some(Received { endpoint, topic, frame, bytes, recovered })
    }
}

impl Item for Parcel {
    fn topic(&self) -> &Topic {
        &self.topic
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn bytes(&self) -> usize {
        self.bytes.len() + size_of::<Parcel>() + self.topic.zone.len() + self.topic.host_id.len()
    }

    fn wait(&mut self) {
        self.frame = None;
    }

    fn announced(&self) -> impl Iterator<Item = (&str, u64)> {
        self.frame.iter().flat_map(|f| &f.announcement).map(|a| (a.zone.as_str(), a.sequence))
    }

    fn recovery_port(&self) -> Option<u16> {
        self.frame.as_ref().and_then(|f| u16::try_from(f.recovery_port).ok()).filter(|port| *port != 0)
    }

    fn kept_epochs(&self) -> &[u64] {
        self.frame.as_ref().map_or(&[], |f| &f.kept_epoch)
    }

    fn farewell(&self) -> bool {
        self.frame.as_ref().is_some_and(|f| f.farewell)
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.interval_ms))
    }
}
