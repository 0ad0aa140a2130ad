//! Frames that will never come, as they are kept: in the log, as a row of `gaps`, and in the minutes of `completeness`.
//!
//! Nobody knows when a frame that never came was due. It is told from the last frame of its topic, one interval a
//! number, and is right unless the generator left ticks out meanwhile. Where nothing of the topic was stored before,
//! the gap is taken to have ended when it was noticed.
//!
//! A gap is final. The subscriber hands each number out once, as a frame or in a gap, and resumes behind both; a frame
//! that comes all the same has come before as far as the store is concerned. One kind is open: the end of an epoch whose
//! generator died, of which nobody knows how many frames there were. Its number is NULL, and it counts as nothing.

use zonescope_proto::{Message, v1};

use crate::limits::GAP_MINUTES;

/// A minute, in ns.
pub const MINUTE: u64 = 60_000_000_000;

/// Numbers at the head of a gap in the log: the last number, and when it was noticed.
const HEAD_BYTES: usize = 16;
/// Stands for a last number that nobody knows.
const UNKNOWN: u64 = u64::MAX;

/// Consecutive frames of one topic that will never come.
#[derive(Debug, Clone, PartialEq)]
pub struct Lost {
    /// What the first of them would have said: where from, which epoch and number; its time is an estimate.
    pub first: v1::Header,
    /// The number of the last; `None` where the epoch ended and nobody knows with which.
    pub last: Option<u64>,
    /// When it was noticed, in ns since 1970 UTC, by our own clock.
    pub noticed: u64,
    /// Why, in a word: see `zonescope_link::order::Reason`.
    pub reason: String,
}

impl Lost {
    /// How many frames; `None` where nobody knows.
    pub fn count(&self) -> Option<u64> {
        Some(self.last?.saturating_sub(self.first.sequence).saturating_add(1))
    }

    /// When the last was due.
    pub fn last_due(&self) -> u64 {
        let after = self.count().unwrap_or(1).saturating_sub(1).saturating_mul(interval_ns(&self.first));
        self.first.time.saturating_add(after).min(self.noticed.max(self.first.time))
    }

    /// Minutes, by their beginning, and how many of the frames were due in each. What was due after the gap was noticed,
    /// or more than [`GAP_MINUTES`] later than the first, counts in the last of them.
    pub fn minutes(&self) -> Vec<(u64, u64)> {
        let (step, end) = (interval_ns(&self.first), self.last_due());
        let (mut due, mut left) = (self.first.time, self.count().unwrap_or(0));
        let mut minutes = Vec::new();
        while left > 0 {
            let begin = due - due % MINUTE;
            let next = begin.saturating_add(MINUTE);
            let is_last = next > end || minutes.len() + 1 == GAP_MINUTES;
            let here = if is_last { left } else { (next - due).div_ceil(step).min(left) };
            minutes.push((begin, here));
            left -= here;
            due = due.saturating_add(here.saturating_mul(step));
        }
        minutes
    }

    /// As it stands in the log.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.last.unwrap_or(UNKNOWN).to_le_bytes());
        into.extend_from_slice(&self.noticed.to_le_bytes());
        into.push(u8::try_from(self.reason.len()).unwrap_or(0));
        into.extend_from_slice(self.reason.as_bytes());
        into.extend_from_slice(&self.first.encode_to_vec());
    }

    /// Out of the log. `None` where it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (last, noticed) = head.split_at(8);
        let (reason_bytes, rest) = rest.split_first()?;
        let (reason, header) = rest.split_at_checked(usize::from(*reason_bytes))?;
        Some(Lost {
            first: v1::Header::decode(header).ok()?,
            last: Some(u64::from_le_bytes(last.try_into().ok()?)).filter(|last| *last != UNKNOWN),
            noticed: u64::from_le_bytes(noticed.try_into().ok()?),
            reason: std::str::from_utf8(reason).ok()?.to_owned(),
        })
    }
}

/// Time between ticks, in ns; never zero.
pub fn interval_ns(header: &v1::Header) -> u64 {
    u64::from(header.interval_ms.max(1)) * 1_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn lost(time: u64, count: u64, noticed: u64) -> Lost {
        let first = v1::Header { sequence: 5, time, interval_ms: 1000, ..v1::Header::default() };
        Lost { first, last: Some(4 + count), noticed, reason: "evicted".to_owned() }
    }

    #[test]
    fn each_minute_has_what_was_due_in_it() {
        let gap = lost(58 * SECOND, 64, 1000 * SECOND);
        assert_eq!(gap.minutes(), [(0, 2), (MINUTE, 60), (2 * MINUTE, 2)]);
        assert_eq!(gap.last_due(), 121 * SECOND);
    }

    #[test]
    fn nothing_was_due_after_it_was_noticed() {
        assert_eq!(lost(58 * SECOND, 64, 90 * SECOND).minutes(), [(0, 2), (MINUTE, 62)]);
    }

    #[test]
    fn of_an_unknown_number_none_is_counted() {
        assert!(Lost { last: None, ..lost(SECOND, 1, SECOND) }.minutes().is_empty());
    }

    proptest! {
        #[test]
        fn no_frame_is_left_out_however_long_the_gap(time in 0..u64::MAX / 2, count in 1..u64::MAX / 2, noticed: u64) {
            let minutes = lost(time, count, noticed).minutes();
            prop_assert!(minutes.len() <= GAP_MINUTES);
            prop_assert_eq!(minutes.iter().map(|(_, n)| n).sum::<u64>(), count);
        }

        #[test]
        fn what_the_log_has_is_what_was_lost(time: u64, count in 1..u64::MAX / 2, noticed: u64, ends: bool) {
            let mut gap = lost(time, count, noticed);
            gap.last = gap.last.filter(|_| ends);
            let mut bytes = Vec::new();
            gap.encode(&mut bytes);
            prop_assert_eq!(Lost::decode(&bytes), Some(gap));
        }

        #[test]
        fn no_bytes_make_it_stumble(bytes: Vec<u8>) {
            if let Some(gap) = Lost::decode(&bytes) {
                gap.minutes();
            }
        }
    }
}
