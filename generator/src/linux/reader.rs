//! Reads a file and hands its text to a projection, and keeps count of what went wrong.
//!
//! What vanishes between two looks at it (a cgroup, a process, an interface) and what this kernel does not have
//! is absent, and no error. What is there and cannot be read, or reads as nonsense, is an error of the family
//! that asked; everything else goes on.

use std::io;
use std::time::Instant;

use zonescope_proto::v1;

use super::files::{Facts, Files, Text};
use super::host;
use super::parse::{Malformed, text_of};
use crate::source::Tick;

/// Reads for one tick.
pub(super) struct Reader<'a> {
    pub(super) files: &'a mut dyn Files,
    pub(super) tick: Tick,
    pub(super) facts: Facts,
    /// What was read last.
    pub(super) text: Text,
    path: String,
    pub(super) tally: Tally,
}

/// How the family that is being read fares in this tick.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) errors: u64,
    pub(super) drops: u64,
    pub(super) error: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a mut dyn Files, tick: Tick) -> Self {
        let facts = files.facts();
        Reader { files, tick, facts, text: Text::default(), path: String::new(), tally: Tally::default() }
    }

    /// Reads the file whose path is `parts` joined, one that every tick reads, and projects it into `row`.
    /// When it was read, relative to the tick; `None` where there is nothing.
    pub(super) fn take<R: ?Sized>(
        &mut self,
        parts: &[&str],
        row: &mut R,
        project: impl FnOnce(&[u8], &mut R) -> Result<(), Malformed>,
    ) -> Option<i64> {
        self.join(parts);
        let result = self.files.reread(&self.path, &mut self.text);
        self.finish(result, row, project)
    }

    /// The same of a file of a process, which may be its own business: what we may not read is absent.
    pub(super) fn take_of_process<R: ?Sized>(
        &mut self,
        pid: &str,
        file: &str,
        row: &mut R,
        project: impl FnOnce(&[u8], &mut R) -> Result<(), Malformed>,
    ) -> Option<i64> {
        self.join(&["/proc/", pid, file]);
        let result = self.files.reread(&self.path, &mut self.text);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return None;
        }
        self.finish(result, row, project)
    }

    fn finish<R: ?Sized>(
        &mut self,
        result: io::Result<u64>,
        row: &mut R,
        project: impl FnOnce(&[u8], &mut R) -> Result<(), Malformed>,
    ) -> Option<i64> {
        let at = self.here(result)?;
        if let Err(malformed) = project(&self.text, row) {
            self.tally.fail(format!("{}: {malformed}", self.path));
        }
        Some(at.cast_signed().wrapping_sub(self.tick.time_ns.cast_signed()))
    }

    /// A result if there is one; counts an error unless the thing has vanished.
    fn here<T>(&mut self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) if is_absent(&error) => None,
            Err(error) => {
                self.tally.fail(format!("cannot read {}: {error}", self.path));
                None
            }
        }
    }

    /// When the host started, ns since 1970 UTC; 0 where unknown.
    pub(super) fn boot_time_ns(&mut self) -> u64 {
        let mut boot = None;
        self.take(&["/proc/stat"], &mut boot, |text, boot| {
            *boot = host::boot_time_ns(text);
            Ok(())
        });
        boot.unwrap_or(0)
    }

    /// Nanoseconds of a number of clock ticks.
    pub(super) fn ticks_ns(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(1_000_000_000 / self.facts.clock_ticks.max(1))
    }

    /// Joins the parts of a path.
    pub(super) fn join(&mut self, parts: &[&str]) -> &str {
        self.path.clear();
        for part in parts {
            self.path.push_str(part);
        }
        &self.path
    }
}

impl Tally {
    /// Counts an error and keeps the first one's text.
    pub(super) fn fail(&mut self, error: String) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }
}

/// Whether an error only says that something is not there, or no longer, or not in this kernel.
pub(super) fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::NOENT, Errno::NODEV, Errno::SRCH, Errno::NOTDIR, Errno::OPNOTSUPP];
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|number| gone.iter().any(|errno| errno.raw_os_error() == number))
}

/// How one family has fared since the start.
pub(super) struct Score {
    pub(super) family: &'static str,
    errors: u64,
    drops: u64,
}

impl Score {
    pub(super) fn new(family: &'static str) -> Self {
        Score { family, errors: 0, drops: 0 }
    }

    /// The row of this tick.
    pub(super) fn report(&mut self, tally: &Tally, duration_ns: u64, rows: usize) -> v1::Collect {
        self.errors += tally.errors;
        self.drops += tally.drops;
        v1::Collect {
            source: super::NAME.to_owned(),
            family: self.family.to_owned(),
            success: Some(u64::from(tally.errors == 0)),
            duration: Some(duration_ns),
            rows: Some(rows as u64),
            errors: Some(self.errors),
            drops: Some(self.drops),
            error: tally.error.as_deref().map(|error| text_of(error.as_bytes())),
        }
    }
}

/// Nanoseconds since `start`.
pub(super) fn since_ns(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
