//! Rows that travel as columns: those of `oncpu_core` and `oncpu_process`, which as messages take more than half of
//! the frame of a zone with 20 processes.
//!
//! Whoever publishes folds a frame before it is encoded; [`crate::decode`] unfolds it, so that nobody else sees the columns.
//! A family is folded where each of its rows has its samples, and as a whole or not at all.

use crate::decode::{DecodeError, check_text, limit};
use crate::limits::{MAX_FRAME_BYTES, MAX_ROWS};
use crate::v1;

/// A name is looked for among so many. It may stand again behind these: a zone decides itself how many names it has, and must
/// not make a tick long.
const LOOK_AT: usize = 64;

/// The rows of a frame that is folded.
#[derive(Debug, Default)]
pub struct Rows {
    core: Vec<v1::OnCpuCore>,
    process: Vec<v1::OnCpuProcess>,
}

impl Rows {
    /// Makes the frame as it was.
    pub fn put_back(self, frame: &mut v1::Frame) {
        if !self.core.is_empty() {
            frame.oncpu_core_samples.clear();
            frame.oncpu_core = self.core;
        }
        if !self.process.is_empty() {
            frame.oncpu_process_columns = None;
            frame.oncpu_process = self.process;
        }
    }
}

/// Puts rows into columns; gives those rows.
pub fn fold(frame: &mut v1::Frame) -> Rows {
    let mut rows = Rows::default();
    if let Some(samples) = samples_of_all_cores(&frame.oncpu_core) {
        frame.oncpu_core_samples = samples;
        rows.core = std::mem::take(&mut frame.oncpu_core);
    }
    if let Some(columns) = columns(&frame.oncpu_process) {
        frame.oncpu_process_columns = Some(columns);
        rows.process = std::mem::take(&mut frame.oncpu_process);
    }
    rows
}

/// How many rows come in columns: so many at most.
#[derive(Debug, Default)]
pub(crate) struct InColumns {
    pub(crate) core: usize,
    pub(crate) process: usize,
}

impl InColumns {
    /// A frame with room for them, so that decoding need not make room again and again.
    pub(crate) fn room(self) -> v1::Frame {
        let (core, process) = (self.core.min(MAX_ROWS), self.process.min(MAX_ROWS));
        let columns = || v1::OnCpuProcessColumns {
            execname: Vec::new(),
            name: Vec::with_capacity(process),
            pid_step: Vec::with_capacity(process),
            core: Vec::with_capacity(process),
            samples: Vec::with_capacity(process),
        };
        v1::Frame {
            oncpu_core_samples: Vec::with_capacity(core),
            oncpu_process_columns: (process > 0).then(columns),
            ..v1::Frame::default()
        }
    }
}

/// Makes rows of the columns again.
///
/// # Errors
/// Where they make none, or break a limit. Until that is known nothing is allocated for rows.
pub(crate) fn unfold(frame: &mut v1::Frame) -> Result<(), DecodeError> {
    check(frame)?;
    let samples = std::mem::take(&mut frame.oncpu_core_samples);
    let cores = samples.into_iter().enumerate();
    frame.oncpu_core.extend(cores.map(|(core, samples)| v1::OnCpuCore { core: core as u64, samples: Some(samples) }));
    let Some(columns) = frame.oncpu_process_columns.take() else { return Ok(()) };
    let mut pid = 0u64;
    let rows = columns.name.iter().zip(&columns.pid_step).zip(&columns.core).zip(&columns.samples);
    frame.oncpu_process.extend(rows.map(|(((name, step), core), samples)| {
        pid = pid.wrapping_add_signed(*step);
        let execname = name_of(&columns, *name).cloned().unwrap_or_default();
        v1::OnCpuProcess { pid, execname, core: *core, samples: Some(*samples) }
    }));
    Ok(())
}

/// Whether the columns of a frame make rows, and keep every limit.
pub(crate) fn check(frame: &v1::Frame) -> Result<(), DecodeError> {
    limit("rows of one family", frame.oncpu_core.len() + frame.oncpu_core_samples.len(), MAX_ROWS)?;
    let Some(columns) = &frame.oncpu_process_columns else { return Ok(()) };
    let rows = columns.name.len();
    limit("rows of one family", frame.oncpu_process.len() + rows, MAX_ROWS)?;
    if [columns.pid_step.len(), columns.core.len(), columns.samples.len()] != [rows; 3] {
        return Err(DecodeError::Columns);
    }
    columns.execname.iter().try_for_each(|name| check_text(name))?;
    // A name stands once, and once in each of its rows when these are made.
    let length = |name: &u64| name_of(columns, *name).map(String::len).ok_or(DecodeError::Columns);
    let bytes = columns.name.iter().map(length).sum::<Result<usize, DecodeError>>()?;
    limit("bytes of names", bytes, MAX_FRAME_BYTES)
}

fn name_of(columns: &v1::OnCpuProcessColumns, name: u64) -> Option<&String> {
    columns.execname.get(usize::try_from(name).ok()?)
}

/// The samples, where the rows are of the cores 0, 1, 2, ... and each has some.
fn samples_of_all_cores(rows: &[v1::OnCpuCore]) -> Option<Vec<u64>> {
    (0..).zip(rows).map(|(core, row)| row.samples.filter(|_| row.core == core)).collect()
}

/// The columns, where there are rows and each has its samples.
fn columns(rows: &[v1::OnCpuProcess]) -> Option<v1::OnCpuProcessColumns> {
    if rows.is_empty() {
        return None;
    }
    let mut columns = v1::OnCpuProcessColumns {
        samples: rows.iter().map(|row| row.samples).collect::<Option<_>>()?,
        core: rows.iter().map(|row| row.core).collect(),
        ..v1::OnCpuProcessColumns::default()
    };
    let before = std::iter::once(0).chain(rows.iter().map(|row| row.pid));
    columns.pid_step =
        rows.iter().zip(before).map(|(row, before)| row.pid.wrapping_sub(before).cast_signed()).collect();
    for row in rows {
        let known = columns.execname.iter().take(LOOK_AT).position(|name| *name == row.execname);
        columns.name.push(known.unwrap_or(columns.execname.len()) as u64);
        if known.is_none() {
            columns.execname.push(row.execname.clone());
        }
    }
    Some(columns)
}
