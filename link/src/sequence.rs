//! Which frames should have come, and which did.
//!
//! Frames of a topic are numbered from 1 within an epoch, the start of the generator. A subscriber that joins
//! later takes the first number it sees for the beginning. From then on each number is expected once:
//! a jump ahead is a gap, a number already passed is a duplicate, a later epoch starts over, an earlier one is stale.

use std::collections::HashMap;

use zonescope_proto::Topic;

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The one that was expected, or the first of its topic.
    Next,
    /// A later one: so many before it are missing.
    Gap(u64),
    /// One that was there before.
    Duplicate,
    /// The first of a new epoch; so many of its beginning are missing.
    NewEpoch(u64),
    /// Of an epoch that has ended.
    Stale,
}

/// The last number of each topic.
#[derive(Debug, Default)]
pub struct Sequences {
    last: HashMap<Topic, (u64, u64)>,
}

impl Sequences {
    /// Takes a frame of `topic` into account.
    pub fn observe(&mut self, topic: &Topic, epoch: u64, sequence: u64) -> Outcome {
        let Some((known_epoch, last)) = self.last.get_mut(topic) else {
            self.last.insert(topic.clone(), (epoch, sequence));
            return Outcome::Next;
        };
        if epoch < *known_epoch {
            return Outcome::Stale;
        }
        if epoch > *known_epoch {
            (*known_epoch, *last) = (epoch, sequence);
            return Outcome::NewEpoch(sequence - 1);
        }
        if sequence <= *last {
            return Outcome::Duplicate;
        }
        let missing = sequence - *last - 1;
        *last = sequence;
        if missing == 0 { Outcome::Next } else { Outcome::Gap(missing) }
    }

    /// Takes an announcement into account: `sequence` was the last of `topic`. Gives how many are missing for
    /// certain, the last one included, and expects them no more. A topic that never sent us a frame is not ours to miss.
    pub fn announced(&mut self, topic: &Topic, epoch: u64, sequence: u64) -> u64 {
        match self.last.get_mut(topic) {
            Some((known_epoch, last)) if *known_epoch == epoch && sequence > *last => {
                let missing = sequence - *last;
                *last = sequence;
                missing
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic::new("web1", "h1").unwrap()
    }

    #[test]
    fn a_late_joiner_misses_nothing_before_its_first_frame() {
        assert_eq!(Sequences::default().observe(&topic(), 1, 77), Outcome::Next);
    }

    #[test]
    fn gaps_duplicates_and_epochs_are_told_apart() {
        let mut s = Sequences::default();
        let t = topic();
        assert_eq!(s.observe(&t, 5, 1), Outcome::Next);
        assert_eq!(s.observe(&t, 5, 2), Outcome::Next);
        assert_eq!(s.observe(&t, 5, 5), Outcome::Gap(2));
        assert_eq!(s.observe(&t, 5, 5), Outcome::Duplicate);
        assert_eq!(s.observe(&t, 6, 1), Outcome::NewEpoch(0));
        assert_eq!(s.observe(&t, 5, 6), Outcome::Stale);
        assert_eq!(s.observe(&t, 7, 3), Outcome::NewEpoch(2));
    }

    #[test]
    fn an_announcement_finds_the_last_frame_of_a_zone_that_ended() {
        let mut s = Sequences::default();
        let t = topic();
        s.observe(&t, 5, 8);
        assert_eq!(s.announced(&t, 5, 8), 0);
        assert_eq!(s.announced(&t, 5, 10), 2);
        assert_eq!(s.announced(&t, 5, 10), 0);
        assert_eq!(s.announced(&Topic::new("other", "h1").unwrap(), 5, 10), 0);
    }
}
