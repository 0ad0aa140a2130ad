//! How two readings of a counter become a difference: the only place where that is decided. The SQL views, the
//! Redis collector and the live table all call it.
//!
//! Real counters do four things (seen in captures of real hosts, see generator/fixtures/README.md):
//!  * they grow;
//!  * they start over from zero with the thing they count: a disk, a zone, a process. Then the kstat's `crtime`,
//!    or the zone's id, is another one;
//!  * they step back by a few milliseconds, because the kernel adds up time on several CPUs (`rtime`, `wtime` and
//!    `rlentime` of `sd`). Nothing was reset, and the difference is zero;
//!  * they wrap, where the driver keeps 32 bits (`ipackets` of ixgbe: 4294966526, then 996).

/// What is known of two readings' counters being the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The same: same creation time, same zone id.
    Same,
    /// Another one of the same name.
    Changed,
    /// The platform does not say.
    Unknown,
}

impl Identity {
    /// Of two creation times (or ids), where both are known.
    pub fn of<T: PartialEq>(previous: Option<T>, current: Option<T>) -> Self {
        match (previous, current) {
            (Some(a), Some(b)) if a == b => Identity::Same,
            (Some(_), Some(_)) => Identity::Changed,
            _ => Identity::Unknown,
        }
    }

    /// Both hold: changed if one is, the same if one is sure and the other does not object.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Identity::Changed, _) | (_, Identity::Changed) => Identity::Changed,
            (Identity::Same, _) | (_, Identity::Same) => Identity::Same,
            _ => Identity::Unknown,
        }
    }
}

/// How much a counter of `bits` bits grew from `previous` to `current`.
///
/// A new counter has counted everything since its creation, which was after the previous reading. Of a counter
/// that went back and whose identity is unknown, a fall below half is taken for a new counter, anything less for
/// a step back.
pub fn delta(previous: u64, current: u64, bits: u32, identity: Identity) -> u64 {
    if identity == Identity::Changed {
        return current;
    }
    if let Some(grown) = current.checked_sub(previous) {
        return grown;
    }
    if let Some(grown) = wrapped(previous, current, bits) {
        return grown;
    }
    if identity == Identity::Unknown && current < previous / 2 { current } else { 0 }
}

/// The growth across a wrap: from the last quarter of the range to its first.
fn wrapped(previous: u64, current: u64, bits: u32) -> Option<u64> {
    let range = 1u64.checked_shl(bits)?;
    (previous < range && previous >= range / 4 * 3 && current < range / 4).then(|| range - previous + current)
}

/// How much a counter grew per second over `nanoseconds`. `None` where no time went by, and where time ran
/// backwards.
pub fn per_second(delta: u64, nanoseconds: i64) -> Option<f64> {
    (nanoseconds > 0).then(|| delta as f64 * 1e9 / nanoseconds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_grows_gives_its_growth() {
        assert_eq!(delta(10, 25, 64, Identity::Unknown), 15);
        assert_eq!(delta(0, u64::MAX, 64, Identity::Same), u64::MAX);
    }

    #[test]
    fn a_step_back_of_milliseconds_is_no_reset() {
        assert_eq!(delta(2_435_301_100_932, 2_435_299_100_932, 64, Identity::Unknown), 0);
        assert_eq!(delta(2_435_301_100_932, 2_435_299_100_932, 64, Identity::Same), 0);
    }

    #[test]
    fn a_new_counter_has_counted_since_its_creation() {
        assert_eq!(delta(1_000_000, 40, 64, Identity::Changed), 40);
        assert_eq!(delta(1_000_000, 40, 64, Identity::Unknown), 40);
        assert_eq!(delta(10, 2_000, 64, Identity::Changed), 2_000);
    }

    #[test]
    fn a_32_bit_counter_wraps() {
        // ixgbe0 ipackets, 2013
        assert_eq!(delta(4_294_966_526, 996, 32, Identity::Same), 1_766);
        assert_eq!(delta(4_294_966_526, 996, 32, Identity::Unknown), 1_766);
        // the same numbers in a 64-bit counter are a reset, or nothing
        assert_eq!(delta(4_294_966_526, 996, 64, Identity::Unknown), 996);
    }

    #[test]
    fn a_rate_needs_time() {
        assert_eq!(per_second(10, 0), None);
        assert_eq!(per_second(10, -5), None);
        assert_eq!(per_second(10, 500_000_000), Some(20.0));
    }
}
