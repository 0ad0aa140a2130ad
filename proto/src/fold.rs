//! Rows that are sent as one list: of `oncpu_core`, which takes a fifth of a zone's frame otherwise.
//!
//! Whoever publishes folds a frame before it is encoded; [`crate::decode`] unfolds it, so that nobody else sees the list.

use crate::limits::MAX_ROWS;
use crate::v1;

/// Puts the rows of `oncpu_core` into one list, where they are of the cores 0, 1, 2, ... and each has its samples.
pub fn fold(frame: &mut v1::Frame) {
    let in_order = |(core, row): (u64, &v1::OnCpuCore)| row.samples.filter(|_| row.core == core);
    // What breaks the limit stays as it is, and is found where the frame is encoded.
    if frame.oncpu_core.len() > MAX_ROWS {
        return;
    }
    if let Some(samples) = (0..).zip(&frame.oncpu_core).map(in_order).collect::<Option<Vec<u64>>>() {
        frame.oncpu_core_samples = samples;
        frame.oncpu_core.clear();
    }
}

/// Makes rows of the list again.
pub fn unfold(frame: &mut v1::Frame) {
    let samples = std::mem::take(&mut frame.oncpu_core_samples);
    frame.oncpu_core.extend((0..).zip(samples).map(|(core, samples)| v1::OnCpuCore { core, samples: Some(samples) }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rows: &[(u64, Option<u64>)]) -> v1::Frame {
        let oncpu_core = rows.iter().map(|&(core, samples)| v1::OnCpuCore { core, samples }).collect();
        v1::Frame { oncpu_core, ..v1::Frame::default() }
    }

    #[test]
    fn rows_of_all_cores_become_a_list_and_rows_again() {
        let rows = frame(&[(0, Some(7)), (1, Some(0)), (2, Some(4999))]);
        let mut folded = rows.clone();
        fold(&mut folded);
        assert_eq!((folded.oncpu_core_samples.as_slice(), folded.oncpu_core.len()), ([7, 0, 4999].as_slice(), 0));
        unfold(&mut folded);
        assert_eq!(folded, rows);
    }

    #[test]
    fn rows_of_some_cores_or_without_samples_stay_rows() {
        for rows in [&[(1, Some(7))][..], &[(0, Some(7)), (2, Some(1))], &[(0, None)]] {
            let mut folded = frame(rows);
            fold(&mut folded);
            assert_eq!(folded, frame(rows));
        }
    }
}
