//! Bytes that are counted while they live.
//!
//! A frame is the same bytes in the ring, in the queue of each subscriber and on its way to the disk. Bytes that count themselves
//! tell how much memory they take, wherever they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

/// How many bytes are alive.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    /// Bytes that count in this tally until the last clone of them is gone.
    pub fn count(&self, data: impl Into<Bytes>) -> Bytes {
        self.hold(data.into())
    }

    /// The same of bytes that are there: they count in this tally too.
    pub fn hold(&self, data: Bytes) -> Bytes {
        self.0.fetch_add(data.len() as u64, Relaxed);
        Bytes::from_owner(Counted { data, tally: self.clone() })
    }

    /// How many are alive now.
    pub fn alive(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

struct Counted {
    data: Bytes,
    tally: Tally,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.data.len() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_their_last_clone_is_gone() {
        let tally = Tally::default();
        let bytes = tally.count(vec![1, 2, 3]);
        let slice = bytes.slice(1..2);
        assert_eq!((tally.alive(), &slice[..]), (3, &[2][..]));
        drop(bytes);
        assert_eq!(tally.alive(), 3);
        drop(slice);
        assert_eq!(tally.alive(), 0);
    }
}
