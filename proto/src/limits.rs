//! Every limit of the contract, in one place, and how they relate.
//!
//! A generator keeps them; a decoder refuses what breaks them, so that a hostile or broken peer costs a bounded
//! amount of memory.

use std::time::Duration;

/// Largest frame, in bytes of protobuf. A host frame announces some 20,000 zones in it.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Largest topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = MAX_ZONE_NAME_BYTES + 1 + MAX_HOST_ID_BYTES;

/// Longest zone name, in bytes. illumos allows 63 (ZONENAME_MAX is 64 with its NUL, sys/zone.h); Linux unit
/// names go up to 255 (UNIT_NAME_MAX is 256 with its NUL).
pub const MAX_ZONE_NAME_BYTES: usize = 255;

/// Longest host id, in bytes: a UUID with dashes and room to spare.
pub const MAX_HOST_ID_BYTES: usize = 64;

/// Longest text in any other field, in bytes. Longer texts are cut by the generator.
pub const MAX_TEXT_BYTES: usize = 1024;

/// Most rows of one family in one frame: cores, disks, links, processes, custom rows.
pub const MAX_ROWS: usize = 4096;

/// Most buckets of one distribution. llquantize has at most some 1,000 (factor 10, 100 steps, 10 magnitudes).
pub const MAX_BUCKETS: usize = 2048;

/// Most labels or values in one custom row or distribution.
pub const MAX_LABELS: usize = 64;

/// Most topics that one host frame announces.
pub const MAX_ANNOUNCEMENTS: usize = 65_536;

/// Most earlier epochs that one host frame names.
pub const MAX_KEPT_EPOCHS: usize = 64;

/// Most ranges in one request for missed frames.
pub const MAX_RANGES: usize = 1024;

/// Largest request for missed frames, in bytes: the most ranges with the longest names, and room.
pub const MAX_REQUEST_BYTES: usize = MAX_RANGES * (MAX_ZONE_NAME_BYTES + 32) + 4096;

/// Largest reply to one, in bytes. A generator stops well before; one frame of any size always fits.
pub const MAX_REPLY_BYTES: usize = 4 * MAX_FRAME_BYTES;

/// Most frames in a reply.
pub const MAX_REPLY_FRAMES: usize = 8192;

/// Most missing ranges in a reply.
pub const MAX_MISSING: usize = 4 * MAX_RANGES;

/// Connections that an endpoint serves at once. Whoever comes when all are taken is turned away.
pub const MAX_CONNECTIONS: usize = 512;

/// Of these, connections of one address: an IPv4 address, or an IPv6 network of 64 bits. All collectors of a host, and
/// room.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 64;

/// Connections of which nobody knows yet who they are. When one more comes the oldest gives way: who is honest is through
/// in a few milliseconds.
pub const MAX_HANDSHAKES: usize = 128;

/// Of these, connections of one address.
pub const MAX_HANDSHAKES_PER_ADDRESS: usize = 32;

/// Connections that an endpoint takes a second; the others wait in the kernel. Each costs it a handshake, three
/// multiplications on a curve.
pub const MAX_ACCEPTS_PER_S: u32 = 500;

/// A handshake may take so long.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// What a peer may say before it is known: greeting, HELLO and INITIATE of CURVE take 600 bytes, an identity and other
/// properties of libzmq some 400 more. While it is unknown a peer makes an endpoint keep this, at most, and some
/// [`HANDSHAKE_OVERHEAD_BYTES`].
pub const MAX_HANDSHAKE_BYTES: usize = 2048;

/// What a connection takes before its peer is known, besides what that sent: the codec's buffer of 64 KiB, and what it takes
/// to keep the bytes of a peer that sends them one by one.
pub const HANDSHAKE_OVERHEAD_BYTES: usize = 192 * 1024;

/// Most different subscriptions of one peer.
pub const MAX_SUBSCRIPTIONS: usize = 4096;

/// Largest message to a publisher: a subscription, with room for what ZeroMQ adds.
pub const MAX_SUBSCRIPTION_BYTES: usize = MAX_TOPIC_BYTES + 128;

/// Bytes that a peer may say a second, and at once: who says more is read from as slowly. The largest request takes a second
/// and a half; subscriptions to 1,000 zones are 50 KiB.
pub const MAX_INPUT_BYTES_PER_S: u32 = 128 * 1024;

/// Most messages that wait for one peer. Newer ones are left out for this peer alone, and counted; a subscriber finds the gap
/// by its numbers, and asks for what is missing.
pub const MAX_QUEUED: usize = 65_536;

/// Most bytes that wait for one peer.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Most messages that wait for all peers of an endpoint together, an entry of 80 bytes each, besides [`MAX_QUEUED_FAIR`] that
/// each may have in any case.
pub const MAX_QUEUED_ALL: usize = 8 * MAX_QUEUED;

/// Messages that may wait for a peer however much waits for others.
pub const MAX_QUEUED_FAIR: usize = 2048;

/// A peer that takes nothing for so long, or whose oldest message waits for so long, is given up: its connection is
/// ended and what waits for it is freed. Whoever was only slow connects again, and recovers what it missed.
pub const STUCK: Duration = Duration::from_secs(60);

/// Requests that wait to be looked at, of all peers together. Who asks when there is no room is not read from.
pub const MAX_WAITING_REQUESTS: usize = 16;

const _: () = assert!(MAX_REQUEST_BYTES < MAX_FRAME_BYTES);
const _: () = assert!(MAX_CONNECTIONS_PER_ADDRESS < MAX_CONNECTIONS && MAX_HANDSHAKES_PER_ADDRESS < MAX_HANDSHAKES);
const _: () = assert!(MAX_HANDSHAKES * (MAX_HANDSHAKE_BYTES + HANDSHAKE_OVERHEAD_BYTES) < 32 << 20);
const _: () = assert!(MAX_QUEUED_FAIR < MAX_QUEUED && MAX_QUEUED < MAX_QUEUED_ALL);
const _: () = assert!(MAX_REPLY_BYTES + MAX_FRAME_BYTES < MAX_QUEUED_BYTES);
const _: () = assert!(MAX_SUBSCRIPTION_BYTES < MAX_REQUEST_BYTES);
const _: () = assert!(MAX_MISSING * (MAX_ZONE_NAME_BYTES + 64) + 2 * MAX_FRAME_BYTES < MAX_REPLY_BYTES);
const _: () = assert!(MAX_TOPIC_BYTES < MAX_TEXT_BYTES);
const _: () = assert!(MAX_ROWS < MAX_ANNOUNCEMENTS);
const _: () = assert!(MAX_TEXT_BYTES * MAX_LABELS < MAX_FRAME_BYTES);
