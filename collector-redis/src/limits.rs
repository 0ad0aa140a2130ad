//! Every limit of the collector, in one place, and how they relate.

use std::time::Duration;

/// Frames that one batch takes at most. One batch is one round trip: large enough that the round trip does not matter, small
/// enough that a reader of Redis never waits long behind one.
pub const BATCH_FRAMES: usize = 512;

/// A batch begins at the end of a host's tick (its host frame), or when the first frame has waited for so long.
pub const BATCH_WAIT: Duration = Duration::from_millis(200);

/// Frames that wait for Redis, encoded, with what keeping them costs: the oldest are dropped beyond it, and counted.
pub const BACKLOG_BYTES: u64 = 128 << 20;
/// The smallest bound that makes sense: one batch of middling frames.
pub const BACKLOG_LEAST_BYTES: u64 = 4 << 20;
/// What a frame that waits costs beside its bytes: its entry, and its share of the queue.
pub const FRAME_OVERHEAD_BYTES: usize = 160;

/// Frames that Redis has acknowledged are kept for so long (and for two intervals): a server that is killed before it has
/// synced its file, and a replica that takes over before it has been told, lose what they acknowledged.
pub const RETAIN: Duration = Duration::from_secs(10);
/// They take at most this part of the backlog.
pub const RETAIN_PART: u64 = 4;

/// How long history is kept, unless told otherwise; and the least and most that can be asked for.
pub const KEEP: Duration = Duration::from_secs(3600);
/// A second holds one frame.
pub const KEEP_LEAST: Duration = Duration::from_secs(1);
/// Beyond that, the columnar collector is the right place.
pub const KEEP_MOST: Duration = Duration::from_secs(31 * 86_400);
/// Memory pressure shortens history down to this and no further: who is short of memory still has the last seconds.
pub const SQUEEZED_LEAST: Duration = Duration::from_secs(10);

/// Tables of users' own that one zone may have; what is beyond is left out and counted.
pub const CUSTOM_TABLES: usize = 64;

/// Gaps of a host's own frames that are remembered. Each is a restart of its generator or an outage: this is months of bad luck.
pub const HOST_GAPS: usize = 1000;

/// Connecting takes no longer, name resolution and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that does not answer a batch for so long is taken for gone.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// In a cluster the connection is given up when no node has taken a frame for so long, though there were some. Seen when slots moved: of the
/// client for clusters (redis 1.8) no command ended any more, while a new one reached every node.
pub const CLUSTER_SILENCE: Duration = Duration::from_secs(2 * RESPONSE_TIMEOUT.as_secs());
/// Before it receives anything, the collector asks Redis for so long where it was.
pub const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// A Redis that is loading will be there in a moment; generators keep what they publish for longer than this.
pub const RESUME_LOADING_WITHIN: Duration = Duration::from_secs(300);
/// How often the server's memory is looked at.
pub const MEMORY_EVERY: Duration = Duration::from_secs(5);
/// How often the collector's own state is written.
pub const HEALTH_EVERY: Duration = Duration::from_secs(2);
/// How often the indexes are rid of who is gone, and memory of zones that no longer come.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// In a cluster, none of these may hold up frames for longer.
pub const CHORE_TIMEOUT: Duration = Duration::from_secs(3);
/// Told to end, it tries for so long to write what waits.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(10);

const _: () = assert!(BACKLOG_LEAST_BYTES < BACKLOG_BYTES);
const _: () = assert!(SQUEEZED_LEAST.as_secs() < KEEP.as_secs() && KEEP.as_secs() < KEEP_MOST.as_secs());
const _: () = assert!(RETAIN_PART > 1);
const _: () = assert!(CONNECT_TIMEOUT.as_secs() <= RESPONSE_TIMEOUT.as_secs());
