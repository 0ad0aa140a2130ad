//! SIGKILL, in turn for Redis and for the collector, under a steady stream of frames.
//!
//! Six kills by default; `ZONESCOPE_REDIS_KILLS=20 cargo test -p zonescope-collector-redis --test kills` for twenty.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{Collector, Feed, Redis, ask, counted, wait_until, wanted, zone_number};

const ZONES: usize = 20;

#[test]
fn kills_lose_nothing_and_store_nothing_twice() {
    // A server that syncs before it answers: what it has acknowledged survives its own death.
    let Some(mut server) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let kills = wanted("ZONESCOPE_REDIS_KILLS", 6);
    let mut feed = Feed::new("h");
    feed.keep();
    let (endpoint, url) = (feed.endpoint(), server.url());
    let start = || Collector::run(&["--connect", &endpoint, "--redis", &url, "--keep", "31d"]);
    let mut collector = start();
    feed.wait_for_collector();
    let mut n = 0;
    let mut ticks = |feed: &mut Feed, count: u64, pause_ms: u64| {
        for _ in 0..count {
            n += 1;
            feed.tick(ZONES, n);
            std::thread::sleep(Duration::from_millis(pause_ms));
        }
        n
    };
    for kill in 0..kills {
        ticks(&mut feed, 20, 10 + kill % 7);
        if kill % 2 == 0 {
            server.kill();
            ticks(&mut feed, 10, 10);
            server.launch();
        } else {
            // What it held dies with it, and what comes meanwhile nobody hears.
            collector.kill();
            ticks(&mut feed, 10, 10);
            collector = start();
            feed.wait_for_collector();
        }
    }
    let last = ticks(&mut feed, 1, 0);
    let mut redis = server.client();
    for zone in (0..ZONES).map(|zone| format!("z{zone:03}")) {
        wait_until("the last frame", || counted(&mut redis, "h", &zone).last() == Some(&last));
        assert_eq!(counted(&mut redis, "h", &zone), (1..=last).collect::<Vec<_>>(), "each once, in order: {zone}");
        assert_eq!(zone_number(&mut redis, "h", &zone, "frames"), last);
        assert_eq!(zone_number(&mut redis, "h", &zone, "missing"), 0);
    }
    let completeness: String = ask(&mut redis, &["HGET", "zonescope:{h}:host", "completeness"]);
    assert_eq!(completeness, "1.000000");
    println!("kills {kills} frames {} lost 0 twice 0", last * ZONES as u64);
    assert_eq!(collector.end(), 0);
}
