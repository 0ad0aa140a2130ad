//! What can go wrong with Redis, in words that say what to do; and saying it once, then ever more rarely.

use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, ServerError};

use crate::limits::RESPONSE_TIMEOUT;

/// Redis cannot be written to just now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers there.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody is there and says nothing.
    #[error("does not answer within {} s: paused, overloaded, or behind a broken network", .0.as_secs())]
    NoAnswer(Duration),
    /// Not the user or password that it wants.
    #[error("refuses our user or password ({0}): see `username`, `password_file` and ACL LIST")]
    Login(String),
    /// The user may not do what we need.
    #[error("does not let our user do what is needed ({0}): docs/REDIS.md has the ACL")]
    Permission(String),
    /// `maxmemory` is reached.
    #[error("is out of memory ({0}): history is shortened to make room; raise maxmemory, or keep less")]
    Full(String),
    /// A replica.
    #[error("takes no writes ({0}): a replica, or a master that has been replaced; name the master, or use `sentinel`")]
    ReadOnly(String),
    /// It has just been started.
    #[error("is loading its data")]
    Loading,
    /// It cannot save, and so refuses to write.
    #[error("refuses writes as it cannot save to its disk ({0})")]
    Misconfigured(String),
    /// Some node of the cluster is away, or slots are on the move.
    #[error("cluster: {0}")]
    Cluster(String),
    /// Too old.
    #[error("has version {0}, and 6.2 is the oldest that has what is needed")]
    TooOld(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Trouble {
    /// Of an error that a server answered.
    pub fn of_server(error: &ServerError) -> Self {
        let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
        match error.code() {
            "NOAUTH" | "WRONGPASS" => Trouble::Login(text),
            "NOPERM" => Trouble::Permission(text),
            "OOM" => Trouble::Full(text),
            "READONLY" => Trouble::ReadOnly(text),
            "LOADING" => Trouble::Loading,
            "MISCONF" | "NOREPLICAS" => Trouble::Misconfigured(text),
            "CLUSTERDOWN" | "MASTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" | "CROSSSLOT" => Trouble::Cluster(text),
            _ => Trouble::Other(text),
        }
    }

    /// Two of the same kind are the same trouble, whatever their words.
    fn is_like(&self, other: &Trouble) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        match error.kind() {
            _ if error.is_timeout() => Trouble::NoAnswer(RESPONSE_TIMEOUT),
            ErrorKind::AuthenticationFailed => Trouble::Login(text),
            ErrorKind::ClusterConnectionNotFound => Trouble::Cluster(text),
            ErrorKind::Io => Trouble::Unreachable(text),
            ErrorKind::MasterNameNotFoundBySentinel => Trouble::Unreachable(text),
            _ => match error.into_server_errors() {
                Some(errors) => errors.first().map_or(Trouble::Other(text), |(_, error)| Trouble::of_server(error)),
                None => Trouble::Other(text),
            },
        }
    }
}

/// The first complaint comes at once, the second after a minute, then twice as long each time, up to an hour.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);
const COMPLAIN_LONGEST: Duration = Duration::from_secs(3600);

/// What is wrong, since when, and when it was last said.
#[derive(Debug, Default)]
pub struct Complaints {
    current: Option<Complaint>,
    /// How often something went wrong.
    pub count: u64,
    /// What went wrong last.
    pub last: Option<Trouble>,
}

#[derive(Debug)]
struct Complaint {
    since: Instant,
    said: Instant,
    again: Duration,
    trouble: Trouble,
}

impl Complaints {
    /// Notes a trouble. True where it is to be said: for the first time, another one than before, or after a while.
    pub fn note(&mut self, trouble: &Trouble, now: Instant) -> bool {
        self.count += 1;
        self.last = Some(trouble.clone());
        match &mut self.current {
            Some(current) if current.trouble.is_like(trouble) => {
                let say = now.duration_since(current.said) >= current.again;
                if say {
                    current.said = now;
                    current.again = (current.again * 2).min(COMPLAIN_LONGEST);
                }
                say
            }
            current => {
                let since = current.as_ref().map_or(now, |c| c.since);
                *current = Some(Complaint { since, said: now, again: COMPLAIN_AGAIN, trouble: trouble.clone() });
                true
            }
        }
    }

    /// All is well. Gives how long it was not, where it was not.
    pub fn well(&mut self, now: Instant) -> Option<Duration> {
        self.current.take().map(|c| now.duration_since(c.since))
    }

    /// Whether something is wrong.
    pub fn is_wrong(&self) -> bool {
        self.current.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_at_once_and_then_ever_more_rarely() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let down = |words: &str| Trouble::Unreachable(words.to_owned());
        let said: Vec<u64> = (0..10_000)
            .filter(|second| complaints.note(&down(&second.to_string()), start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(said, [0, 60, 180, 420, 900, 1860, 3780, 7380]);
        assert!(complaints.note(&Trouble::Loading, start + Duration::from_secs(10_000)), "another trouble is news");
        assert_eq!(complaints.well(start + Duration::from_secs(10_005)), Some(Duration::from_secs(10_005)));
        assert_eq!(complaints.well(start + Duration::from_secs(10_006)), None);
        assert_eq!(complaints.count, 10_001);
    }
}
