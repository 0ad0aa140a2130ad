//! How things are stored, and for how long.

use redis::{Cmd, Pipeline, cmd};

use crate::keys::Keys;

/// How things are stored.
#[derive(Debug, Clone)]
pub struct Style {
    /// Names of keys.
    pub keys: Keys,
    /// How long history is kept, ms.
    pub keep_ms: u64,
    /// Rates in the history too, not only in the latest state.
    pub history_rates: bool,
    /// Tables without a history.
    pub no_history: Vec<String>,
}

impl Style {
    /// Keys live for so long after they were last refreshed, and are refreshed so often, ms: what is gone is gone from Redis when
    /// its history would be, and a sixtieth of that later at most.
    pub(crate) fn lives(&self) -> (u64, u64) {
        let refresh = (self.keep_ms / 60).max(1000);
        (self.keep_ms + refresh, refresh)
    }

    /// Lets a key live as long as history does, from now on.
    pub fn expire_command(&self, key: &str) -> Cmd {
        let mut expire = cmd("EXPIRE");
        expire.arg(key).arg(self.lives().0.div_ceil(1000));
        expire
    }

    /// The same as part of a transaction.
    pub(crate) fn expire(&self, pipe: &mut Pipeline, key: &str) {
        pipe.add_command(self.expire_command(key));
    }

    /// Whether it is time to refresh; if so, moves the time on.
    pub(crate) fn due(&self, at: &mut u64, now_ms: u64) -> bool {
        let due = *at <= now_ms;
        if due {
            *at = now_ms + self.lives().1;
        }
        due
    }
}
