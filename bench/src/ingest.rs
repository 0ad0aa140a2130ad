//! Frames to Parquet as the collector's store does it, on one thread, so that CPU time is that of one core.
//!
//! The log is synced once a second by the clock, as always. A flush is due when memory is half full, or a minute is over.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use zonescope_collector_columnar::store::fs::RealFs;
use zonescope_collector_columnar::store::housekeeping::compact_all;
use zonescope_collector_columnar::store::{Appended, Incoming, Place, Store, StoreOptions};
use zonescope_link::clock::{Clock, SystemClock};
use zonescope_proto::{decode, walk};

use crate::usage::{Cost, charge, peak_kib};
use crate::workload::{Frames, ORIGINAL_COLUMNS, Tally, packets};

/// Frames between two looks at the clock, as the store's own thread takes them.
const BUNCH: usize = 256;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Captures: folder of *.packets.jsonl.zst
    #[arg(long)]
    data: PathBuf,
    /// Store to make
    #[arg(long)]
    root: PathBuf,
    /// Copies of every zone, each with a name of its own
    #[arg(long, default_value_t = 1)]
    copies: usize,
    /// Each copy begins elsewhere in the captures, so that no two are alike
    #[arg(long)]
    apart: bool,
    /// The captures follow each other so often, each time later
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Take this many packets of the captures only
    #[arg(long)]
    packets: Option<usize>,
}

/// Makes a store, and compacts it.
pub(crate) fn ingest(arguments: &Arguments) -> anyhow::Result<serde_json::Value> {
    let mut packets = packets(&arguments.data)?;
    packets.truncate(arguments.packets.unwrap_or(usize::MAX));
    let mut tally = Tally::default();
    packets.iter().for_each(|packet| walk(&packet.rows, &mut tally));
    let copies = arguments.copies as u64 * arguments.rounds;
    let (rows, values) = (tally.rows * copies, tally.values * copies);
    let frames = packets.len() as u64 * copies;

    let place = Place::new(arguments.root.clone(), Arc::new(RealFs));
    let clock = SystemClock;
    let mut store = Store::open(place.clone(), StoreOptions::default(), clock.now_ns())?;
    let (mut appending, mut syncing, mut flushing, mut bytes) = (Cost::default(), Cost::default(), Cost::default(), 0);
    Frames::new(&packets, arguments.copies, arguments.rounds, arguments.apart).for_each_bunch(BUNCH, |bunch| {
        let now = clock.now_ns();
        charge(&mut appending, || {
            for frame in bunch {
                bytes += frame.len();
                let incoming = Incoming { frame: &decode(frame)?, bytes: frame, recovered: false };
                let appended = store.append(&incoming, now)?;
                anyhow::ensure!(appended == Appended::Stored, "a frame was taken for another: {appended:?}");
            }
            Ok(())
        })?;
        charge(&mut syncing, || Ok(store.tick(now)?))?;
        if store.flush_due(now) {
            charge(&mut flushing, || Ok(store.flush(now)?))?;
        }
        Ok(())
    })?;
    let counters = charge(&mut flushing, || Ok(store.close(clock.now_ns())?))?;
    anyhow::ensure!(counters.frames == frames, "{frames} frames went in, {} were stored", counters.frames);
    let ingested_kib = peak_kib()?;

    let mut compacting = Cost::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    charge(&mut compacting, || Ok(runtime.block_on(compact_all(&place, clock.now_ns()))?))?;

    let seconds = |cost: Cost| json!({ "wall_s": cost.wall.as_secs_f64(), "cpu_s": cost.cpu.as_secs_f64() });
    let mut all = appending;
    all += syncing;
    all += flushing;
    Ok(json!({
        "frames": frames, "bytes": bytes, "rows": rows, "values": values,
        "original_values": frames * ORIGINAL_COLUMNS, "flushes": counters.flushes, "peak_kib": ingested_kib,
        "append": seconds(appending), "sync": seconds(syncing), "flush": seconds(flushing),
        "ingest": seconds(all), "compact": seconds(compacting),
    }))
}
