//! The seam between the kstat chain and the families: live (illumos, FFI), recorded (JSON lines), and the text of
//! `kstat -p` and `kstat -j`.
//!
//! A chain is visited kstat by kstat; nothing of it is kept, so that a live chain copies no strings.

/// Which kstat: what is known of it before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id<'a> {
    /// Module: `zones`, `link`, ...
    pub module: &'a str,
    /// Instance; may be negative.
    pub instance: i32,
    /// Name. Never a zone's identity: the kernel cuts it at 30 characters (KSTAT_STRLEN is 31, sys/kstat.h).
    pub name: &'a str,
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.module, self.instance, self.name)
    }
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stat<'a> {
    /// KSTAT_DATA_UINT32 and UINT64, and whatever is not negative in text.
    Uint(u64),
    /// KSTAT_DATA_INT32 and INT64.
    Int(i64),
    /// Numbers with a fraction, in text only.
    Double(f64),
    /// KSTAT_DATA_STRING and CHAR.
    Text(&'a str),
}

impl Stat<'_> {
    /// The value, where it is a whole number that is not negative.
    pub fn uint(&self) -> Option<u64> {
        match *self {
            Stat::Uint(v) => Some(v),
            Stat::Int(v) => u64::try_from(v).ok(),
            Stat::Double(_) | Stat::Text(_) => None,
        }
    }

    /// The value as text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Stat::Text(v) => Some(v),
            _ => None,
        }
    }
}

/// A kstat that has been read.
#[derive(Debug, Clone, Copy)]
pub struct Kstat<'a> {
    /// Which.
    pub id: Id<'a>,
    /// When it was created, hrtime ns; `None` where a capture does not say.
    pub crtime_ns: Option<u64>,
    /// When it was read, hrtime ns; `None` where a capture does not say.
    pub snaptime_ns: Option<u64>,
    /// Its statistics, in the kernel's order. Names may be empty, hold anything, and repeat.
    pub stats: &'a [(&'a str, Stat<'a>)],
}

impl<'a> Kstat<'a> {
    /// The first statistic of that name.
    pub fn stat(&self, name: &str) -> Option<Stat<'a>> {
        self.stats.iter().find(|(n, _)| *n == name).map(|(_, s)| *s)
    }

    /// The zone it belongs to, where it says so.
    pub fn zonename(&self) -> Option<&'a str> {
        match self.stat("zonename") {
            Some(Stat::Text(name)) if !name.is_empty() => Some(name),
            _ => None,
        }
    }
}

/// One instant by both clocks: kstats are stamped with hrtime, frames with UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// hrtime ns. `None` where a capture does not say.
    pub hrtime_ns: Option<u64>,
    /// ns since 1970 UTC. `None` where a capture does not say.
    pub utc_ns: Option<u64>,
    /// Size of a page, bytes.
    pub page_size: u64,
}

impl Moment {
    /// The hrtime at `utc_ns`, an instant near this one: the only place where one clock becomes the other. Where this
    /// moment knows no UTC, it is taken to be that instant.
    pub fn hrtime_at(&self, utc_ns: u64) -> Option<u64> {
        let since = self.utc_ns.map_or(0, |now| now.wrapping_sub(utc_ns));
        self.hrtime_ns.map(|hrtime| hrtime.wrapping_sub(since))
    }
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skipped {
    /// kstats that vanished between update and read, or that cannot be read.
    pub kstats: u64,
    /// Why, of the last one.
    pub reason: Option<String>,
}

impl Skipped {
    /// Counts one more.
    pub fn add(&mut self, reason: impl std::fmt::Display) {
        self.kstats += 1;
        self.reason = Some(reason.to_string());
    }

    /// Counts what another visit left out.
    pub fn also(&mut self, other: Skipped) {
        self.kstats += other.kstats;
        self.reason = other.reason.or(self.reason.take());
    }
}

/// Who looks at a chain.
pub trait Visitor {
    /// Whether it wants a kstat: others are not even read.
    fn wants(&self, id: Id<'_>) -> bool;

    /// Takes one that it wants.
    fn kstat(&mut self, kstat: &Kstat<'_>);
}

/// A chain of kstats.
pub trait Chain: Send {
    /// Goes to the next tick: reads the live chain anew, or the next chain of a capture. `None` at the end of a capture.
    ///
    /// # Errors
    /// Where the live chain cannot be updated.
    fn update(&mut self) -> Result<Option<Moment>, String>;

    /// Hands every kstat that `visitor` wants to it, in the chain's order.
    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped;

    /// What of this tick could not even be told to be a kstat: the broken lines of a capture.
    fn left_out(&self) -> Skipped {
        Skipped::default()
    }

    /// Starts a capture over; a live chain has no beginning.
    ///
    /// # Errors
    /// Where the capture is gone.
    fn rewind(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hrtime_and_utc_are_two_clocks_of_one_instant() {
        let moment = Moment { hrtime_ns: Some(5_000), utc_ns: Some(1_000_070), page_size: 4096 };
        assert_eq!(moment.hrtime_at(1_000_000), Some(4_930));
        assert_eq!(moment.hrtime_at(1_000_100), Some(5_030));
        assert_eq!(Moment { utc_ns: None, ..moment }.hrtime_at(1), Some(5_000));
        assert_eq!(Moment::default().hrtime_at(1), None);
    }
}
