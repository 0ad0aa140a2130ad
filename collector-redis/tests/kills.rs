//! SIGKILL, in turn for Redis and for the collector, under a steady stream of frames.
//!
//! Six kills by default; `ZONESCOPE_REDIS_KILLS=20 cargo test -p zonescope-collector-redis --test kills` for twenty.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{Collector, Feed, Redis, counted, entries, number, wait_until, wanted, zone_number};

const ZONES: usize = 20;

#[test]
fn kills_lose_nothing_that_was_not_under_way_and_put_that_on_record() {
    // A server that syncs before it answers: what it has acknowledged survives its own death.
    let Some(mut server) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let kills = wanted("ZONESCOPE_REDIS_KILLS", 6);
    let mut feed = Feed::new("h");
    let (endpoint, url) = (feed.endpoint(), server.url());
    let start = || Collector::run(&["--connect", &endpoint, "--redis", &url, "--keep", "31d"]);
    let mut collector = start();
    feed.wait_for_collector();
    let mut n = 0;
    for kill in 0..kills {
        for _ in 0..20 {
            n += 1;
            feed.tick(ZONES, n);
            std::thread::sleep(Duration::from_millis(10 + kill % 7));
        }
        if kill % 2 == 0 {
            server.kill();
            for _ in 0..10 {
                n += 1;
                feed.tick(ZONES, n);
                std::thread::sleep(Duration::from_millis(10));
            }
            server.launch();
        } else {
            // Nobody holds what is sent now: that is for the generator's ring.
            collector.kill();
            collector = start();
            feed.wait_for_collector();
        }
    }
    n += 1;
    feed.tick(ZONES, n);
    let mut redis = server.client();
    let mut missing = 0;
    for zone in (0..ZONES).map(|zone| format!("z{zone:03}")) {
        wait_until("the last frame", || counted(&mut redis, "h", &zone).last() == Some(&n));
        let history = counted(&mut redis, "h", &zone);
        assert!(history.windows(2).all(|pair| pair[0] < pair[1]), "each once, in order: {zone}");
        let stored: BTreeSet<u64> = history.into_iter().collect();
        let absent: BTreeSet<u64> = (1..=n).filter(|n| !stored.contains(n)).collect();
        let gaps = entries(&mut redis, &format!("zonescope:{{h/{zone}}}:gaps"));
        let on_record: BTreeSet<u64> =
            gaps.iter().flat_map(|(_, gap)| number(gap, "from")..=number(gap, "to")).collect();
        assert_eq!(absent, on_record, "{zone}: what is absent is on record, and nothing else");
        assert_eq!(zone_number(&mut redis, "h", &zone, "frames"), stored.len() as u64);
        assert_eq!(zone_number(&mut redis, "h", &zone, "missing"), absent.len() as u64);
        missing += absent.len();
    }
    println!("kills {kills} frames {} under way at a kill of the collector {missing}", n * ZONES as u64);
    assert_eq!(collector.end(), 0);
}
