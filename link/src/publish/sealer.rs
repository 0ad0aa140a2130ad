//! Sealing: gives each frame its header and number, and encodes it.
//!
//! # Numbers
//! Frames of a topic are numbered from 1 within the epoch. A topic that was silent for [`FORGET_AFTER`] is forgotten,
//! so that memory and the host frame follow the zones that live, not all that ever lived. Should it come back, its numbers
//! go on above the largest of all that were forgotten: no number is ever used twice.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use zonescope_proto::fold::fold;
use zonescope_proto::limits::{MAX_ANNOUNCEMENTS, MAX_FRAME_BYTES, MAX_KEPT_EPOCHS};
use zonescope_proto::{FORMAT_VERSION, Topic, encode, v1};

use crate::LinkError;
use crate::tally::Tally;

/// A topic that was silent for so long, by the times of its frames, is announced no more. Longer than the ring reaches back by
/// default, so that what can be recovered is announced.
pub const FORGET_AFTER: Duration = Duration::from_secs(30 * 60);

/// What a host frame may hold of announcements; the rest is for its header.
const ANNOUNCEMENT_BYTES: usize = MAX_FRAME_BYTES - 4096;

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Stable identity of the host.
    pub host_id: String,
    /// Its name.
    pub host: String,
    /// Start of this generator, ns since 1970 UTC.
    pub epoch: u64,
}

/// The numbers of one topic.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    begins: u64,
    last: u64,
    time_ns: u64,
}

/// A frame as it travels.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    /// The topic.
    pub(super) topic: Bytes,
    /// The frame.
    pub(super) bytes: Bytes,
    /// Its number.
    pub(super) sequence: u64,
    /// The first number of its topic in this epoch.
    pub(super) begins: u64,
}

/// Numbers and encodes frames. Knows no socket, so that tests and other transports use it as it is.
#[derive(Debug)]
pub struct Sealer {
    pub(super) identity: Identity,
    topics: HashMap<String, Numbers>,
    /// The largest number of all topics that were forgotten.
    floor: u64,
    recovery_port: Option<u16>,
    kept_epochs: Vec<u64>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl Sealer {
    /// A sealer whose sequences begin.
    pub fn new(identity: Identity) -> Self {
        Sealer {
            identity,
            topics: HashMap::new(),
            floor: 0,
            recovery_port: None,
            kept_epochs: Vec::new(),
            buffer: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Who publishes.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Says in host frames where missed frames can be asked for, and of which earlier epochs; the last ones, if they are
    /// many.
    pub fn announce_recovery(&mut self, port: u16, kept_epochs: &[u64]) {
        self.recovery_port = Some(port);
        self.kept_epochs = kept_epochs[kept_epochs.len().saturating_sub(MAX_KEPT_EPOCHS)..].to_vec();
    }

    /// Completes the frame of one zone with its header, and encodes it: topic and frame as they travel. The frame keeps its
    /// header, as a subscriber will see it.
    ///
    /// # Errors
    /// Where the zone's name is none, or the frame breaks a limit; its number is not used up.
    pub fn seal(
        &mut self,
        zone: Option<v1::Zone>,
        frame: &mut v1::Frame,
        time_ns: u64,
        interval_ms: u32,
    ) -> Result<(Bytes, Bytes), LinkError> {
        self.seal_numbered(zone, frame, time_ns, interval_ms).map(|sealed| (sealed.topic, sealed.bytes))
    }

    pub(super) fn seal_numbered(
        &mut self,
        zone: Option<v1::Zone>,
        frame: &mut v1::Frame,
        time_ns: u64,
        interval_ms: u32,
    ) -> Result<Sealed, LinkError> {
        let name = zone.as_ref().map(|z| z.name.clone()).unwrap_or_default();
        let topic = Topic::new(&name, &self.identity.host_id)?.to_string();
        let known = self.topics.get(&name).copied();
        let sequence = known.map_or(self.floor, |known| known.last) + 1;
        let begins = known.map_or(sequence, |known| known.begins);
        frame.header = Some(v1::Header {
            version: FORMAT_VERSION,
            host_id: self.identity.host_id.clone(),
            host: self.identity.host.clone(),
            zone,
            epoch: self.identity.epoch,
            sequence,
            time: time_ns,
            interval_ms,
        });
        let rows = fold(frame);
        let encoded = self.encode(frame);
        rows.put_back(frame);
        let bytes = encoded?;
        self.topics.insert(name, Numbers { begins, last: sequence, time_ns });
        Ok(Sealed { topic: Bytes::from(topic), bytes, sequence, begins })
    }

    /// The host frame: the last number of every topic.
    ///
    /// # Errors
    /// Where the host's id is no name.
    pub fn seal_host(&mut self, time_ns: u64, interval_ms: u32) -> Result<(Bytes, Bytes), LinkError> {
        self.seal_host_numbered(time_ns, interval_ms, false).map(|(sealed, _)| (sealed.topic, sealed.bytes))
    }

    /// The host frame as it travels, and as it was before.
    pub(super) fn seal_host_numbered(
        &mut self,
        time_ns: u64,
        interval_ms: u32,
        farewell: bool,
    ) -> Result<(Sealed, v1::Frame), LinkError> {
        self.forget(time_ns);
        let mut frame = v1::Frame {
            announcement: self.announcements(),
            recovery_port: self.recovery_port.map_or(0, u32::from),
            farewell,
            kept_epoch: self.kept_epochs.clone(),
            ..v1::Frame::default()
        };
        let sealed = self.seal_numbered(None, &mut frame, time_ns, interval_ms)?;
        Ok((sealed, frame))
    }

    /// A frame that has its header already.
    pub(super) fn encode(&mut self, frame: &v1::Frame) -> Result<Bytes, LinkError> {
        let zone = || frame.header.as_ref().and_then(|h| h.zone.as_ref()).map(|z| z.name.clone()).unwrap_or_default();
        encode(frame, &mut self.buffer).map_err(|error| LinkError::Frame { zone: zone(), error })?;
        Ok(self.tally.count(self.buffer.as_slice().to_vec()))
    }

    /// Bytes of frames that were sealed here and that somebody still has.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.tally.alive()
    }

    /// Forgets the topics that were silent for long. The host's own is never.
    fn forget(&mut self, time_ns: u64) {
        let oldest = time_ns.saturating_sub(FORGET_AFTER.as_nanos() as u64);
        let floor = &mut self.floor;
        self.topics.retain(|zone, numbers| {
            let stays = zone.is_empty() || numbers.time_ns >= oldest;
            if !stays {
                *floor = (*floor).max(numbers.last);
            }
            stays
        });
    }

    /// The last number of every topic, by zone. Should there be more than a frame can hold, those that were silent longest are
    /// left out.
    fn announcements(&self) -> Vec<v1::Announcement> {
        let mut topics: Vec<_> = self.topics.iter().filter(|(zone, _)| !zone.is_empty()).collect();
        topics.sort_unstable_by(|a, b| b.1.time_ns.cmp(&a.1.time_ns).then_with(|| a.0.cmp(b.0)));
        let mut room = ANNOUNCEMENT_BYTES;
        let mut announcements: Vec<v1::Announcement> = topics
            .into_iter()
            .take(MAX_ANNOUNCEMENTS)
            // Tags and lengths are 5 bytes at most, the number 10.
            .take_while(|(zone, _)| {
                let fits = room >= zone.len() + 16;
                room = room.saturating_sub(zone.len() + 16);
                fits
            })
            .map(|(zone, numbers)| v1::Announcement { zone: zone.clone(), sequence: numbers.last })
            .collect();
        announcements.sort_unstable_by(|a, b| a.zone.cmp(&b.zone));
        announcements
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zonescope_proto::decode;

    fn sealer() -> Sealer {
        Sealer::new(Identity { host_id: "h1".into(), host: "alpha".into(), epoch: 9 })
    }

    fn zone(name: &str) -> Option<v1::Zone> {
        Some(v1::Zone { name: name.into(), ..v1::Zone::default() })
    }

    #[test]
    fn frames_of_a_topic_are_numbered_from_one() {
        let mut sealer = sealer();
        for expected in 1..=3 {
            let (topic, bytes) = sealer.seal(zone("web1"), &mut v1::Frame::default(), 5, 1000).unwrap();
            assert_eq!(topic, "web1/h1");
            assert_eq!(decode(&bytes).unwrap().header.unwrap().sequence, expected);
        }
        let (_, bytes) = sealer.seal(zone("web2"), &mut v1::Frame::default(), 5, 1000).unwrap();
        assert_eq!(decode(&bytes).unwrap().header.unwrap().sequence, 1);
    }

    #[test]
    fn the_host_frame_announces_the_last_number_of_every_topic() {
        let mut sealer = sealer();
        sealer.seal(zone("b"), &mut v1::Frame::default(), 5, 1000).unwrap();
        sealer.seal(zone("a"), &mut v1::Frame::default(), 5, 1000).unwrap();
        sealer.seal(zone("a"), &mut v1::Frame::default(), 6, 1000).unwrap();
        let (topic, bytes) = sealer.seal_host(6, 1000).unwrap();
        assert_eq!(topic, "/h1");
        let announced: Vec<_> =
            decode(&bytes).unwrap().announcement.into_iter().map(|a| (a.zone, a.sequence)).collect();
        assert_eq!(announced, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }

    #[test]
    fn a_topic_that_was_silent_is_forgotten_and_goes_on_above_all_that_were() {
        let mut sealer = sealer();
        let later = 1 + FORGET_AFTER.as_nanos() as u64 + 1;
        for _ in 0..3 {
            sealer.seal(zone("a"), &mut v1::Frame::default(), 1, 1000).unwrap();
        }
        sealer.seal(zone("b"), &mut v1::Frame::default(), later, 1000).unwrap();
        let (_, host) = sealer.seal_host(later, 1000).unwrap();
        let announced: Vec<_> = decode(&host).unwrap().announcement.into_iter().map(|a| a.zone).collect();
        assert_eq!(announced, ["b"]);

        let a = sealer.seal_numbered(zone("a"), &mut v1::Frame::default(), later, 1000).unwrap();
        let c = sealer.seal_numbered(zone("c"), &mut v1::Frame::default(), later, 1000).unwrap();
        assert_eq!((a.sequence, a.begins, c.sequence, c.begins), (4, 4, 4, 4));
    }

    #[test]
    fn a_host_frame_of_more_topics_than_it_can_hold_leaves_out_the_most_silent() {
        let mut sealer = sealer();
        for n in 0..6000u64 {
            let name = format!("{n:0>200}");
            sealer.seal(zone(&name), &mut v1::Frame::default(), 1000 + n, 1000).unwrap();
        }
        let (_, host) = sealer.seal_host(9000, 1000).unwrap();
        let announced = decode(&host).unwrap().announcement;
        assert!(announced.len() > 4000 && announced.len() < 6000, "{}", announced.len());
        assert_eq!(announced.last().unwrap().zone, format!("{:0>200}", 5999));
        assert_eq!(announced[0].zone, format!("{:0>200}", 6000 - announced.len()));
    }

    #[test]
    fn a_name_that_is_none_uses_up_no_number() {
        let mut sealer = sealer();
        assert!(sealer.seal(zone("a/b"), &mut v1::Frame::default(), 5, 1000).is_err());
        assert!(sealer.seal_host(5, 1000).is_ok_and(|(_, b)| decode(&b).unwrap().announcement.is_empty()));
    }
}
