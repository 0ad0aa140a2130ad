//! Topics: what a frame is published under, so that a plain SUB takes one zone exactly, or everything.
//!
//! A topic is `<zone>/<host id>`, zone first. ZeroMQ subscriptions are prefixes: `web1/` takes `web1` from every
//! host and never `web10`; the empty subscription takes everything; `/` takes the host frames alone, whose
//! zone is empty. No zone name holds a slash: illumos forbids it (zonename is alphanumeric, `-`, `_`, `.`), and
//! the generator replaces it on Linux.

use crate::limits::{MAX_HOST_ID_BYTES, MAX_ZONE_NAME_BYTES};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no bytes.
    #[error("a name cannot be empty")]
    Empty,
    /// It has more bytes than the limit.
    #[error("a name of {0} bytes is longer than {1}")]
    TooLong(usize, usize),
    /// It holds a slash or a control character.
    #[error("a name cannot hold {0:?}")]
    Character(char),
}

fn check(name: &str, longest: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > longest {
        return Err(NameError::TooLong(name.len(), longest));
    }
    // Nearly every name.
    if name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'/') {
        return Ok(());
    }
    match name.chars().find(|c| *c == '/' || c.is_control()) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

/// Whether this is the zone of a topic: a name, or nothing, for the host frame.
pub(crate) fn check_zone(zone: &str) -> Result<(), NameError> {
    if zone.is_empty() { Ok(()) } else { check(zone, MAX_ZONE_NAME_BYTES) }
}

/// Whether this is the host of a topic.
pub(crate) fn check_host_id(host_id: &str) -> Result<(), NameError> {
    check(host_id, MAX_HOST_ID_BYTES)
}

/// The name of a zone: its identity. Never empty, no slash, no control character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName(String);

impl ZoneName {
    /// The host itself.
    pub const GLOBAL: &'static str = "global";

    /// Takes a name as it is.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check(&name, MAX_ZONE_NAME_BYTES)?;
        Ok(ZoneName(name))
    }

    /// Makes a name of any text: replaces what a name cannot hold by `_` and cuts it at the limit.
    pub fn lossy(text: &str) -> Self {
        let mut name: String = text.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
        let mut end = name.len().min(MAX_ZONE_NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        if name.is_empty() {
            name.push('_');
        }
        ZoneName(name)
    }

    /// `global`.
    pub fn global() -> Self {
        ZoneName(Self::GLOBAL.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ZoneName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// The zone; empty for the host frame.
    pub zone: String,
    /// The stable identity of the host.
    pub host_id: String,
}

impl Topic {
    /// The topic of a zone, or of the host frame where `zone` is empty.
    pub fn new(zone: &str, host_id: &str) -> Result<Self, NameError> {
        check_zone(zone)?;
        check_host_id(host_id)?;
        Ok(Topic { zone: zone.to_owned(), host_id: host_id.to_owned() })
    }

    /// Whether this is how it is written on the wire.
    pub fn is(&self, bytes: &[u8]) -> bool {
        let rest = bytes.strip_prefix(self.zone.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
        rest == Some(self.host_id.as_bytes())
    }

    /// Reads a topic off the wire. `None` where it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (zone, host_id) = std::str::from_utf8(bytes).ok()?.split_once('/')?;
        Topic::new(zone, host_id).ok()
    }

    /// The subscription that takes exactly `zone`, from every host.
    pub fn subscription(zone: &ZoneName) -> String {
        format!("{zone}/")
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.zone, self.host_id)
    }
}
