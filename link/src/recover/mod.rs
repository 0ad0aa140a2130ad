//! Recovery: a generator keeps what it published, and answers whoever missed some of it.
//!
//! [`Kept`] is what there is: the [`ring`](crate::ring) in memory and, where configured, the [`spool`](crate::spool) on
//! disk. [`answer`](answer::answer) is pure: a request and what is kept give a reply. [`server`] stands at the socket (ROUTER,
//! default port [`DEFAULT_PORT`]), in a task of its own: publishing never waits for it, except for the moment in which it
//! copies references out of the ring.
//!
//! # Bounds
//! A client that asks for too much is told to wait; one that does not listen to that is ignored. Neither costs the
//! others more than the shared budget. All numbers: [`Bounds`]. What a client does not take out of its
//! socket is counted ([`crate::tally`]), and while that is too much nothing more is looked up for it.
//!
//! Who may connect at all, how often, and how much they may say, is decided before: [`crate::transport`].

pub mod answer;
pub mod budget;
pub mod fetch;
pub mod server;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ring::Ring;
use crate::spool::Spool;

/// Where recovery is served unless told otherwise.
pub const DEFAULT_PORT: u16 = 7212;

/// How much a generator does for those who missed something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Requests of one client a second.
    pub requests_per_s: f64,
    /// Bytes of replies to one client a second.
    pub bytes_per_s: f64,
    /// Bytes of replies to one client that it has not taken yet.
    pub waiting_bytes: u64,
    /// Bytes of replies to all clients a second.
    pub total_bytes_per_s: f64,
    /// Bytes of replies to all clients that they have not taken yet.
    pub total_waiting_bytes: u64,
    /// Clients that are told apart. Of more, those that were silent longest are forgotten.
    pub clients: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            requests_per_s: 50.0,
            bytes_per_s: 32e6,
            waiting_bytes: 8 << 20,
            total_bytes_per_s: 64e6,
            total_waiting_bytes: 64 << 20,
            clients: 256,
        }
    }
}

/// What a generator keeps.
#[derive(Debug)]
pub struct Kept {
    host_id: String,
    epoch: u64,
    ring: Mutex<Ring>,
    spool: Option<Spool>,
}

impl Kept {
    /// Keeps frames of this epoch in `ring`, and in `spool` if there is one.
    pub fn new(host_id: String, epoch: u64, ring: Ring, spool: Option<Spool>) -> Self {
        Kept { host_id, epoch, ring: Mutex::new(ring), spool }
    }

    /// The ring. A panic elsewhere does not make it wrong: each of its operations is whole.
    pub fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spool, if there is one.
    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }
}
