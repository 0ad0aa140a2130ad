//! What Redis says about what it has: of each minute how many frames came, came when asked for, and never came; and why.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Collector, Feed, Redis, START_MS, ask, counted, entries, number, text, wait_until, zone_number};

/// The minutes that have ended: when they began, frames received, recovered and missing.
fn minutes(redis: &mut redis::Connection, zone: &str) -> Vec<(u64, u64, u64, u64)> {
    let row = |(id, fields): &(String, Vec<(String, String)>)| {
        let [expected, received, recovered, missing] =
            ["expected", "received", "recovered", "missing"].map(|name| number(fields, name));
        assert_eq!(expected, received + missing);
        (id.split_once('-').unwrap().0.parse().unwrap(), received, recovered, missing)
    };
    entries(redis, &format!("zonescope:{{h/{zone}}}:completeness")).iter().map(row).collect()
}

fn wait_for_last(redis: &mut redis::Connection, zone: &str, last: u64) {
    wait_until("the last frame", || counted(redis, "h", zone).last() == Some(&last));
}

/// The first tick of the first whole minute after START_MS; tick `n` is `n` seconds after it.
const SECONDS_TO_A_MINUTE: u64 = 60 - (START_MS / 1000) % 60;

/// A collector hears the ticks from `first` on, is killed before tick `away`, starts again before tick `back`, and has stored the
/// last one, `last`.
fn away(server: &Redis, feed: &mut Feed, zones: usize, [first, away, back, last]: [u64; 4]) -> Collector {
    let (mut redis, endpoint, url) = (server.client(), feed.endpoint(), server.url());
    let start = || Collector::run(&["--connect", &endpoint, "--redis", &url]);
    let newest = format!("z{:03}", zones - 1);
    let collector = start();
    feed.wait_for_collector();
    (first..away).for_each(|n| feed.tick(zones, n));
    wait_for_last(&mut redis, &newest, away - 1);
    collector.kill();
    (away..back).for_each(|n| feed.tick(zones, n));
    let collector = start();
    feed.wait_for_collector();
    (back..=last).for_each(|n| feed.tick(zones, n));
    wait_for_last(&mut redis, &newest, last);
    collector
}

#[test]
fn a_collector_that_was_away_catches_up_and_says_what_it_had_to_ask_for() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    feed.keep();
    let first = SECONDS_TO_A_MINUTE;
    // Five minutes that nobody hears.
    let collector = away(&server, &mut feed, 2, [first, first + 30, first + 330, first + 360]);

    let minute = START_MS + first * 1000;
    let expected = [30, 60, 60, 60, 60, 30].into_iter().enumerate();
    let expected: Vec<_> = expected.map(|(n, recovered)| (minute + n as u64 * 60_000, 60, recovered, 0)).collect();
    assert_eq!(minutes(&mut redis, "z001"), expected);
    assert_eq!(zone_number(&mut redis, "h", "z001", "minute"), minute + 360_000, "the minute that runs");
    assert_eq!(zone_number(&mut redis, "h", "z001", "minute_received"), 1);
    assert_eq!(zone_number(&mut redis, "h", "z001", "recovered"), 300);
    let host = |redis: &mut redis::Connection, field: &str| -> Option<String> {
        ask(redis, &["HGET", "zonescope:{h}:host", field])
    };
    // The host's sums are those of its last frame, which may be handed out before the last of its zones.
    feed.tick(2, first + 361);
    let frames = (362 * 2).to_string();
    wait_until("the next host frame", || host(&mut redis, "frames").as_ref() == Some(&frames));
    assert_eq!(host(&mut redis, "completeness").unwrap(), "1.000000");
    assert_eq!(host(&mut redis, "recovered").unwrap(), "600");
    assert_eq!(collector.end(), 0);
}

#[test]
fn what_nobody_can_give_back_is_missing_in_its_minute_and_on_record_with_the_reason() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    // It keeps nothing.
    let mut feed = Feed::new("h");
    let first = SECONDS_TO_A_MINUTE;
    let collector = away(&server, &mut feed, 1, [first, first + 50, first + 140, first + 180]);

    let minute = START_MS + first * 1000;
    let expected = [(minute, 50, 0, 10), (minute + 60_000, 0, 0, 60), (minute + 120_000, 40, 0, 20)];
    assert_eq!(minutes(&mut redis, "z000"), expected);
    let gaps = entries(&mut redis, "zonescope:{h/z000}:gaps");
    let [(_, gap)] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!(["from", "to", "missing"].map(|name| number(gap, name)), [51, 140, 90]);
    assert_eq!(text(gap, "reason"), Some("no_recovery"));
    let gaps = entries(&mut redis, "zonescope:{h}:gaps");
    let [(_, gap)] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!(number(gap, "missing"), 90, "and so are the host's own frames");
    feed.tick(1, first + 181);
    let completeness = format!("{:.6}", 92.0 / 182.0);
    wait_until("the next host frame", || {
        let said: Option<String> = ask(&mut redis, &["HGET", "zonescope:{h}:host", "completeness"]);
        said.as_ref() == Some(&completeness)
    });
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_generator_that_dies_leaves_a_gap_without_an_end() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    feed.keep();
    let endpoint = feed.endpoint();
    let mut collector = Collector::run(&["--connect", &endpoint, "--redis", &server.url()]);
    feed.wait_for_collector();
    (1..=3).for_each(|n| feed.tick(1, n));
    wait_for_last(&mut redis, "z000", 3);
    drop(feed);
    let mut feed = Feed::at(&endpoint, "h", 1_700_000_100_000_000_000);
    feed.keep();
    feed.wait_for_collector();
    (4..=6).for_each(|n| feed.tick(1, n));
    collector.wait_for("restarted without taking leave");
    wait_for_last(&mut redis, "z000", 6);
    assert_eq!(counted(&mut redis, "h", "z000"), [1, 2, 3, 4, 5, 6]);
    let gaps = entries(&mut redis, "zonescope:{h}:gaps");
    let [(id, gap)] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!((id.as_str(), number(gap, "from"), text(gap, "to")), ("1700000000000-4", 4, None));
    assert_eq!(text(gap, "reason"), Some("restarted"));
    assert_eq!(zone_number(&mut redis, "h", "z000", "missing"), 0, "nothing that is known of");
    assert_eq!(collector.end(), 0);
}
