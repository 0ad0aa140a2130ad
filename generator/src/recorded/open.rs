//! Opens a capture, whatever it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Capture;
use super::linux::LinuxRecording;
use super::series::Series;
use crate::kstat::chain::Chain;
use crate::kstat::custom::Custom;
use crate::kstat::replay::Replay;
use crate::kstat::{KstatSource, text_j, text_p};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `zonescope-generator record` of a Linux host.
    Linux,
    /// A kstat chain in JSON lines, ours or another's.
    Chain,
    /// `kstat -p`
    KstatP,
    /// `kstat -j`
    KstatJ,
    /// Packets of the 2013 system.
    Packets,
}

/// Why a capture cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is nothing we know.
    #[error(
        "{path} is no capture: expected a recording of `zonescope-generator record`, a kstat chain in JSON lines, the output of `kstat -p` or `kstat -j`, or packets of the 2013 system"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
}

/// Reads `path`, through zstd where it is compressed.
///
/// # Errors
/// Where the file cannot be read, or is damaged at its beginning.
pub fn reader(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&ZSTD) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?;
        return Ok(Box::new(BufReader::new(decoder)));
    }
    Ok(Box::new(file))
}

/// What the file at `path` is.
///
/// # Errors
/// Where it cannot be read, or is nothing we know.
pub fn form(path: &Path) -> Result<Form, OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let mut head = Vec::new();
    reader(path).map_err(io)?.take(4096).read_to_end(&mut head).map_err(io)?;
    recognise(&head).ok_or_else(|| OpenError::Unknown { path: path.to_owned() })
}

/// What a file that begins with `head` is.
fn recognise(head: &[u8]) -> Option<Form> {
    let text = String::from_utf8_lossy(head);
    let first = text.lines().find(|l| !l.trim().is_empty())?;
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    match first.trim_start().chars().next()? {
        '[' if has("module") => Some(Form::KstatJ),
        '{' if first.contains("\"zonescope\"") => recording(first),
        '{' if first.contains("\"module\"") => Some(Form::Chain),
        '{' if first.contains("\"zone\"") && first.contains("\"ticks\"") => Some(Form::Packets),
        _ if first.split_once('\t').is_some_and(|(left, _)| left.splitn(4, ':').count() == 4) => Some(Form::KstatP),
        _ => None,
    }
}

/// What a recording of ours says that it is, first of all: `{"zonescope": "linux", ...`.
fn recording(first: &str) -> Option<Form> {
    let value = first.split_once("\"zonescope\"")?.1.split('"').nth(1)?;
    match value {
        "linux" => Some(Form::Linux),
        "kstat" => Some(Form::Chain),
        _ => None,
    }
}

/// Opens the capture at `path`; of one of kstats `custom` are shown as well.
///
/// # Errors
/// Where it cannot be read, or is nothing we know.
pub fn open(path: &Path, custom: Custom) -> Result<Box<dyn Capture>, OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    match form(path)? {
        Form::Packets => Ok(Box::new(Series::open(path.to_owned()).map_err(io)?)),
        Form::Chain => {
            let path = path.to_owned();
            Ok(kstats(Replay::new(Box::new(move || reader(&path))).map_err(io)?, custom))
        }
        Form::KstatP => Ok(kstats(text_p::read(reader(path).map_err(io)?).map_err(io)?, custom)),
        Form::KstatJ => Ok(kstats(text_j::read(reader(path).map_err(io)?).map_err(io)?, custom)),
        Form::Linux => Ok(Box::new(LinuxRecording::open(path.to_owned()).map_err(io)?)),
    }
}

fn kstats(chain: impl Chain + 'static, custom: Custom) -> Box<dyn Capture> {
    Box::new(KstatSource::new(Box::new(chain)).with_custom(custom))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_recognised_by_their_beginning() {
        for (head, form) in [
            ("{\"zonescope\":\"linux\",\"version\":1}\n", Some(Form::Linux)),
            ("{\"zonescope\": \"kstat\", \"version\": 1}\n", Some(Form::Chain)),
            ("{\"zonescope\": \"rhubarb\"}\n", None),
            ("{\"module\": \"vmem\", \"instance\": 1}\n", Some(Form::Chain)),
            ("[{\n\t\"module\": \"acpi\",\n", Some(Form::KstatJ)),
            ("blkdeverr:0:blkdev0,err:\t\n", Some(Form::KstatP)),
            ("{\"zone\":\"a\",\"time\":1,\"ticks\":0}\n", Some(Form::Packets)),
            ("GIF89a", None),
            ("", None),
        ] {
            assert_eq!(recognise(head.as_bytes()), form, "{head}");
        }
    }
}
