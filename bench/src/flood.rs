//! Many frames a second through ZeroMQ: a publisher that keeps to a rate, and a subscriber that only counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use zonescope_link::clock::SystemClock;
use zonescope_link::transport::Admission;
use zonescope_link::{Endpoint, Event, Publisher, RecoveryOptions, Subscriber, SubscriberOptions, recover, ring};
use zonescope_proto::v1;

use crate::usage::cpu;
use crate::workload::{identity, packets};

/// Frames leave in bursts this long apart, as they do from a generator at its tick, only smaller.
const BURST: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
pub(crate) struct PublishArguments {
    /// Captures: folder of *.packets.jsonl.zst
    #[arg(long)]
    data: PathBuf,
    /// Where to publish
    #[arg(long)]
    bind: String,
    /// Where to hand out what was missed
    #[arg(long)]
    recovery_bind: String,
    /// Frames to publish
    #[arg(long)]
    frames: u64,
    /// Frames a second
    #[arg(long)]
    rate: u64,
    /// Zones to spread them over
    #[arg(long, default_value_t = 1000)]
    zones: u64,
    /// How long to stay afterwards, s, for who asks for what it missed
    #[arg(long, default_value_t = 10)]
    stay: u64,
}

/// Publishes frames of the captures, each under the next zone's name.
pub(crate) fn publish(arguments: &PublishArguments) -> anyhow::Result<serde_json::Value> {
    let mut packets = packets(&arguments.data)?;
    anyhow::ensure!(!packets.is_empty(), "no packets");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut publisher = Publisher::bind(&arguments.bind, Admission::Open, identity()).await?;
        let limits = ring::Limits { bytes: 1 << 30, ..ring::Limits::default() };
        let bounds = recover::Bounds::default();
        let bind = arguments.recovery_bind.clone();
        publisher.recover(RecoveryOptions { bind, ring: limits, spool: None, bounds }, Arc::new(SystemClock)).await?;
        publisher.subscriber().await;
        tokio::time::sleep(Duration::from_millis(500)).await;

        let (began, cpu_before) = (Instant::now(), cpu()?);
        let per_burst = (arguments.rate * BURST.as_millis() as u64 / 1000).max(1);
        let mut published = 0;
        let mut burst = 0u32;
        let mut time_ns = packets[0].time_ns;
        while published < arguments.frames {
            tokio::time::sleep_until((began + BURST * burst).into()).await;
            burst += 1;
            for _ in 0..per_burst.min(arguments.frames - published) {
                let count = packets.len();
                let packet = &mut packets[published as usize % count];
                let name = format!("{}-{:04}", packet.zone.name, published % arguments.zones);
                let zone = v1::Zone { name, ..packet.zone.clone() };
                // Only the header is set anew; a copy of the rows would be the benchmark's own cost.
                publisher.publish(zone, &mut packet.rows, time_ns, 1000).await?;
                published += 1;
                // All zones of a second, then the next.
                if published % arguments.zones == 0 {
                    publisher.announce(time_ns, 1000).await?;
                    time_ns += 1_000_000_000;
                }
            }
        }
        publisher.farewell(time_ns, 1000).await?;
        let (wall, cpu) = (began.elapsed(), cpu()?.saturating_sub(cpu_before));
        let (_, bytes) = publisher.published();
        tokio::time::sleep(Duration::from_secs(arguments.stay)).await;
        Ok(json!({
            "frames": published, "bytes": bytes, "wall_s": wall.as_secs_f64(), "cpu_s": cpu.as_secs_f64(),
            "answered": publisher.answered(),
        }))
    })
}

#[derive(Debug, Args)]
pub(crate) struct HearArguments {
    /// Where to subscribe
    #[arg(long)]
    connect: String,
    /// Frames of zones to wait for
    #[arg(long)]
    frames: u64,
    /// Longest time to wait for a frame, s
    #[arg(long, default_value_t = 10)]
    patience: u64,
}

/// Takes frames until all have come, or none comes any more.
pub(crate) fn hear(arguments: &HearArguments) -> anyhow::Result<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let endpoints = vec![Endpoint::plain(&arguments.connect)];
        let mut subscriber =
            Subscriber::connect(SubscriberOptions { endpoints, ..SubscriberOptions::default() }).await?;
        let (mut frames, mut began, mut last) = (0, None, Instant::now());
        while frames < arguments.frames {
            // The first may take as long as it likes.
            let patience = if frames == 0 { Duration::from_secs(60) } else { Duration::from_secs(arguments.patience) };
            let Ok(event) = tokio::time::timeout(patience, subscriber.next()).await else { break };
            if let Event::Frame(received) = event {
                began.get_or_insert_with(Instant::now);
                frames += u64::from(!received.topic.zone.is_empty());
                last = Instant::now();
            }
        }
        let counters = subscriber.counters();
        Ok(json!({
            "frames": frames, "wall_s": began.map_or(0.0, |began| (last - began).as_secs_f64()), "cpu_s": cpu()?.as_secs_f64(),
            "recovered": counters.recovered, "missing": counters.missing, "bytes": counters.bytes,
        }))
    })
}
