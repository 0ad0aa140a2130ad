//! What an endpoint turned away, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::wire::WireError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Before its peer was known.
    #[error("no handshake: {0}")]
    Unknown(WireError),
    /// Others came, and its peer had not said who it is.
    #[error("it said nothing and others came")]
    GaveWay,
    /// All seats are taken.
    #[error("too many connections, of its address or in all")]
    Full,
    /// Its peer left, or broke a limit.
    #[error("{0}")]
    Peer(WireError),
    /// Its key was taken away.
    #[error("its key is authorised no more")]
    Revoked,
    /// Its peer did not take what waited for it.
    #[error("it takes nothing")]
    Stuck,
}

macro_rules! counters {
    ($($name:ident: $what:literal,)*) => {
        /// What an endpoint turned away since it was bound.
        #[derive(Debug, Default)]
        pub struct Refusals {
            $(#[doc = $what] pub $name: AtomicU64,)*
        }

        /// The same at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Refused {
            $(#[doc = $what] pub $name: u64,)*
        }

        impl Refusals {
            /// How much it was.
            pub fn counts(&self) -> Refused {
                Refused { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl std::ops::Add for Refused {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Refused { $($name: self.$name + other.$name,)* }
            }
        }

        impl fmt::Display for Refused {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let counts = [$((self.$name, $what),)*];
                for (n, (count, what)) in counts.into_iter().filter(|(count, _)| *count > 0).enumerate() {
                    write!(f, "{}{count} {what}", if n == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    };
}

counters! {
    connections: "connections beyond the limit",
    handshakes: "handshakes that came to no end",
    keys: "keys that are not authorised",
    revoked: "connections of keys that were taken away",
    messages: "messages that were too large or none",
    subscriptions: "subscriptions beyond the limit",
    left_out: "messages for peers whose queue was full",
    stuck: "connections whose peer took nothing",
}

impl Refused {
    /// Peers that were turned away, and what was turned away of theirs. What was left out for a slow one is not in it.
    pub fn of_peers(&self) -> u64 {
        self.connections + self.handshakes + self.keys + self.revoked + self.messages + self.subscriptions + self.stuck
    }
}

impl Refusals {
    /// Counts the end of a connection, unless its peer just left.
    pub(super) fn count(&self, why: &Ended) {
        let counter = match why {
            Ended::Unknown(WireError::Stream(_)) | Ended::Peer(WireError::Stream(_)) => return,
            Ended::Unknown(_) | Ended::GaveWay => &self.handshakes,
            Ended::Peer(_) => &self.messages,
            Ended::Full => &self.connections,
            Ended::Revoked => &self.revoked,
            Ended::Stuck => &self.stuck,
        };
        counter.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_said() {
        let refusals = Refusals::default();
        assert_eq!(refusals.counts().to_string(), "");
        refusals.count(&Ended::Full);
        refusals.count(&Ended::GaveWay);
        refusals.count(&Ended::GaveWay);
        let counts = refusals.counts();
        assert_eq!(counts.to_string(), "1 connections beyond the limit, 2 handshakes that came to no end");
        assert_eq!((counts.of_peers(), (counts + counts).handshakes), (3, 4));
    }
}
