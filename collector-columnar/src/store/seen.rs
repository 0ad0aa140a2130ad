//! What is stored already: the last sequence number of every topic and epoch. A frame whose number is not greater has
//! come before, or is on record as one that never will.
//!
//! A topic is remembered for as long as a generator could send its old frames again (limits.rs), so that the memory
//! this takes follows the zones that live, not all that ever lived.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use zonescope_link::Gap;
use zonescope_proto::{Topic, v1};

use super::lost::{Lost, MINUTE, interval_ns};
use crate::limits::GAP_MINUTES;

/// What is remembered of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a> {
    /// Stable identity of its host.
    pub host_id: &'a str,
    /// Name of its host.
    pub host: &'a str,
    /// Name of its zone.
    pub zone: &'a str,
    /// Number of its zone.
    pub zone_id: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// Its tick, in ns since 1970 UTC.
    pub time: u64,
    /// Time between ticks.
    pub interval_ms: u32,
}

impl<'a> Mark<'a> {
    /// Of the frame that has this header.
    pub fn of(header: &'a v1::Header) -> Self {
        let v1::Header { host_id, host, zone, epoch, sequence, time, interval_ms, .. } = header;
        let (zone, zone_id) = zone.as_ref().map_or(("", 0), |zone| (zone.name.as_str(), zone.id));
        let (epoch, sequence, time, interval_ms) = (*epoch, *sequence, *time, *interval_ms);
        Mark { host_id, host, zone, zone_id, epoch, sequence, time, interval_ms }
    }
}

/// The last sequence number of one topic in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    epoch: u64,
    sequence: u64,
    /// Its tick.
    time: u64,
    /// When it came, by our clock.
    at: u64,
    /// That the epoch ended, and nobody knows with which number, is on record.
    ended: bool,
}

#[derive(Debug, Default)]
struct Known {
    zone_id: u64,
    /// One, and for a while two, when the generator restarted.
    epochs: Vec<Last>,
}

impl Known {
    /// The last number of an epoch; zero where there is none yet.
    fn last(&mut self, epoch: u64) -> &mut Last {
        let place = self.epochs.iter().position(|l| l.epoch == epoch).unwrap_or_else(|| {
            self.epochs.push(Last { epoch, sequence: 0, time: 0, at: 0, ended: false });
            self.epochs.len() - 1
        });
        &mut self.epochs[place]
    }
}

#[derive(Debug, Default)]
struct HostKnown {
    name: String,
    interval_ms: u32,
}

/// The last sequence numbers of all topics.
#[derive(Debug, Default)]
pub struct Seen {
    /// By `zone/host id`.
    topics: HashMap<String, Known>,
    hosts: HashMap<String, HostKnown>,
    key: String,
}

impl Seen {
    /// Whether a frame is new; and takes note of it.
    pub fn note(&mut self, mark: Mark<'_>, now: u64) -> bool {
        if !self.hosts.get(mark.host_id).is_some_and(|h| h.name == mark.host && h.interval_ms == mark.interval_ms) {
            let known = HostKnown { name: mark.host.to_owned(), interval_ms: mark.interval_ms };
            self.hosts.insert(mark.host_id.to_owned(), known);
        }
        let Some(topic) = self.topic(mark.zone, mark.host_id) else { return false };
        let last = topic.last(mark.epoch);
        if mark.sequence <= last.sequence {
            return false;
        }
        *last = Last { epoch: mark.epoch, sequence: mark.sequence, time: mark.time, at: now, ended: false };
        topic.zone_id = mark.zone_id;
        true
    }

    /// What is known of a topic; always something. Allocates for new ones only.
    fn topic(&mut self, zone: &str, host_id: &str) -> Option<&mut Known> {
        self.key.clear();
        let _ = write!(self.key, "{zone}/{host_id}");
        if !self.topics.contains_key(&self.key) {
            self.topics.insert(self.key.clone(), Known::default());
        }
        self.topics.get_mut(&self.key)
    }

    /// What is to be put on record of a gap that a subscriber found, its time estimated; `None` where nothing of it is new.
    pub fn lost(&self, gap: &Gap, now: u64) -> Option<Lost> {
        let topic = self.topics.get(&gap.topic.to_string());
        let last = topic.and_then(|t| t.epochs.iter().find(|l| l.epoch == gap.epoch));
        let sequence = gap.first.max(last.map_or(0, |l| l.sequence.saturating_add(1)));
        if sequence > gap.last || (gap.count().is_none() && last.is_some_and(|l| l.ended)) {
            return None;
        }
        let host = self.hosts.get(&gap.topic.host_id);
        let mut first = v1::Header {
            version: zonescope_proto::FORMAT_VERSION,
            host_id: gap.topic.host_id.clone(),
            host: host.map_or_else(String::new, |h| h.name.clone()),
            zone: Some(v1::Zone {
                name: gap.topic.zone.clone(),
                id: topic.map_or(0, |t| t.zone_id),
                ..v1::Zone::default()
            }),
            epoch: gap.epoch,
            sequence,
            time: now,
            interval_ms: host.map_or(1000, |h| h.interval_ms),
        };
        let step = interval_ns(&first);
        first.time = match last.filter(|l| l.time > 0) {
            Some(last) => {
                let next = last.time.saturating_add(step);
                next.saturating_add((sequence - last.sequence - 1).saturating_mul(step)).min(now.max(next))
            }
            None => {
                let count = gap.count().map_or(0, |_| gap.last - sequence);
                now.saturating_sub(count.saturating_mul(step).min(GAP_MINUTES as u64 * MINUTE))
            }
        };
        let last = gap.count().map(|_| gap.last);
        Some(Lost { first, last, noticed: now, reason: gap.reason.to_string() })
    }

    /// Takes note of a gap that is on record.
    pub fn note_lost(&mut self, lost: &Lost, now: u64) {
        let mark = Mark::of(&lost.first);
        let Some(topic) = self.topic(mark.zone, mark.host_id) else { return };
        let last = topic.last(mark.epoch);
        last.at = now;
        match lost.last {
            Some(sequence) if sequence > last.sequence => (last.sequence, last.time) = (sequence, lost.last_due()),
            Some(_) => {}
            None => last.ended |= last.sequence < mark.sequence,
        }
    }

    /// Forgets what came before `time`, by our clock.
    pub fn forget_before(&mut self, time: u64) {
        self.topics.retain(|_, topic| {
            topic.epochs.retain(|l| l.at >= time);
            !topic.epochs.is_empty()
        });
        let topics = self.topics.keys().filter_map(|topic| topic.split_once('/'));
        let living: HashSet<&str> = topics.map(|(_, host_id)| host_id).collect();
        self.hosts.retain(|host_id, _| living.contains(host_id.as_str()));
    }

    /// How far each topic came: epoch and number, of its newest epoch.
    pub fn positions(&self) -> HashMap<Topic, (u64, u64)> {
        let newest = |topic: &Known| topic.epochs.iter().map(|l| (l.epoch, l.sequence)).max();
        let topics = self.topics.iter();
        topics.filter_map(|(topic, known)| Some((Topic::parse(topic.as_bytes())?, newest(known)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use zonescope_link::order::Reason;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The frame of `zone` with that number; its tick is as many seconds after 1970.
    fn mark<'a>(zone: &'a str, host_id: &'a str, epoch: u64, sequence: u64) -> Mark<'a> {
        let time = sequence * SECOND;
        Mark { host_id, host: "name", zone, zone_id: 7, epoch, sequence, time, interval_ms: 1000 }
    }

    fn gap(epoch: u64, first: u64, last: u64) -> Gap {
        let topic = Topic::new("web1", "h").unwrap();
        Gap { topic, epoch, first, last, reason: Reason::Evicted }
    }

    #[test]
    fn a_number_that_is_not_greater_has_come_before() {
        let mut seen = Seen::default();
        assert!(seen.note(mark("web1", "h", 1, 5), 0));
        assert!(!seen.note(mark("web1", "h", 1, 5), 0) && !seen.note(mark("web1", "h", 1, 4), 0));
        assert!(seen.note(mark("web1", "h", 1, 6), 0));
    }

    #[test]
    fn epochs_hosts_and_zones_have_numbers_of_their_own() {
        let mut seen = Seen::default();
        assert!(seen.note(mark("web1", "h", 1, 5), 0));
        for other in [mark("web1", "h", 2, 1), mark("web1", "i", 1, 1), mark("", "h", 1, 1)] {
            assert!(seen.note(other, 0), "{other:?}");
        }
        assert!(!seen.note(mark("web1", "h", 1, 5), 0), "the old epoch is remembered beside the new");
    }

    #[test]
    fn memory_follows_the_zones_that_live() {
        let mut seen = Seen::default();
        for zone in 0..1000 {
            seen.note(mark(&format!("z{zone}"), "h", 1, 1), zone);
        }
        seen.forget_before(990);
        assert_eq!((seen.positions().len(), seen.hosts.len()), (10, 1));
        seen.forget_before(2000);
        assert_eq!((seen.positions().len(), seen.hosts.len()), (0, 0));
    }

    #[test]
    fn a_gap_is_due_where_its_topic_left_off() {
        let mut seen = Seen::default();
        seen.note(mark("web1", "h", 1, 5), 0);
        let lost = seen.lost(&gap(1, 6, 9), 100 * SECOND).unwrap();
        assert_eq!((lost.first.time, lost.last_due(), lost.count()), (6 * SECOND, 9 * SECOND, Some(4)));
        assert_eq!((lost.first.host.as_str(), lost.first.zone.as_ref().unwrap().id), ("name", 7));
    }

    #[test]
    fn a_gap_of_a_topic_that_is_new_ended_when_it_was_noticed() {
        let lost = Seen::default().lost(&gap(1, 1, 4), 100 * SECOND).unwrap();
        assert_eq!((lost.first.time, lost.last_due()), (97 * SECOND, 100 * SECOND));
    }

    #[test]
    fn a_gap_is_on_record_once() {
        let mut seen = Seen::default();
        seen.note(mark("web1", "h", 1, 5), 0);
        let lost = seen.lost(&gap(1, 6, 9), 0).unwrap();
        seen.note_lost(&lost, 0);
        assert_eq!(seen.lost(&gap(1, 6, 9), 0), None);
        assert_eq!(seen.lost(&gap(1, 8, 11), 0).unwrap().first.sequence, 10, "what is new of it");
        assert!(!seen.note(mark("web1", "h", 1, 9), 0) && seen.note(mark("web1", "h", 1, 10), 0));
    }

    #[test]
    fn an_end_that_nobody_knows_is_on_record_once_and_moves_no_position() {
        let mut seen = Seen::default();
        seen.note(mark("web1", "h", 1, 5), 0);
        let lost = seen.lost(&gap(1, 6, u64::MAX), 0).unwrap();
        assert_eq!(lost.count(), None);
        seen.note_lost(&lost, 0);
        assert_eq!(seen.lost(&gap(1, 6, u64::MAX), 0), None);
        assert_eq!(seen.positions().into_values().collect::<Vec<_>>(), [(1, 5)]);
        assert!(seen.note(mark("web1", "h", 1, 6), 0), "the epoch came back all the same");
        assert!(seen.lost(&gap(1, 7, u64::MAX), 0).is_some());
    }
}
