//! Bytes into lines, with a longest line.

use super::limits::MAX_LINE_BYTES;

/// Splits a stream at newlines. Holds one unfinished line at most, and no more than [`MAX_LINE_BYTES`] of it.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
    /// The current line is too long: skip to its end.
    skipping: bool,
    too_long: u64,
}

impl Lines {
    /// Hands every line that `bytes` complete to `line`, without its newline.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(_) if self.skipping => self.skipping = false,
                Some(end) if self.rest.is_empty() && end.len() <= MAX_LINE_BYTES => line(end),
                Some(end) => {
                    if self.hold(end) {
                        line(&self.rest);
                    }
                    self.rest.clear();
                    self.skipping = false;
                }
                None => {
                    self.hold(piece);
                }
            }
        }
    }

    /// Adds to the unfinished line. False where it is too long, and so left out.
    fn hold(&mut self, piece: &[u8]) -> bool {
        if self.skipping {
            return false;
        }
        if self.rest.len() + piece.len() > MAX_LINE_BYTES {
            self.too_long += 1;
            self.skipping = true;
            self.rest = Vec::new();
            return false;
        }
        self.rest.extend_from_slice(piece);
        true
    }

    /// Lines left out since the last call because they were too long.
    pub fn take_too_long(&mut self) -> u64 {
        std::mem::take(&mut self.too_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, u64) {
        let (mut splitter, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            splitter.feed(chunk, |line| seen.push(line.to_vec()));
        }
        (seen, splitter.take_too_long())
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(lines(&[b"on", b"e\ntw", b"o\n\nthree"]).0, [&b"one"[..], b"two", b""]);
    }

    #[test]
    fn a_line_that_never_ends_is_left_out_once_and_the_next_one_is_whole() {
        let chunk = vec![b'x'; MAX_LINE_BYTES];
        let (seen, too_long) = lines(&[&chunk, &chunk, &chunk, b"tail\nnext\n"]);
        assert_eq!((seen, too_long), (vec![b"next".to_vec()], 1));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..200), cut in 0usize..200) {
            let cut = cut.min(bytes.len());
            let (whole, parts) = (lines(&[&bytes]), lines(&[&bytes[..cut], &bytes[cut..]]));
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn an_unfinished_line_is_bounded(sizes in prop::collection::vec(0usize..20_000, 0..20)) {
            let mut splitter = Lines::default();
            for size in sizes {
                splitter.feed(&vec![b'z'; size], |_| {});
                prop_assert!(splitter.rest.len() <= MAX_LINE_BYTES);
            }
        }
    }
}
