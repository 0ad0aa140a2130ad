//! What is stored already: the last sequence number of every topic and epoch. A frame whose number is not greater has
//! come before.
//!
//! A topic is remembered for as long as a generator could send its old frames again (limits.rs), so that the memory
//! this takes follows the zones that live, not all that ever lived.

use std::collections::HashMap;
use std::fmt::Write as _;

use zonescope_proto::Topic;
use zonescope_proto::v1::Header;

/// The last sequence number of one topic in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    epoch: u64,
    sequence: u64,
    /// When it came, by our clock.
    at: u64,
}

/// The last sequence numbers of all topics.
#[derive(Debug, Default)]
pub struct Seen {
    /// By `zone/host id`. A topic has one epoch, and for a while two, when its generator restarted.
    topics: HashMap<String, Vec<Last>>,
    key: String,
}

impl Seen {
    /// Whether a frame is new; and takes note of it.
    pub fn observe(&mut self, header: &Header, now: u64) -> bool {
        let zone = header.zone.as_ref().map_or("", |z| z.name.as_str());
        self.note(zone, &header.host_id, header.epoch, header.sequence, now)
    }

    /// The same of a frame of which only these are known.
    pub fn note(&mut self, zone: &str, host_id: &str, epoch: u64, sequence: u64, now: u64) -> bool {
        self.key.clear();
        let _ = write!(self.key, "{zone}/{host_id}");
        let Some(epochs) = self.topics.get_mut(self.key.as_str()) else {
            self.topics.insert(self.key.clone(), vec![Last { epoch, sequence, at: now }]);
            return true;
        };
        match epochs.iter_mut().find(|l| l.epoch == epoch) {
            Some(last) if sequence <= last.sequence => false,
            Some(last) => {
                (last.sequence, last.at) = (sequence, now);
                true
            }
            None => {
                epochs.push(Last { epoch, sequence, at: now });
                true
            }
        }
    }

    /// Forgets what came before `time`, by our clock.
    pub fn forget_before(&mut self, time: u64) {
        self.topics.retain(|_, epochs| {
            epochs.retain(|l| l.at >= time);
            !epochs.is_empty()
        });
    }

    /// How far each topic came: epoch and number, of its newest epoch.
    pub fn positions(&self) -> HashMap<Topic, (u64, u64)> {
        let newest = |epochs: &[Last]| epochs.iter().map(|l| (l.epoch, l.sequence)).max();
        let topics = self.topics.iter();
        topics.filter_map(|(topic, epochs)| Some((Topic::parse(topic.as_bytes())?, newest(epochs)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_greater_has_come_before() {
        let mut seen = Seen::default();
        assert!(seen.note("web1", "h", 1, 5, 0));
        assert!(!seen.note("web1", "h", 1, 5, 0) && !seen.note("web1", "h", 1, 4, 0));
        assert!(seen.note("web1", "h", 1, 6, 0));
    }

    #[test]
    fn epochs_hosts_and_zones_have_numbers_of_their_own() {
        let mut seen = Seen::default();
        assert!(seen.note("web1", "h", 1, 5, 0));
        assert!(seen.note("web1", "h", 2, 1, 0) && seen.note("web1", "i", 1, 1, 0) && seen.note("", "h", 1, 1, 0));
        assert!(!seen.note("web1", "h", 1, 5, 0), "the old epoch is remembered beside the new");
    }

    #[test]
    fn memory_follows_the_zones_that_live() {
        let mut seen = Seen::default();
        for zone in 0..1000 {
            seen.note(&format!("z{zone}"), "h", 1, 1, zone);
        }
        seen.forget_before(990);
        assert_eq!(seen.positions().len(), 10);
    }
}
