//! What every zonescope process needs to speak the contract: a [`Publisher`] that numbers, encodes, keeps and sends
//! frames, a [`Subscriber`] that receives them, asks for what it missed, and puts all in order, and the few habits that
//! our programs share: one clock, one way to shut down, one way to log, one live table.
//!
//! # The wire
//! ZeroMQ PUB/SUB, two parts a message: the topic `<zone>/<host id>` and the frame (protobuf). Any ZeroMQ binding in any
//! language can subscribe. PUB drops silently what a subscriber does not take in time; therefore every frame
//! has a number within its topic, and once a tick the host frame announces the last number of each topic. What
//! is missing is thus always known, the last frame included. Publishers keep what they sent ([`ring`], [`spool`]);
//! subscribers ask for what they missed ([`recover`]), and hand out each number as a frame or as part of a gap
//! ([`order`]).
//!
//! # Bounds
//! | queue | bound | when full |
//! |---|---|---|
//! | generator, what it keeps in memory ([`ring::Limits`]) | 64 MiB, 15 minutes | the oldest frames go |
//! | generator, what it keeps on disk ([`spool::Limits`]) | 1 GiB, 24 hours | the oldest segments go |
//! | generator, on its way to the disk | [`spool::QUEUE_FRAMES`] frames | left out of the spool, counted |
//! | generator, per subscriber | 65,536 frames, 64 MiB, 60 s | new frames are left out for this subscriber; it asks for them; after 60 s its connection is ended |
//! | generator, all subscribers | 524,288 frames, and 2,048 for each in any case | the same |
//! | generator, connections | 512, 64 of an address; unknown ones 128, 32 of an address | newcomers are turned away; of the unknown the oldest gives way |
//! | generator, answers ([`recover::Bounds`]) | 8 MiB a client, 64 MiB in all, 16 MiB more an endpoint of some zones | requests wait, or are ignored |
//! | subscriber, all endpoints together | [`subscribe::QUEUE_BUNCHES`] bunches of [`subscribe::BUNCH`] frames | reading pauses: the generator's queue takes over |
//! | subscriber, frames that wait for earlier ones ([`order::Options`]) | 64 MiB | newcomers are let go, and asked for again |
//!
//! What strangers can make a process keep has its bounds in [`zonescope_proto::limits`]. Only [`transport`] knows what ZeroMQ and CURVE
//! are made of.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod confine;
pub mod doctor;
pub mod exit;
pub mod format;
pub mod intake;
pub mod keys;
pub mod log;
pub mod notify;
pub mod order;
pub mod paths;
pub mod publish;
pub mod recover;
pub mod ring;
pub mod scope;
pub mod shutdown;
pub mod spool;
pub mod stdout;
pub mod subscribe;
pub mod tally;
pub mod top;
pub mod transport;
pub mod units;

pub use order::{Gap, Reason};
pub use publish::{Identity, Publisher, RecoveryOptions, ScopedOptions};
pub use scope::Scope;
pub use subscribe::{Counters, Event, Received, Subscriber, SubscriberOptions};
pub use transport::Endpoint;

/// Where a generator publishes unless told otherwise: nobody outside is let in.
pub const DEFAULT_ENDPOINT: &str = "tcp://127.0.0.1:7211";

/// What can go wrong between processes.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// An address is none.
    #[error("`{endpoint}` is no endpoint: write tcp://ADDRESS:PORT")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {endpoint}: {reason}")]
    Bind {
        /// The address.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// A message could not be handed to the socket.
    #[error("cannot publish: {0}")]
    Send(String),
    /// A socket can no longer be read.
    #[error("cannot receive: {0}")]
    Receive(String),
    /// A connection ended, or could not be made.
    #[error("{endpoint}: {reason}")]
    Connection {
        /// The peer.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] spool::SpoolError),
    /// A frame broke a limit of the contract.
    #[error("frame of zone {zone:?}: {error}")]
    Frame {
        /// Whose frame.
        zone: String,
        /// Which limit.
        error: zonescope_proto::DecodeError,
    },
    /// A name cannot be part of a topic.
    #[error("{0}")]
    Name(#[from] zonescope_proto::topic::NameError),
}
