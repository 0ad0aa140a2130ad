//! The contract between generators and collectors.
//!
//! `frame.proto` defines every statistic once; the build derives from it the types in [`v1`], the table of
//! families in [`FAMILIES`], and the walk over a frame's rows ([`walk`]) by which a collector stores a family it
//! has never heard of. Beside it stands what both sides must agree on: topics ([`topic`]), limits ([`limits`]),
//! decoding that is total ([`decode`]), what is sent shorter than it is ([`fold`]), how missed frames are asked for ([`recovery`]), how counters become rates ([`rate`]), and what utilization, saturation
//! and errors mean ([`resource`]).
//!
//! Nothing here reads a file, a socket or a clock.

pub mod decode;
pub mod families;
pub mod fold;
pub mod limits;
pub mod metrics;
pub mod rate;
pub mod recovery;
pub mod resource;
pub mod topic;

/// The messages of frame.proto and recovery.proto, format version 1.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "derived by prost; documented in the .proto files")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/zonescope.v1.rs"));
}

pub use decode::{DecodeError, decode, encode};
pub use families::{
    FAMILIES, Family, FamilySpec, Field, Kind, Sink, Type, Value, Visitor, add_row, family_named, walk,
};
pub use prost::Message;
pub use topic::{Topic, ZoneName};

/// The version of the format that this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Both .proto files compiled: a serialized `FileDescriptorSet`, for readers in other languages.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/frame.binpb"));
