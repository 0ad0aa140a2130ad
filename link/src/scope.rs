//! Scope: the zones that an endpoint speaks of. What a subscriber of such an endpoint can learn is decided here, and by
//! nothing that the subscriber says: it may subscribe to everything, and ask recovery for everything.
//!
//! * A frame of a zone leaves by the endpoints whose scope takes the zone. A name is taken as it is written, or by a glob.
//!   `global` speaks of the whole host (its disks, its cores, the generator itself): it is taken where it is written, and by
//!   no glob.
//! * A host frame leaves by every endpoint, each with announcements of its own zones alone, under the same number: to a
//!   subscriber its zones are all that there are, and they are complete.
//! * Recovery hands out the same: host frames are narrowed as they are answered, and of any other zone it says word for
//!   word what it says of one that never was.
//!
//! What host frames tell everybody: id and name of the host, when its generators were started, and how long a tick is. And
//! the numbers of a zone that is new begin above those of all topics that were forgotten
//! ([`Sealer`](crate::publish::Sealer)): who sees a zone begin at 5,000 learns that there was another one for as long.

use bytes::Bytes;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use zonescope_proto::{DecodeError, ZoneName, decode, encode, v1};

/// The zones that an endpoint speaks of.
#[derive(Debug, Clone, Default)]
pub enum Scope {
    /// All of them, and the host.
    #[default]
    Everything,
    /// These.
    Zones(Zones),
}

/// Zones by names and globs.
#[derive(Debug, Clone)]
pub struct Zones {
    names: Vec<String>,
    globs: GlobSet,
}

/// A list that names no zones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It is empty.
    #[error("name at least one zone; \"*\" takes every zone but `global`")]
    Empty,
    /// A text that can be no name and no glob.
    #[error("`{text}` is neither the name of a zone nor a glob: {error}")]
    Pattern {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        error: String,
    },
}

impl Scope {
    /// The zones whose names are `patterns`, or match one of them as a glob (`web*`, `acme-[0-9]`, `{db,web}-eu`).
    ///
    /// # Errors
    /// Where there are none, or one cannot be.
    pub fn zones<T: AsRef<str>>(patterns: &[T]) -> Result<Self, ScopeError> {
        if patterns.is_empty() {
            return Err(ScopeError::Empty);
        }
        let mut globs = GlobSetBuilder::new();
        for text in patterns.iter().map(AsRef::as_ref) {
            let wrong = |error: String| ScopeError::Pattern { text: text.to_owned(), error };
            ZoneName::new(text).map_err(|e| wrong(e.to_string()))?;
            let glob = GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build();
            globs.add(glob.map_err(|e| wrong(e.kind().to_string()))?);
        }
        let globs = globs.build().map_err(|e| ScopeError::Pattern { text: String::new(), error: e.to_string() })?;
        Ok(Scope::Zones(Zones { names: patterns.iter().map(|text| text.as_ref().to_owned()).collect(), globs }))
    }

    /// Whether frames of `zone` are spoken of.
    pub fn takes(&self, zone: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Zones(zones) => zones.take(zone),
        }
    }
}

impl Zones {
    /// Names first: systemd's may hold a backslash, which means something else in a glob.
    fn take(&self, zone: &str) -> bool {
        self.names.iter().any(|name| name == zone) || (zone != ZoneName::GLOBAL && self.globs.is_match(zone))
    }
}

/// What one endpoint shows: its scope, and where it serves recovery.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Its zones.
    pub scope: Scope,
    /// Its own port of recovery; 0 for none.
    pub recovery_port: u16,
}

impl View {
    /// The host frame `whole` as this endpoint shows it; `None` where that is as it is.
    pub fn narrow(&self, whole: &v1::Frame) -> Option<v1::Frame> {
        match &self.scope {
            Scope::Everything => None,
            Scope::Zones(zones) => Some(self.announcing(zones, whole)),
        }
    }

    /// A host frame as it was kept, as this endpoint shows it.
    ///
    /// # Errors
    /// Where it has to be narrowed and cannot be read.
    pub fn show(&self, host_frame: Bytes) -> Result<Bytes, DecodeError> {
        let Scope::Zones(zones) = &self.scope else { return Ok(host_frame) };
        let mut shown = Vec::new();
        encode(&self.announcing(zones, &decode(&host_frame)?), &mut shown)?;
        Ok(shown.into())
    }

    /// Field by field: what is added to host frames one day is not shown before somebody has thought about it here.
    fn announcing(&self, zones: &Zones, whole: &v1::Frame) -> v1::Frame {
        v1::Frame {
            header: whole.header.clone(),
            announcement: whole.announcement.iter().filter(|announced| zones.take(&announced.zone)).cloned().collect(),
            recovery_port: u32::from(self.recovery_port),
            farewell: whole.farewell,
            // Of no use to who cannot ask.
            kept_epoch: if self.recovery_port == 0 { Vec::new() } else { whole.kept_epoch.clone() },
            ..v1::Frame::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(patterns: &[&str], zone: &str) -> bool {
        Scope::zones(patterns).unwrap().takes(zone)
    }

    #[test]
    fn zones_are_taken_by_name_or_by_glob_and_never_by_a_part_of_the_name() {
        assert!(takes(&["web1"], "web1") && !takes(&["web1"], "web10") && !takes(&["web1"], "aweb1"));
        assert!(takes(&["db", "web*"], "web10") && takes(&["acme-[0-9]"], "acme-7") && !takes(&["acme-?"], "acme-77"));
        assert!(takes(&["{db,web}-eu"], "db-eu") && takes(&["*"], "a"));
        assert!(takes(&[r"dev-disk\x2duuid.swap"], r"dev-disk\x2duuid.swap"), "as it is written");
        assert!(Scope::default().takes("anything") && Scope::default().takes("global"));
    }

    #[test]
    fn the_host_is_taken_by_its_name_alone() {
        assert!(takes(&["global"], "global"));
        for glob in ["*", "g*", "[g]lobal", "{global,web}"] {
            assert!(!takes(&[glob], "global"), "{glob}");
        }
    }

    #[test]
    fn what_names_no_zone_is_refused_with_the_reason() {
        let error = |patterns: &[&str]| Scope::zones(patterns).unwrap_err().to_string();
        assert!(error(&[]).contains("at least one zone"));
        assert!(error(&["a/b"]).contains("`a/b`") && error(&["a/b"]).contains("'/'"));
        assert!(error(&["ok", "[z-a]"]).contains("`[z-a]`") && error(&[""]).contains("empty"));
    }

    #[test]
    fn a_host_frame_shows_its_zones_and_nothing_else_of_the_frame_changes() {
        let announce = |zone: &str| v1::Announcement { zone: zone.into(), sequence: 7 };
        let whole = v1::Frame {
            header: Some(v1::Header { host_id: "h1".into(), sequence: 3, ..v1::Header::default() }),
            announcement: ["acme-1", "global", "other"].map(announce).into(),
            recovery_port: 7212,
            farewell: true,
            kept_epoch: vec![1, 2],
            ..v1::Frame::default()
        };
        let view = View { scope: Scope::zones(&["acme-*"]).unwrap(), recovery_port: 7222 };
        let expected = v1::Frame { announcement: vec![announce("acme-1")], recovery_port: 7222, ..whole.clone() };
        assert_eq!(view.narrow(&whole), Some(expected));
        assert_eq!(View::default().narrow(&whole), None);
    }
}
