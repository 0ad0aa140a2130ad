//! 1,000 zones at one frame a second with 130 values each: what it costs.
//!
//! Ten seconds by default, to see that it works; the real measurement is
//! `ZONESCOPE_REDIS_LOAD_SECONDS=600 cargo test -p zonescope-collector-redis --test load -- --nocapture`, with `--release` for what is
//! installed. What counts is CPU time of the collector's process, so that a busy machine does not matter much.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use support::synthetic::frame;
use support::{Collector, Feed, Redis, START_MS, ask, wait_until, wanted, zone_named, zone_number};

const ZONES: usize = 1000;
const VALUES: usize = 130;

fn info(redis: &mut redis::Connection, section: &str, name: &str) -> f64 {
    let info: String = ask(redis, &["INFO", section]);
    info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().parse().unwrap()
}

#[test]
fn a_thousand_zones_every_second_cost_little_and_memory_stays_flat() {
    let Some(server) = Redis::start(&[]) else { return };
    let seconds = wanted("ZONESCOPE_REDIS_LOAD_SECONDS", 10);
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    feed.keep();
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url(), "--name", "load"]);
    feed.wait_for_collector();
    let health = |redis: &mut redis::Connection, field: &str| {
        ask::<Option<f64>>(redis, &["HGET", "zonescope:collector:load", field]).unwrap_or(0.0)
    };
    let empty = info(&mut redis, "memory", "used_memory");
    let (start, redis_cpu) =
        (Instant::now(), info(&mut redis, "cpu", "used_cpu_user") + info(&mut redis, "cpu", "used_cpu_sys"));
    let mut resident = Vec::new();
    for n in 1..=seconds {
        for zone in 0..ZONES as u64 {
            feed.publish(zone_named(&format!("zone-{zone:04}")), frame(zone, n, VALUES), START_MS + n * 1000);
        }
        feed.announce(START_MS + n * 1000);
        std::thread::sleep(Duration::from_secs(n).saturating_sub(start.elapsed()));
        if n % (seconds / 10).max(1) == 0 {
            resident.push(health(&mut redis, "rss") / 1048576.0);
        }
    }
    for zone in ["zone-0000", "zone-0999"] {
        wait_until("the last frame", || zone_number(&mut redis, "h", zone, "frames") == seconds);
    }
    let elapsed = start.elapsed().as_secs_f64();
    wait_until("a last report", || health(&mut redis, "stored") == (ZONES as u64 * seconds) as f64);
    let cpu = health(&mut redis, "cpu_nsec") / 1e9 / elapsed;
    let redis_cpu =
        (info(&mut redis, "cpu", "used_cpu_user") + info(&mut redis, "cpu", "used_cpu_sys") - redis_cpu) / elapsed;
    let hour = (info(&mut redis, "memory", "used_memory") - empty) / ZONES as f64;
    println!(
        "{ZONES} zones, {VALUES} values, {seconds} s: collector {:.1} % of a core, Redis {:.1} %; collector's memory {resident:.0?} MiB; \
         Redis {:.0} KiB a zone after {seconds} s; a batch {:.1} ms",
        cpu * 100.0,
        redis_cpu * 100.0,
        hour / 1024.0,
        health(&mut redis, "batch_us") / 1e3
    );
    assert_eq!(health(&mut redis, "missing"), 0.0);
    if seconds >= 60 {
        assert!(cpu < 0.30, "{cpu}");
        let (middle, last) = (resident[resident.len() / 2], resident[resident.len() - 1]);
        assert!(last < middle * 1.1 + 4.0, "memory grows: {resident:?}");
    }
    assert_eq!(collector.end(), 0);
}
