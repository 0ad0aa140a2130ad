//! What a tick costs at 10, 100 and 1,000 zones, off a recorded chain held in memory: reading it (finding the kstats that
//! are wanted, and handing out their statistics), reading and projecting (a sample of every zone's families), encoding
//! (a frame of protobuf a zone). Before that it prints how many bytes and allocations each takes.
//!
//! ```text
//! cargo bench -p zonescope-generator --bench tick
//! ```

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark, not a daemon")]

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use synthetic::Synthetic;
use synthetic::counting::{Counting, during};
use zonescope_generator::kstat::chain::{Chain, Id, Kstat, Visitor};
use zonescope_generator::kstat::{KstatSource, wanted};
use zonescope_generator::source::{Sample, Source, Tick};
use zonescope_proto::{encode, v1};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TICK: Tick = Tick { time_ns: 1_700_000_000_000_000_000, interval_ns: 1_000_000_000 };

/// Looks at everything that is wanted, and does nothing with it.
#[derive(Default)]
struct Reader {
    statistics: usize,
}

impl Visitor for Reader {
    fn wants(&self, id: Id<'_>) -> bool {
        wanted(id)
    }

    fn kstat(&mut self, kstat: &Kstat<'_>) {
        self.statistics += black_box(kstat.stats).len();
    }
}

fn read(chain: &dyn Chain) -> usize {
    let mut reader = Reader::default();
    chain.visit(&mut reader);
    reader.statistics
}

fn sample(source: &mut KstatSource) -> Sample {
    let mut sample = Sample::default();
    source.sample(TICK, &mut sample).unwrap();
    sample
}

fn header(zone: &v1::Zone) -> v1::Header {
    v1::Header {
        version: zonescope_proto::FORMAT_VERSION,
        host_id: "44454c4c-3900-1032-8042-b4c04f4d3232".into(),
        host: "compute-07".into(),
        zone: Some(zone.clone()),
        epoch: TICK.time_ns,
        sequence: 1,
        time: TICK.time_ns,
        interval_ms: 1000,
    }
}

fn frames(sample: Sample) -> Vec<v1::Frame> {
    sample.zones.into_values().map(|z| v1::Frame { header: Some(header(&z.zone)), ..*z.frame }).collect()
}

fn encode_all(frames: &[v1::Frame], buffer: &mut Vec<u8>) -> usize {
    let encoded = |frame| {
        encode(frame, buffer).unwrap();
        buffer.len()
    };
    frames.iter().map(encoded).sum()
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for zones in [10, 100, 1000] {
        let chain = Synthetic::steady(zones).frozen();
        let mut source = KstatSource::new(Box::new(chain.clone()));
        let frames = frames(sample(&mut source));
        let mut buffer = Vec::new();

        let (statistics, ..) = during(|| read(&chain));
        let (_, calls, bytes) = during(|| sample(&mut source));
        let (wire, encode_calls, _) = during(|| encode_all(&frames, &mut buffer));
        println!(
            "{zones} zones: {} kstats, {statistics} statistics; a sample makes {calls} allocations of {bytes} bytes; \
             frames of {wire} bytes, {encode_calls} allocations to encode them",
            chain.0.len()
        );

        group.bench_function(BenchmarkId::new("read", zones), |b| b.iter(|| read(&chain)));
        group.bench_function(BenchmarkId::new("read_and_project", zones), |b| b.iter(|| sample(&mut source)));
        group.bench_function(BenchmarkId::new("encode", zones), |b| b.iter(|| encode_all(&frames, &mut buffer)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots();
    targets = tick
}
criterion_main!(benches);
