//! Answering a request out of what is kept.

use zonescope_proto::FORMAT_VERSION;
use zonescope_proto::limits::{MAX_FRAME_BYTES, MAX_MISSING, MAX_REPLY_BYTES, MAX_REPLY_FRAMES};
use zonescope_proto::v1::{self, Absence};

use super::Kept;
use crate::ring::Piece;
use crate::scope::View;

/// Frames of a reply stop here; the last one may pass it by its own size.
pub const REPLY_BYTES: usize = 2 * MAX_FRAME_BYTES;

const _: () = assert!(REPLY_BYTES + MAX_FRAME_BYTES < MAX_REPLY_BYTES);

/// What a zone is looked up as that the asked endpoint does not speak of. No zone can be called that, so what is said of it is
/// what is said of a zone that never was.
const NOBODY: &str = "/";

/// Answers `request` with at most `bytes` of frames (and at least one, if there is any), as far as `view` goes. Each range has
/// an equal share, so that all topics advance together. May read files: not for a task that must not wait.
pub fn answer(request: &v1::RecoveryRequest, kept: &Kept, view: &View, bytes: usize) -> v1::RecoveryReply {
    let mut reply = Reply::new(request, kept);
    let share = bytes.min(REPLY_BYTES) / request.range.len().max(1);
    for range in &request.range {
        reply.range = range.zone.clone();
        if request.host_id != kept.host_id {
            reply.missing(range.first, range.last, Absence::OtherHost);
        } else {
            let mut left = share;
            let is_host = range.zone.is_empty();
            let zone = if is_host || view.scope.takes(&range.zone) { range.zone.as_str() } else { NOBODY };
            for piece in look_up(request.epoch, zone, range, kept, share) {
                let piece = if is_host { narrow(piece, view) } else { piece };
                if !reply.take(piece, &mut left) {
                    break;
                }
            }
        }
        if reply.is_full(bytes) {
            break;
        }
    }
    reply.message
}

/// A reply that only asks for patience.
pub fn patience(id: u64, kept: &Kept, wait: std::time::Duration) -> v1::RecoveryReply {
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
    let (host_id, epoch) = (kept.host_id.clone(), kept.epoch);
    v1::RecoveryReply { version: FORMAT_VERSION, id, host_id, epoch, wait_ms, ..v1::RecoveryReply::default() }
}

/// A host frame that was kept, as `view` shows it. One that cannot be read, of another version, is not shown.
fn narrow(piece: Piece, view: &View) -> Piece {
    let Piece::Frame(sequence, bytes) = piece else { return piece };
    match view.show(bytes) {
        Ok(shown) => Piece::Frame(sequence, shown),
        Err(_) => Piece::Missing(sequence, sequence, Absence::Evicted),
    }
}

/// What is known of one range of `zone`, some `share` bytes of it. What the ring has no more the spool may still have.
fn look_up(epoch: u64, zone: &str, range: &v1::Range, kept: &Kept, share: usize) -> Vec<Piece> {
    let mut enough = Enough::new(share);
    if epoch != kept.epoch {
        match &kept.spool {
            Some(spool) => spool.look_up(epoch, zone, range.first, range.last, &mut |p| enough.take(p)),
            None => enough.pieces.push(Piece::Missing(range.first, range.last, Absence::UnknownEpoch)),
        }
        return enough.pieces;
    }
    let evicted = {
        let ring = kept.ring();
        ring.look_up(zone, range.first, range.last, &mut |piece| enough.take(piece));
        ring.evicted()
    };
    let Some(spool) = &kept.spool else { return enough.pieces };
    // What has left the ring and is still on its way to the disk is not lost: nothing is said about it yet.
    let is_behind = spool.done() < evicted;
    let mut spooled = Enough::new(share);
    for piece in enough.pieces {
        let more = match piece {
            Piece::Missing(first, last, Absence::Evicted) => {
                let mut more = true;
                spool.look_up(epoch, zone, first, last, &mut |piece| {
                    more = match piece {
                        Piece::Missing(_, _, why) if why != Absence::NeverSent && is_behind => false,
                        // The epoch goes on: what the spool does not have is lost.
                        Piece::Missing(a, b, why) if why != Absence::NeverSent => {
                            spooled.take(Piece::Missing(a, b, Absence::Evicted))
                        }
                        piece => spooled.take(piece),
                    };
                    more
                });
                more
            }
            piece => spooled.take(piece),
        };
        if !more {
            break;
        }
    }
    spooled.pieces
}

/// Gathers pieces until they hold enough bytes.
struct Enough {
    pieces: Vec<Piece>,
    left: usize,
}

impl Enough {
    fn new(bytes: usize) -> Self {
        Enough { pieces: Vec::new(), left: bytes }
    }

    fn take(&mut self, piece: Piece) -> bool {
        let size = if let Piece::Frame(_, frame) = &piece { frame.len() } else { 0 };
        self.pieces.push(piece);
        let more = size < self.left;
        self.left = self.left.saturating_sub(size);
        more && self.pieces.len() < MAX_REPLY_FRAMES
    }
}

/// A reply in the making.
struct Reply {
    message: v1::RecoveryReply,
    range: String,
    bytes: usize,
}

impl Reply {
    fn new(request: &v1::RecoveryRequest, kept: &Kept) -> Self {
        let message = v1::RecoveryReply {
            version: FORMAT_VERSION,
            id: request.id,
            host_id: kept.host_id.clone(),
            epoch: kept.epoch,
            ..v1::RecoveryReply::default()
        };
        Reply { message, range: String::new(), bytes: 0 }
    }

    /// Adds a piece; false where the range has had its share.
    fn take(&mut self, piece: Piece, left: &mut usize) -> bool {
        match piece {
            Piece::Frame(_, frame) => {
                let size = frame.len();
                self.bytes += size;
                self.message.frame.push(frame);
                let more = size < *left;
                *left = left.saturating_sub(size);
                more && self.message.frame.len() < MAX_REPLY_FRAMES
            }
            Piece::Missing(first, last, why) => {
                self.missing(first, last, why);
                self.message.missing.len() < MAX_MISSING
            }
        }
    }

    fn missing(&mut self, first: u64, last: u64, why: Absence) {
        let missing = v1::Missing { zone: self.range.clone(), first, last, absence: why.into() };
        self.message.missing.push(missing);
    }

    fn is_full(&self, bytes: usize) -> bool {
        self.bytes >= bytes.min(REPLY_BYTES)
            || self.message.frame.len() >= MAX_REPLY_FRAMES
            || self.message.missing.len() >= MAX_MISSING
    }
}
