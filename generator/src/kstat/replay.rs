//! Plays a recording of a chain: JSON lines ([`recording`](super::recording)), of which one tick at a time is held in
//! memory, however long the file.

use std::io::{self, BufRead, Read};

use super::chain::{Chain, Moment, Skipped, Visitor};
use super::limits::{MAX_CAPTURED_KSTATS, MAX_LINE_BYTES};
use super::owned::{self, OwnedKstat, Problems};
use super::recording::{Line, parse};

/// Bytes of a capture, from its beginning.
pub type Bytes = Box<dyn BufRead + Send>;

/// Opens a capture, again and again.
pub type Open = Box<dyn Fn() -> io::Result<Bytes> + Send>;

/// A recording as a chain.
pub struct Replay {
    open: Open,
    bytes: Bytes,
    line: Vec<u8>,
    number: usize,
    page_size: u64,
    /// Read, but not yet begun.
    next: Option<Moment>,
    kstats: Vec<OwnedKstat>,
    problems: Problems,
}

impl Replay {
    /// Plays what `open` opens.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn new(open: Open) -> io::Result<Self> {
        Ok(Replay {
            bytes: open()?,
            open,
            line: Vec::new(),
            number: 0,
            page_size: super::X86_PAGE_SIZE,
            next: None,
            kstats: Vec::new(),
            problems: Problems::default(),
        })
    }

    /// The next line that is one. A file that cannot be read any further ends there.
    fn next_line(&mut self) -> Option<Line> {
        loop {
            self.number += 1;
            let whole = match read_line(&mut self.bytes, &mut self.line) {
                Ok(whole) => whole?,
                Err(error) => {
                    self.problems.add(self.number, format_args!("cannot be read, nor what follows it: {error}"));
                    self.bytes = Box::new(io::empty());
                    return None;
                }
            };
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match if whole { parse(&self.line) } else { Err(format!("longer than {MAX_LINE_BYTES} bytes")) } {
                Ok(line) => return Some(line),
                Err(error) => self.problems.add(self.number, error),
            }
        }
    }
}

/// Reads a line into `line`, of which no more than the limit is kept: then it gives false. `None` at the end.
fn read_line(bytes: &mut Bytes, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    if bytes.as_mut().take(MAX_LINE_BYTES).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    let whole = line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE_BYTES;
    if !whole {
        bytes.skip_until(b'\n')?;
    }
    Ok(Some(whole))
}

impl Chain for Replay {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        self.kstats.clear();
        self.problems.forget();
        let mut moment = self.next.take();
        while let Some(line) = self.next_line() {
            match line {
                Line::Head(page_size) => self.page_size = page_size.unwrap_or(self.page_size),
                Line::Tick(tick) => {
                    let page_size = self.page_size;
                    let begun = Moment { hrtime_ns: Some(tick.hrtime_ns), utc_ns: Some(tick.utc_ns), page_size };
                    if moment.is_some() || !self.kstats.is_empty() {
                        self.next = Some(begun);
                        break;
                    }
                    moment = Some(begun);
                }
                Line::Kstat(kstat) if self.kstats.len() < MAX_CAPTURED_KSTATS => self.kstats.push(kstat),
                Line::Kstat(_) => {
                    self.problems.add(self.number, format_args!("more than {MAX_CAPTURED_KSTATS} kstats in one tick"));
                }
            }
        }
        let without_time = Moment { page_size: self.page_size, ..Moment::default() };
        Ok(moment.or((!self.kstats.is_empty()).then_some(without_time)))
    }

    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped {
        owned::visit(&self.kstats, visitor)
    }

    fn left_out(&self) -> Skipped {
        self.problems.skipped()
    }

    fn rewind(&mut self) -> io::Result<()> {
        (self.bytes, self.number, self.next) = ((self.open)()?, 0, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kstat::chain::{Id, Kstat};

    fn replay(text: impl Into<Vec<u8>>) -> Replay {
        let text: Vec<u8> = text.into();
        Replay::new(Box::new(move || Ok(Box::new(io::Cursor::new(text.clone()))))).unwrap()
    }

    #[derive(Default)]
    struct Names(Vec<String>);

    impl Visitor for Names {
        fn wants(&self, _: Id<'_>) -> bool {
            true
        }
        fn kstat(&mut self, kstat: &Kstat<'_>) {
            self.0.push(kstat.id.name.to_owned());
        }
    }

    fn names(replay: &Replay) -> Vec<String> {
        let mut names = Names::default();
        replay.visit(&mut names);
        names.0
    }

    const THREE_TICKS: &str = r#"{"zonescope": "kstat", "version": 1, "page_size": 8192}
{"tick": {"utc_ns": 10, "hrtime_ns": 1}}
{"module": "m", "instance": 0, "name": "a", "data": {}}
{"tick": {"utc_ns": 20, "hrtime_ns": 2}}
{"tick": {"utc_ns": 30, "hrtime_ns": 3}}
{"module": "m", "instance": 0, "name": "b", "data": {}}
{"module": "m", "instance": 0, "name": "c", "data": null}
"#;

    #[test]
    fn ticks_come_one_after_the_other_and_again() {
        let mut replay = replay(THREE_TICKS);
        for _ in 0..2 {
            let mut ticks = Vec::new();
            while let Some(moment) = replay.update().unwrap() {
                ticks.push((moment.utc_ns, moment.page_size, names(&replay)));
            }
            assert_eq!(
                ticks,
                [
                    (Some(10), 8192, vec!["a".to_owned()]),
                    (Some(20), 8192, vec![]),
                    (Some(30), 8192, vec!["b".to_owned()])
                ]
            );
            replay.rewind().unwrap();
        }
    }

    #[test]
    fn a_chain_without_times_is_one_tick() {
        let mut replay = replay("{\"module\":\"m\",\"instance\":0,\"name\":\"n\",\"data\":{}}\n");
        assert_eq!(replay.update().unwrap(), Some(Moment { page_size: 4096, ..Moment::default() }));
        assert_eq!(replay.update().unwrap(), None);
    }

    #[test]
    fn a_line_beyond_the_limit_is_left_out_and_the_next_one_is_read() {
        let long = "x".repeat(usize::try_from(MAX_LINE_BYTES).unwrap() + 10);
        let text =
            format!("{{\"module\":\"{long}\"}}\n{{\"module\":\"m\",\"instance\":0,\"name\":\"n\",\"data\":{{}}}}\n");
        let mut replay = replay(text);
        replay.update().unwrap();
        assert_eq!((names(&replay), replay.left_out().kstats), (vec!["n".to_owned()], 1));
    }

    #[test]
    fn a_file_that_cannot_be_read_any_further_ends_there() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let good = "{\"module\":\"m\",\"instance\":0,\"name\":\"n\",\"data\":{}}\n";
        let open: Open = Box::new(move || Ok(Box::new(io::BufReader::new(io::Cursor::new(good).chain(Broken)))));
        let mut replay = Replay::new(open).unwrap();
        assert!(replay.update().unwrap().is_some());
        assert_eq!((names(&replay).len(), replay.left_out().kstats), (1, 1));
        assert_eq!(replay.update().unwrap(), None);
    }
}
