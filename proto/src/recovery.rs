//! Requests for missed frames and replies to them (recovery.proto): to bytes and back. Decoding is total, as of
//! frames: items are counted by their tags before anything is allocated for them.

use prost::Message;
use prost::bytes::Bytes;

use crate::decode::{DecodeError, count_fields, limit};
use crate::limits::*;
use crate::topic::Topic;
use crate::{FORMAT_VERSION, v1};

/// The `last` of a range that has no end: everything up to the end of the epoch.
pub const OPEN: u64 = u64::MAX;

// Numbers of the repeated fields in recovery.proto.
const RANGE: u32 = 5;
const FRAME: u32 = 5;
const MISSING: u32 = 6;

/// Reads a request. Its ranges are within the limits, name topics that can be, and are in order.
///
/// # Errors
/// Says what is wrong with the bytes; never panics, allocates at most a small multiple of [`MAX_REQUEST_BYTES`].
pub fn decode_request(bytes: &[u8]) -> Result<v1::RecoveryRequest, DecodeError> {
    limit("bytes of a request", bytes.len(), MAX_REQUEST_BYTES)?;
    count_fields(bytes, |tag| (tag == RANGE).then_some(("ranges", MAX_RANGES)))?;
    let request = v1::RecoveryRequest::decode(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    check_version(request.version)?;
    check_name("host_id", "", &request.host_id)?;
    for range in &request.range {
        check_name("zone", &range.zone, &request.host_id)?;
        check_numbers(range.first, range.last)?;
    }
    Ok(request)
}

/// Reads a reply. Its frames are slices of `bytes`, and not looked into.
///
/// # Errors
/// Says what is wrong with the bytes; never panics, allocates at most a small multiple of [`MAX_REPLY_BYTES`].
pub fn decode_reply(bytes: Bytes) -> Result<v1::RecoveryReply, DecodeError> {
    limit("bytes of a reply", bytes.len(), MAX_REPLY_BYTES)?;
    count_fields(&bytes, |tag| match tag {
        FRAME => Some(("frames", MAX_REPLY_FRAMES)),
        MISSING => Some(("missing ranges", MAX_MISSING)),
        _ => None,
    })?;
    let reply = v1::RecoveryReply::decode(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    check_version(reply.version)?;
    check_name("host_id", "", &reply.host_id)?;
    for frame in &reply.frame {
        limit("bytes of a frame", frame.len(), MAX_FRAME_BYTES)?;
    }
    for missing in &reply.missing {
        check_name("zone", &missing.zone, &reply.host_id)?;
        check_numbers(missing.first, missing.last)?;
    }
    Ok(reply)
}

fn check_version(version: u32) -> Result<(), DecodeError> {
    if version == FORMAT_VERSION { Ok(()) } else { Err(DecodeError::Version(version)) }
}

fn check_name(field: &'static str, zone: &str, host_id: &str) -> Result<(), DecodeError> {
    Topic::new(zone, host_id).map(drop).map_err(|error| DecodeError::Name { field, error })
}

/// Numbers begin at 1.
fn check_numbers(first: u64, last: u64) -> Result<(), DecodeError> {
    if first == 0 || last < first { Err(DecodeError::Range(first, last)) } else { Ok(()) }
}
