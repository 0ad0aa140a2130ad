//! Captures of real hosts, through the generator, ZeroMQ and the collector into a real Redis: what goes in is there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::captures::{compare, generator, packets};
use support::{Collector, Redis, ask, free_port, wait_until, zone_number};

const CAPTURES: [&str; 9] = [
    "global-20130812T2225.packets.jsonl.zst",
    "global-20130813T1532.packets.jsonl.zst",
    "global-20130813T1645.packets.jsonl.zst",
    "zoneA-20130813T00-14.packets.jsonl.zst",
    "zoneA-20130813T1532.packets.jsonl.zst",
    "zoneA-20130813T1645.packets.jsonl.zst",
    "zoneA-20130813T1710.packets.jsonl.zst",
    "zoneB-20130813T1645.packets.jsonl.zst",
    "zoneB-20130813T1710.packets.jsonl.zst",
];

#[test]
fn every_captured_series_is_in_redis_value_by_value() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut values = 0;
    for name in CAPTURES {
        let host = name.split('.').next().unwrap();
        let packets = packets(name);
        let zone = packets[0]["zone"].as_str().unwrap();
        let endpoint = format!("tcp://127.0.0.1:{}", free_port());
        let collector = Collector::run(&["--connect", &endpoint, "--redis", &server.url(), "--keep", "31d"]);
        let generator = generator(name, host, &endpoint);
        let ticks = packets.len() as u64;
        wait_until("all frames to be in Redis", || zone_number(&mut redis, host, zone, "frames") == ticks);
        generator.join().unwrap();
        assert_eq!(collector.end(), 0);

        let equal = compare(&packets, &mut redis, host);
        assert!(equal > packets.len() * 30, "{name}: {equal} values");
        assert_eq!(zone_number(&mut redis, host, zone, "missing"), 0);
        let last = packets.last().unwrap();
        let rss: u64 = ask(&mut redis, &["HGET", &format!("zonescope:{{{host}/{zone}}}:latest:memory"), "rss"]);
        assert_eq!(last["mem"]["rss"].as_u64(), Some(rss));
        values += equal;
    }
    println!("{values} values are equal");
}
