//! Keeping to a ceiling of memory: the oldest history goes first, the latest state never.
//!
//! The ceiling is compared with `used_memory` of every server, the fullest of them counting. Above it, history is kept for a
//! shorter time, of all zones alike, down to some seconds; with room again, the time grows back. Without a ceiling
//! of our own, nine tenths of the server's `maxmemory` are one, unless the server makes room by itself (any policy but
//! `noeviction`), which may cost the latest state and is therefore warned of.

use crate::connect::field;
use crate::limits::SQUEEZED_LEAST;

/// Below this part of the ceiling there is room again.
const ROOM: f64 = 0.8;
/// What trimming aims at.
const AIM: f64 = 0.9;

/// How long history is kept.
#[derive(Debug)]
pub struct Memory {
    ceiling: Option<u64>,
    keep_ms: u64,
    now_ms: f64,
    used: u64,
    over: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Trim all history to [`Memory::keep_ms`].
    Trim,
}

impl Memory {
    /// History is kept for `keep_ms`, unless memory says otherwise.
    pub fn new(ceiling: Option<u64>, keep_ms: u64) -> Self {
        Memory { ceiling, keep_ms, now_ms: keep_ms as f64, used: 0, over: false }
    }

    /// How long history is kept just now.
    pub fn keep_ms(&self) -> u64 {
        self.now_ms as u64
    }

    /// Whether that is shorter than was asked for.
    pub fn is_short(&self) -> bool {
        self.keep_ms() < self.keep_ms
    }

    /// What the fullest server uses.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Looks at what each server answers to INFO memory.
    pub fn look(&mut self, servers: &[String]) -> Verdict {
        let number = |info: &str, name: &str| field(info, name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let fullness = |info: &String| {
            let used = number(info, "used_memory");
            let own = (number(info, "maxmemory") as f64 * 0.9) as u64;
            let own = (own > 0 && field(info, "maxmemory_policy") == Some("noeviction")).then_some(own);
            let ceiling = self.ceiling.into_iter().chain(own).min()?;
            Some((used as f64 / ceiling as f64, used))
        };
        let fullest = servers.iter().filter_map(fullness).max_by(|a, b| a.0.total_cmp(&b.0));
        self.used = servers.iter().map(|info| number(info, "used_memory")).max().unwrap_or(0);
        match fullest {
            Some((full, _)) if full > 1.0 => {
                self.shorten((AIM / full).clamp(0.5, AIM));
                Verdict::Trim
            }
            Some((full, _)) if full > ROOM => Verdict::Fine,
            _ => {
                self.now_ms = (self.now_ms * 1.1).min(self.keep_ms as f64);
                Verdict::Fine
            }
        }
    }

    /// A write was refused for lack of memory.
    pub fn squeeze(&mut self) {
        self.shorten(0.5);
    }

    fn shorten(&mut self, factor: f64) {
        let least = (SQUEEZED_LEAST.as_millis() as f64).min(self.keep_ms as f64);
        self.now_ms = (self.now_ms * factor).max(least);
    }

    /// True once each time that memory begins to be short, and false-to-true is what is worth a line in the log.
    pub fn begins_to_be_short(&mut self) -> bool {
        let short = self.is_short();
        std::mem::replace(&mut self.over, short) != short && short
    }
}

/// Whether a server evicts what it likes.
pub fn evicts(info: &str) -> Option<&str> {
    let bounded = field(info, "maxmemory").is_some_and(|m| m != "0");
    field(info, "maxmemory_policy").filter(|policy| bounded && *policy != "noeviction")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn server(used: u64, max: u64, policy: &str) -> String {
        format!("used_memory:{used}\r\nmaxmemory:{max}\r\nmaxmemory_policy:{policy}\r\n")
    }

    #[test]
    fn above_the_ceiling_history_gets_shorter_and_with_room_longer_again() {
        let mut memory = Memory::new(Some(1000), HOUR);
        assert_eq!(memory.look(&[server(900, 0, "noeviction")]), Verdict::Fine);
        assert_eq!(memory.look(&[server(500, 0, "noeviction"), server(1200, 0, "noeviction")]), Verdict::Trim);
        assert_eq!(memory.keep_ms(), HOUR * 3 / 4, "the fullest server counts");
        assert!(memory.begins_to_be_short() && !memory.begins_to_be_short());
        memory.look(&[server(900, 0, "noeviction")]);
        assert_eq!(memory.keep_ms(), HOUR * 3 / 4, "almost full is no room");
        for _ in 0..10 {
            memory.look(&[server(100, 0, "noeviction")]);
        }
        assert_eq!(memory.keep_ms(), HOUR);
    }

    #[test]
    fn it_never_gets_shorter_than_some_seconds() {
        let mut memory = Memory::new(None, HOUR);
        for _ in 0..50 {
            memory.squeeze();
        }
        assert_eq!(memory.keep_ms(), 10_000);
        let mut memory = Memory::new(None, 2_000);
        memory.squeeze();
        assert_eq!(memory.keep_ms(), 2_000);
    }

    #[test]
    fn the_servers_own_bound_counts_unless_it_evicts() {
        let mut memory = Memory::new(None, HOUR);
        assert_eq!(memory.look(&[server(950, 1000, "noeviction")]), Verdict::Trim);
        assert_eq!(memory.look(&[server(950, 1000, "allkeys-lru")]), Verdict::Fine);
        assert_eq!(memory.look(&[server(950, 0, "noeviction")]), Verdict::Fine);
        assert_eq!(evicts(&server(1, 1000, "allkeys-lru")), Some("allkeys-lru"));
        assert_eq!(evicts(&server(1, 0, "allkeys-lru")), None);
    }
}
