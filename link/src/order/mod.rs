//! The order of things: out of frames that come late, twice, in disorder or never, a stream in which each number of
//! each topic is, in order, either a frame or part of an explicit gap with its reason.
//!
//! [`Core`] is a state machine without socket or clock. In go frames as they arrive, answers to requests, lost
//! connections, and the time; out come frames, gaps, and requests to be sent. What surrounds it ([`crate::subscribe`])
//! only moves bytes, so that a model can try every disorder that a network can make (tests/order.rs).
//!
//! # How it works
//! A topic has a number that is handed out next. A frame with that number leaves at once, whatever other topics wait
//! for. A later one waits; what lies between is missing, and is asked for at the recovery port that the host
//! frame announces. The host frame also tells the last number of every topic, so that even the loss of a zone's last
//! frame is seen. Each request asks for everything that is missing, topics in turn; one request a host is under way. An
//! answer brings frames, or says why they will never come: that is a gap.
//!
//! Frames that wait are bounded by [`Options::buffer_bytes`]. When they are too many, newcomers that would have to wait are
//! let go and asked for again later: the generator's ring is the larger buffer.
//!
//! A gap is given up when its host, though alive, has told us nothing for [`Options::give_up`]. That time is measured
//! on the clock of the host's life, which runs only while its frames arrive: a cut link or a stopped generator
//! ages nothing. Whoever is not heard of at all for [`Options::abandon`] is given up altogether.
//!
//! # What happens when
//! Each line is a test of that name in tests/order.rs.
//!
//! | event | outcome |
//! |---|---|
//! | we join a running generator | topics begin with what comes first; nothing earlier is missed |
//! | we resume | from the position given. Topics that came meanwhile: from number 1 |
//! | we resume behind the last host frame of an epoch that has ended | that frame is asked for again, for what it announced; it is not handed out twice |
//! | new epoch on a connection | the old one has ended. What is missing of it is asked for, then the new one is handed out, from number 1 |
//! | restart without spool | what is missing of the old epoch is a gap, [`Reason::Restarted`]; unless the old one took leave (SIGTERM), one more gap without end on the host's topic says that nobody knows what else there was |
//! | several restarts unnoticed, with spool | the epochs between are recovered whole: the host frame names them |
//! | restart with spool | the missing end of the old epoch is recovered; after a crash the gap without end stays, since frames may have died with the process |
//! | another host at the same address | the new host is a host of its own. What is missing of the old one is a gap, [`Reason::Replaced`] |
//! | two generators with one host id | two epochs side by side, each complete and in order; a warning |
//! | the same generator by two addresses | each frame once |
//! | a clock that jumps | nothing: an epoch is a name, and which one is new is known from where it comes, not from its value |
//! | a zone that ended | its last frames are recovered by the announcements; then its topic is silent, and forgotten |
//! | a zone that comes back after half an hour | its numbers go on above all those that were forgotten, so that none comes twice |
//! | no recovery port | gaps at once, [`Reason::NoRecovery`] |

mod ask;
mod core;
mod host;
mod patience;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use zonescope_proto::Topic;
use zonescope_proto::v1::Absence;

pub use self::core::Core;

/// A connection to one endpoint, by its number.
pub type SessionId = usize;

/// Topics that are followed at most. A peer that makes up more is not listened to.
pub const MAX_TOPICS: usize = 1 << 18;

/// Why frames are missing for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The generator kept them no more: its ring was outrun.
    Evicted,
    /// The generator that had them is gone, and the one that runs now has not kept them.
    Restarted,
    /// Another host answers at that address.
    Replaced,
    /// The generator serves no recovery.
    NoRecovery,
    /// Recovery did not answer until the time to give up.
    Unreachable,
}

impl Reason {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Evicted => "evicted",
            Reason::Restarted => "restarted",
            Reason::Replaced => "replaced",
            Reason::NoRecovery => "no_recovery",
            Reason::Unreachable => "unreachable",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Consecutive numbers of one topic that will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Of which topic.
    pub topic: Topic,
    /// Of which epoch.
    pub epoch: u64,
    /// The first number that is missing.
    pub first: u64,
    /// The last; `u64::MAX` where the epoch ended and nobody knows with which number.
    pub last: u64,
    /// Why.
    pub reason: Reason,
}

impl Gap {
    /// How many frames are missing; `None` where nobody knows.
    pub fn count(&self) -> Option<u64> {
        (self.last != u64::MAX).then(|| self.last - self.first + 1)
    }
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<T> {
    /// A frame, in its place.
    Frame(T),
    /// Numbers that will never come, in their place.
    Gap(Gap),
}

/// What the core must know of a frame.
pub trait Item {
    /// Its topic.
    fn topic(&self) -> &Topic;
    /// Its epoch.
    fn epoch(&self) -> u64;
    /// Its number.
    fn sequence(&self) -> u64;
    /// What it takes in memory while it waits.
    fn bytes(&self) -> usize;
    /// From now on it waits: it may make itself small. Nothing but its place is asked of it after that.
    fn wait(&mut self) {}
    /// In a host frame: zones and their last numbers.
    fn announced(&self) -> impl Iterator<Item = (&str, u64)>;
    /// In a host frame: where missed frames can be asked for.
    fn recovery_port(&self) -> Option<u16>;
    /// In a host frame: earlier epochs of which something is kept.
    fn kept_epochs(&self) -> &[u64];
    /// In a host frame: the last of its epoch.
    fn farewell(&self) -> bool;
    /// Time from tick to tick.
    fn interval(&self) -> Duration;
}

/// A request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// By which endpoint.
    pub session: SessionId,
    /// To which port of it.
    pub port: u16,
    /// What the answer will repeat.
    pub id: u64,
    /// Whose frames.
    pub host_id: String,
    /// Of which epoch.
    pub epoch: u64,
    /// Zone, first number, last number (`u64::MAX`: to the end).
    pub ranges: Vec<(Arc<str>, u64, u64)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// Frames, in the order of the answer.
    pub frames: Vec<T>,
    /// Zone, first and last number, and why they will never come.
    pub missing: Vec<(String, u64, u64, Absence)>,
    /// The generator asks for patience.
    pub wait: Option<Duration>,
}

/// What somebody should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A generator started anew.
    Restarted {
        /// On which host.
        host_id: String,
        /// Whether the old one took leave.
        in_order: bool,
    },
    /// Two generators say that they are the same host.
    Two {
        /// Which.
        host_id: String,
    },
    /// What a host misses was given up.
    GaveUp {
        /// Which.
        host_id: String,
        /// Why.
        reason: Reason,
    },
}

/// How patient to be, and how much to remember.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most bytes of frames that wait for earlier ones.
    pub buffer_bytes: usize,
    /// A gap is given up when its host is alive and tells nothing about it for so long.
    pub give_up: Duration,
    /// Everything is given up of a host that is silent for so long.
    pub abandon: Duration,
}

impl Default for Options {
    /// 64 MiB, 30 seconds, 15 minutes: what a ring of the default age had of the gap is gone then.
    fn default() -> Self {
        Options { buffer_bytes: 64 << 20, give_up: Duration::from_secs(30), abandon: Duration::from_secs(15 * 60) }
    }
}
