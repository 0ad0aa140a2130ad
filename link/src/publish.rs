//! Publishing: gives each frame its header and number, encodes it, sends it.

use std::collections::HashMap;

use bytes::Bytes;
use zonescope_proto::limits::MAX_ANNOUNCEMENTS;
use zonescope_proto::{FORMAT_VERSION, Topic, encode, v1};

use crate::LinkError;
use crate::transport::Publication;

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

/// Numbers and encodes frames. Knows no socket, so that tests and other transports use it as it is.
#[derive(Debug)]
pub struct Sealer {
    identity: Identity,
    /// The last number of every topic of this epoch. A zone that ended stays: were its numbers to start over,
    /// they would be taken for duplicates.
    sequences: HashMap<String, u64>,
    buffer: Vec<u8>,
}

impl Sealer {
    /// A sealer whose sequences begin.
    pub fn new(identity: Identity) -> Self {
        Sealer { identity, sequences: HashMap::new(), buffer: Vec::new() }
    }

    /// Who publishes.
    pub fn identity(&self) -> &Identity {
        &self.identity
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
        let name = zone.as_ref().map(|z| z.name.clone()).unwrap_or_default();
        let topic = Topic::new(&name, &self.identity.host_id)?.to_string();
        let sequence = self.sequences.get(&name).copied().unwrap_or(0) + 1;
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
        encode(frame, &mut self.buffer).map_err(|error| LinkError::Frame { zone: name.clone(), error })?;
        self.sequences.insert(name, sequence);
        Ok((Bytes::from(topic), Bytes::copy_from_slice(&self.buffer)))
    }

    /// The host frame: the last number of every topic.
    ///
    /// # Errors
    /// Where the host's id is no name.
    pub fn seal_host(&mut self, time_ns: u64, interval_ms: u32) -> Result<(Bytes, Bytes), LinkError> {
        let mut announcement: Vec<v1::Announcement> = self
            .sequences
            .iter()
            .filter(|(zone, _)| !zone.is_empty())
            .take(MAX_ANNOUNCEMENTS)
            .map(|(zone, sequence)| v1::Announcement { zone: zone.clone(), sequence: *sequence })
            .collect();
        announcement.sort_unstable_by(|a, b| a.zone.cmp(&b.zone));
        let mut frame = v1::Frame { announcement, ..v1::Frame::default() };
        self.seal(None, &mut frame, time_ns, interval_ms)
    }
}

/// Seals frames and sends them.
pub struct Publisher {
    sealer: Sealer,
    socket: Publication,
    frames: u64,
    bytes: u64,
}

impl Publisher {
    /// Listens on `endpoint`.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(endpoint: &str, identity: Identity) -> Result<Self, LinkError> {
        Ok(Publisher { sealer: Sealer::new(identity), socket: Publication::bind(endpoint).await?, frames: 0, bytes: 0 })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        self.socket.endpoint()
    }

    /// Waits for somebody to connect.
    pub async fn subscriber(&mut self) {
        self.socket.subscriber().await;
    }

    /// Publishes the frame of one zone.
    ///
    /// # Errors
    /// Where the frame cannot be sealed, or the socket is closed.
    pub async fn publish(
        &mut self,
        zone: v1::Zone,
        frame: &mut v1::Frame,
        time_ns: u64,
        interval_ms: u32,
    ) -> Result<(), LinkError> {
        let (topic, bytes) = self.sealer.seal(Some(zone), frame, time_ns, interval_ms)?;
        self.send(topic, bytes).await
    }

    /// Publishes the host frame: the end of a tick.
    ///
    /// # Errors
    /// Where it cannot be sealed, or the socket is closed.
    pub async fn announce(&mut self, time_ns: u64, interval_ms: u32) -> Result<(), LinkError> {
        let (topic, bytes) = self.sealer.seal_host(time_ns, interval_ms)?;
        self.send(topic, bytes).await
    }

    async fn send(&mut self, topic: Bytes, frame: Bytes) -> Result<(), LinkError> {
        self.frames += 1;
        self.bytes += frame.len() as u64;
        self.socket.send(topic, frame).await
    }

    /// Frames and bytes published since the start.
    pub fn published(&self) -> (u64, u64) {
        (self.frames, self.bytes)
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
    fn a_name_that_is_none_uses_up_no_number() {
        let mut sealer = sealer();
        assert!(sealer.seal(zone("a/b"), &mut v1::Frame::default(), 5, 1000).is_err());
        assert!(sealer.seal_host(5, 1000).is_ok_and(|(_, b)| decode(&b).unwrap().announcement.is_empty()));
    }
}
