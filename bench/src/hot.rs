//! The hot paths, one at a time and nothing else, for a tool that counts instructions. What comes before is the same for any
//! number of repetitions, so the difference of two runs is the path alone.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;
use zonescope_collector_columnar::store::fs::RealFs;
use zonescope_collector_columnar::store::{Incoming, Place, Store, StoreOptions};
use zonescope_generator::kstat::custom::Custom;
use zonescope_generator::recorded::open;
use zonescope_generator::source::Sample;
use zonescope_proto::{decode, walk};

use crate::workload::{Frames, Tally, packets, sealer};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Path {
    /// Read a kstat chain, project it, number and encode a frame a zone
    Tick,
    /// Decode a frame
    Decode,
    /// Decode a frame, and put it into the store: log and buffers
    Append,
    /// The same, and write what was gathered as Parquet
    Flush,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which
    path: Path,
    /// Ticks, or frames
    #[arg(long)]
    times: usize,
    /// Captures: folder of *.packets.jsonl.zst; of `tick` a capture of kstats
    #[arg(long)]
    data: PathBuf,
    /// Store to make
    #[arg(long, default_value = "")]
    root: PathBuf,
}

/// Runs one.
pub(crate) fn hot(arguments: &Arguments) -> anyhow::Result<serde_json::Value> {
    let mut tally = Tally::default();
    match arguments.path {
        Path::Tick => tick(arguments, &mut tally)?,
        Path::Decode => with_frames(arguments, |frame| {
            walk(black_box(&decode(frame)?), &mut tally);
            Ok(())
        })?,
        Path::Append | Path::Flush => {
            let place = Place::new(arguments.root.clone(), Arc::new(RealFs));
            let mut store = Store::open(place, StoreOptions::default(), 1)?;
            with_frames(arguments, |frame| {
                let frame_decoded = decode(frame)?;
                store.append(&Incoming { frame: &frame_decoded, bytes: frame, recovered: false }, 1)?;
                Ok(())
            })?;
            store.sync()?;
            if matches!(arguments.path, Path::Flush) {
                store.flush(1)?;
            }
        }
    }
    Ok(json!({ "times": arguments.times, "rows": tally.rows, "values": tally.values }))
}

fn tick(arguments: &Arguments, tally: &mut Tally) -> anyhow::Result<()> {
    let mut capture = open::open(&arguments.data, Custom::default())?;
    let mut sealer = sealer();
    for tick in 1..=arguments.times as u64 {
        let mut sample = Sample::default();
        if capture.next(&mut sample).is_none() {
            capture.rewind()?;
            sample = Sample::default();
            capture.next(&mut sample);
        }
        for zone in std::mem::take(&mut sample.zones).into_values() {
            let mut frame = zone.frame;
            walk(&frame, tally);
            black_box(sealer.seal(Some(zone.zone), &mut frame, tick * 1_000_000_000, 1000)?);
        }
    }
    Ok(())
}

/// Gives the first frames of ten copies, so many times as was asked for.
fn with_frames(arguments: &Arguments, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    /// What is prepared, however few are taken.
    const PACKETS: usize = 2000;
    const COPIES: usize = 10;
    let mut packets = packets(&arguments.data)?;
    packets.truncate(PACKETS);
    let mut left = arguments.times;
    Frames::new(&packets, COPIES, 1, false).for_each_bunch(1, |bunch| {
        if left > 0 {
            left -= 1;
            bunch.iter().try_for_each(|frame| take(frame))?;
        }
        Ok(())
    })
}
