//! What a frame costs: `cargo bench -p zonescope-collector-redis`.
//!
//! `encode` is our own work alone: decode, derive, write the commands. `store` adds a real Redis on the same machine, with 512
//! frames a batch. Then the memory that Redis needs for an hour of one zone is measured by storing one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark fails by panicking, and prints"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use redis::Pipeline;
use support::synthetic::frame;
use support::{Redis, START_MS, ask, zone_named};
use zonescope_collector_redis::backlog::{Held, Kind};
use zonescope_collector_redis::batch::{Context, Knowledge};
use zonescope_collector_redis::connect::{Connection, Credentials, Target, Topology, address};
use zonescope_collector_redis::derive::Past;
use zonescope_collector_redis::encode::{Transaction, Writing};
use zonescope_collector_redis::keys::{self, Keys};
use zonescope_collector_redis::style::Style;
use zonescope_collector_redis::zone::{Arrival, Stored};
use zonescope_link::Identity;
use zonescope_link::publish::Sealer;
use zonescope_proto::decode;

const VALUES: usize = 130;
const BATCH: u64 = 512;
const HOUR: u64 = 3600;

fn style(history_rates: bool) -> Style {
    Style { keys: Keys::new("zonescope"), keep_ms: HOUR * 1000, history_rates, no_history: Vec::new() }
}

/// Frames as they travel.
struct Frames {
    sealer: Sealer,
    number: u64,
}

impl Frames {
    fn new() -> Self {
        let identity = Identity { host_id: "h".into(), host: "h".into(), epoch: 1 };
        Frames { sealer: Sealer::new(identity), number: 0 }
    }

    fn frame(&mut self, zone: u64, n: u64) -> Bytes {
        let named = zone_named(&format!("zone-{zone:04}"));
        let mut frame = frame(zone, n, VALUES);
        self.sealer.seal(Some(named), &mut frame, (START_MS + n * 1000) * 1_000_000, 1000).unwrap().1
    }

    /// Frame `n` of each of so many zones.
    fn batch(&mut self, zones: u64, n: u64) -> Vec<(u64, Held)> {
        let held = |zone: u64, sequence: u64, bytes: Bytes| {
            let tag: Arc<str> = keys::tag("h", &format!("zone-{zone:04}")).into();
            let (kind, epoch, arrived_ns, interval_ms) = (Kind::Zone, 1, 1, 1000);
            Held { tag, kind, epoch, sequence, arrived_ns, interval_ms, recovered: false, bytes }
        };
        (0..zones)
            .map(|zone| {
                self.number += 1;
                let bytes = self.frame(zone, n);
                (self.number, held(zone, n, bytes))
            })
            .collect()
    }
}

fn transaction(style: &Style, past: &mut Past, stored: Stored, bytes: &Bytes) -> (Pipeline, Stored) {
    let frame = decode(bytes).unwrap();
    let mut transaction = Transaction::new(style, "h/zone-0000".into(), stored, style.keep_ms, START_MS);
    let Arrival::New { id, .. } = transaction.stored().arrival(frame.header.as_ref().unwrap(), style.keep_ms) else {
        unreachable!("frames come in order")
    };
    transaction.frame(past, frame, Writing { id, missing: 0, recovered: false, latest: true });
    transaction.finish()
}

fn encode(c: &mut Criterion) {
    let (mut frames, style) = (Frames::new(), style(true));
    let frames: Vec<Bytes> = (1..=1000).map(|n| frames.frame(0, n)).collect();
    let run = |frames: &[Bytes]| {
        let (mut past, mut stored, mut bytes) = (Past::default(), Stored::default(), 0);
        for frame in frames {
            let (pipe, next) = transaction(&style, &mut past, stored, frame);
            bytes += pipe.get_packed_pipeline().len();
            stored = next;
        }
        bytes
    };
    eprintln!(
        "a frame of {VALUES} values: {} bytes, {} bytes of commands",
        frames[0].len(),
        run(&frames) / frames.len()
    );
    for (what, per_frame) in [("frames", 1), ("values", VALUES as u64)] {
        let mut group = c.benchmark_group("encode");
        group.throughput(Throughput::Elements(frames.len() as u64 * per_frame));
        group.bench_function(what, |b| b.iter(|| run(&frames)));
        group.finish();
    }
}

async fn connect(server: &Redis) -> Connection {
    let topology = Topology::Single(address(&server.url()).unwrap());
    Target::new(topology, Credentials::default()).unwrap().connect().await.unwrap()
}

fn store(c: &mut Criterion) {
    let Some(server) = Redis::start(&[]) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let connection = runtime.block_on(connect(&server));
    let (mut frames, style) = (Frames::new(), style(true));
    for (what, per_frame) in [("frames", 1), ("values", VALUES as u64)] {
        let (mut knowledge, mut n) = (Knowledge::default(), frames.number);
        let mut group = c.benchmark_group("store");
        group.throughput(Throughput::Elements(BATCH * per_frame)).sample_size(20);
        group.bench_function(what, |b| {
            b.iter_batched(
                || {
                    n += 1;
                    frames.batch(BATCH, n)
                },
                |batch| {
                    let context = Context { style: &style, keep_ms: 60_000, now_ms: START_MS };
                    let outcome = runtime.block_on(knowledge.write(&connection, context, batch, |_| Vec::new()));
                    assert!(outcome.failed.is_empty() && outcome.trouble.is_none());
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn memory(_: &mut Criterion) {
    const ZONES: u64 = 10;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for rates in [true, false] {
        let Some(server) = Redis::start(&[]) else { return };
        let mut redis = server.client();
        let mut used = || {
            let info: String = ask(&mut redis, &["INFO", "memory"]);
            info.lines().find_map(|l| l.strip_prefix("used_memory:")).unwrap().parse::<u64>().unwrap()
        };
        let (style, mut frames, mut knowledge) = (style(rates), Frames::new(), Knowledge::default());
        let empty = used();
        runtime.block_on(async {
            let connection = connect(&server).await;
            for n in 1..=HOUR {
                let context = Context { style: &style, keep_ms: style.keep_ms, now_ms: START_MS };
                let outcome = knowledge.write(&connection, context, frames.batch(ZONES, n), |_| Vec::new()).await;
                assert!(outcome.failed.is_empty());
            }
        });
        let bytes = (used() - empty) / ZONES;
        eprintln!(
            "Redis memory of a zone-hour of {VALUES} values a second, {} rates: {bytes} bytes ({:.1} bytes a value)",
            if rates { "with" } else { "without" },
            bytes as f64 / (HOUR * VALUES as u64) as f64
        );
    }
}

criterion_group!(benches, encode, store, memory);
criterion_main!(benches);
