//! Recordings of Linux hosts: a line a tick, each everything that the tick read.

use std::io::{BufRead, Lines};
use std::path::PathBuf;

use zonescope_proto::v1;

use super::{Capture, open};
use crate::linux::{Identity, Linux, Options, Record, Recorded, identity};
use crate::source::{Sample, Source};

/// Plays a recording through the same source that reads live hosts.
pub struct LinuxRecording {
    path: PathBuf,
    lines: Lines<Box<dyn BufRead + Send>>,
    linux: Linux<Recorded>,
    host: Identity,
    errors: u64,
}

impl LinuxRecording {
    /// Plays the recording at `path`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn open(path: PathBuf) -> std::io::Result<Self> {
        let mut first = String::new();
        open::reader(&path)?.read_line(&mut first)?;
        let mut files = Recorded::default();
        files.play(serde_json::from_str(&first)?);
        let host = identity(&mut files);
        let lines = open::reader(&path)?.lines();
        Ok(LinuxRecording { path, lines, linux: Linux::with(files, Options::default()), host, errors: 0 })
    }
}

impl Capture for LinuxRecording {
    fn next(&mut self, sample: &mut Sample) -> Option<Option<u64>> {
        loop {
            let line = self.lines.next()?;
            match line
                .map_err(|e| e.to_string())
                .and_then(|l| serde_json::from_str::<Record>(&l).map_err(|e| e.to_string()))
            {
                Ok(record) => {
                    let tick = record.tick();
                    self.linux.files().play(record);
                    self.linux.sample(tick, sample).ok()?;
                    return Some(Some(tick.time_ns));
                }
                Err(error) => {
                    self.errors += 1;
                    tracing::warn!(file = %self.path.display(), "left out a tick that cannot be read: {error}");
                    sample.collect.push(v1::Collect {
                        source: "recorded".to_owned(),
                        family: "tick".to_owned(),
                        success: Some(0),
                        errors: Some(self.errors),
                        error: Some(error),
                        ..v1::Collect::default()
                    });
                }
            }
        }
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.lines = open::reader(&self.path)?.lines();
        Ok(())
    }

    fn host(&self) -> Option<(String, String)> {
        Some((self.host.id.clone(), self.host.name.clone()))
    }
}
