//! What every zonescope process needs to speak the contract: a [`Publisher`] that numbers, encodes and sends
//! frames, a [`Subscriber`] that receives, checks and counts them, and the few habits that all our programs
//! share: one clock, one way to shut down, one way to log, one live table.
//!
//! # The wire
//! ZeroMQ PUB/SUB, two parts a message: the topic `<zone>/<host id>` and the frame (protobuf). Any ZeroMQ binding in any
//! language can subscribe. PUB drops silently what a subscriber does not take in time; therefore every frame
//! has a number within its topic, and once a tick the host frame announces the last number of each topic. What
//! is missing is thus always known ([`sequence`]), the last frame included.
//!
//! # Bounds
//! | queue | bound | when full |
//! |---|---|---|
//! | generator, per subscriber (crate zeromq) | 100,000 frames | new frames are dropped for this subscriber; it sees the gap |
//! | subscriber, all endpoints together | [`subscribe::QUEUE_FRAMES`] frames | reading pauses: the generator's queue takes over |
//!
//! Only [`transport`] names the ZeroMQ crate.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod exit;
pub mod log;
pub mod publish;
pub mod sequence;
pub mod shutdown;
pub mod subscribe;
pub mod top;
pub mod transport;

pub use publish::{Identity, Publisher};
pub use subscribe::{Counters, Received, Subscriber, SubscriberOptions};

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
    /// A connection ended, or could not be made.
    #[error("{endpoint}: {reason}")]
    Connection {
        /// The peer.
        endpoint: String,
        /// Why.
        reason: String,
    },
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
