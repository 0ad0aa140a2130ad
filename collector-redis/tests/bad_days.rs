//! Redis is absent, killed, paused, full, read-only; users vanish, clocks go back, names are strange. Frames are in the store once all
//! the same, or on record as missing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use support::{
    Collector, Feed, Redis, START_MS, ask, counted, counting, entries, number, text, wait_until, zone_named,
    zone_number,
};
use zonescope_proto::v1;

/// Waits until the zone's history is 1, 2, 3, ... `last`, each once.
fn wait_for_all(redis: &mut redis::Connection, zone: &str, last: u64) {
    wait_until("the last frame", || counted(redis, "h", zone).last() == Some(&last));
    assert_eq!(counted(redis, "h", zone), (1..=last).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(zone_number(redis, "h", zone, "frames"), last);
    assert_eq!(zone_number(redis, "h", zone, "missing"), 0);
}

#[test]
fn redis_may_be_absent_at_the_start_and_may_come_back_empty() {
    let Some(mut server) = Redis::start(&[]) else { return };
    server.kill();
    let mut feed = Feed::new("h");
    let mut collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    (1..=5).for_each(|n| feed.tick(3, n));
    collector.wait_for("cannot be reached");
    server.launch();
    wait_for_all(&mut server.client(), "z001", 5);

    // What Redis had acknowledged a moment ago is gone with it: it is written again.
    server.kill();
    (6..=8).for_each(|n| feed.tick(3, n));
    server.launch();
    wait_for_all(&mut server.client(), "z002", 8);
    // Once when asked where we were, and once for each outage.
    assert_eq!(collector.said().matches("cannot be reached").count(), 3, "{}", collector.said());
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_paused_server_gets_every_frame_once() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let mut collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    feed.tick(20, 1);
    wait_for_all(&mut redis, "z019", 1);

    // Longer than the collector waits: it gives the connection up, and the server reads what was sent on it afterwards.
    server.signal(Signal::SIGSTOP);
    for n in 2..=14 {
        feed.tick(20, n);
        std::thread::sleep(Duration::from_secs(1));
    }
    collector.wait_for("does not answer");
    server.signal(Signal::SIGCONT);
    for zone in ["z000", "z010", "z019"] {
        wait_for_all(&mut redis, zone, 14);
    }

    // Shorter: nothing is noticed.
    std::thread::scope(|scope| {
        let mut sleeper = server.client();
        scope.spawn(move || redis::cmd("DEBUG").arg("SLEEP").arg(3).exec(&mut sleeper));
        (15..=20).for_each(|n| feed.tick(20, n));
    });
    wait_for_all(&mut redis, "z019", 20);
    let link = format!("zonescope:{{h/{}}}:latest:net", "z019");
    let row: String = ask(&mut redis, &["HGET", &link, "net1"]);
    assert_eq!(row, r#"{"link":"net1","rbytes64":20000,"rbytes64/s":1000}"#);
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_full_server_loses_its_oldest_history_and_never_the_latest_state() {
    let Some(server) = Redis::start(&["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    const TICKS: u64 = 1500;
    for n in 1..=TICKS {
        feed.tick(40, n);
    }
    for zone in ["z000", "z039"] {
        wait_until("the latest state", || zone_number(&mut redis, "h", zone, "sequence") == TICKS);
        let latest: u64 = ask(&mut redis, &["HGET", &format!("zonescope:{{h/{zone}}}:latest:cpu"), "nsec_user"]);
        assert_eq!(latest, TICKS * 1_000_000);
        let history = counted(&mut redis, "h", zone);
        assert_eq!(history.last(), Some(&TICKS));
        assert!(history[0] > 1 && history.len() > 10, "{} entries from {}", history.len(), history[0]);
        assert!(history.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no holes");
        assert_eq!(zone_number(&mut redis, "h", zone, "frames"), TICKS);
    }
    assert!(collector.said().contains("short of memory"), "{}", collector.said());
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_ceiling_of_our_own_shortens_history_too() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url(), "--max-memory", "4MiB"]);
    feed.wait_for_collector();
    (1..=1000).for_each(|n| feed.tick(40, n));
    wait_until("the latest state", || zone_number(&mut redis, "h", "z039", "sequence") == 1000);
    wait_until("room", || {
        let info: String = ask(&mut redis, &["INFO", "memory"]);
        let used = info.lines().find_map(|l| l.strip_prefix("used_memory:")).unwrap().parse::<u64>().unwrap();
        used < 4 << 20
    });
    assert_eq!(counted(&mut redis, "h", "z039").last(), Some(&1000));
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_replica_is_recognised_and_waited_for() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let mut collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    feed.tick(2, 1);
    wait_for_all(&mut redis, "z001", 1);
    let _: String = ask(&mut redis, &["REPLICAOF", "127.0.0.1", "1"]);
    (2..=4).for_each(|n| feed.tick(2, n));
    collector.wait_for("takes no writes");
    let _: String = ask(&mut redis, &["REPLICAOF", "NO", "ONE"]);
    wait_for_all(&mut redis, "z001", 4);
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_user_who_is_removed_and_comes_back_loses_nothing() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    // The rights that docs/REDIS.md names, and no others.
    let documentation = include_str!("../../docs/REDIS.md");
    let rights = documentation.split_once("on >PASSWORD ").unwrap().1.split_once("```").unwrap().0;
    let mut create = vec!["ACL", "SETUSER", "me", "on", ">hunter2"];
    create.extend(rights.split_whitespace().filter(|right| *right != "\\"));
    let _: String = ask(&mut redis, &create);
    let mut feed = Feed::new("h");
    let config = server.directory.path().join("collector.toml");
    std::fs::write(&config, "username = \"me\"\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--connect", &feed.endpoint(), "--redis", &server.url()];
    let mut collector = Collector::run_with(&arguments, &[("ZONESCOPE_REDIS_PASSWORD", "hunter2")]);
    feed.wait_for_collector();
    feed.tick(2, 1);
    wait_for_all(&mut redis, "z001", 1);
    let _: u64 = ask(&mut redis, &["ACL", "DELUSER", "me"]);
    (2..=4).for_each(|n| feed.tick(2, n));
    collector.wait_for("refuses our user or password");
    let _: String = ask(&mut redis, &create);
    wait_for_all(&mut redis, "z001", 4);

    // A right that is missing is named.
    let _: String = ask(&mut redis, &["ACL", "SETUSER", "me", "-xadd"]);
    feed.tick(2, 5);
    collector.wait_for("does not let our user do what is needed");
    assert!(collector.said().contains("xadd"), "{}", collector.said());
    let _: String = ask(&mut redis, &["ACL", "SETUSER", "me", "+xadd"]);
    wait_for_all(&mut redis, "z001", 5);
    assert!(!collector.said().contains("hunter2"));
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_full_backlog_drops_the_oldest_and_puts_them_on_record() {
    let Some(mut server) = Redis::start(&[]) else { return };
    let mut feed = Feed::new("h");
    let mut collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url(), "--backlog", "4MiB"]);
    feed.wait_for_collector();
    feed.tick(50, 1);
    wait_for_all(&mut server.client(), "z049", 1);
    // Long enough that what was acknowledged is no longer kept.
    std::thread::sleep(Duration::from_secs(13));
    server.signal(Signal::SIGSTOP);
    const TICKS: u64 = 1000;
    (2..=TICKS).for_each(|n| feed.tick(50, n));
    collector.wait_for("does not answer");
    collector.wait_for("the backlog is full");
    server.signal(Signal::SIGCONT);
    let mut redis = server.client();
    wait_until("the last frame", || counted(&mut redis, "h", "z049").last() == Some(&TICKS));
    let history = counted(&mut redis, "h", "z049");
    let (frames, missing) = (history.len() as u64, zone_number(&mut redis, "h", "z049", "missing"));
    assert!(missing > 100 && frames + missing == TICKS, "{frames} frames and {missing} missing of {TICKS}");
    assert!(history.windows(2).all(|pair| pair[0] < pair[1]), "each once");
    let gaps = entries(&mut redis, "zonescope:{h/z049}:gaps");
    assert_eq!(gaps.iter().map(|(_, gap)| number(gap, "missing")).sum::<u64>(), missing);
    let lost = gaps.iter().flat_map(|(_, gap)| number(gap, "from")..=number(gap, "to"));
    assert!(lost.clone().all(|n| !history.contains(&n)), "a gap names what is not there");
    assert_eq!(text(&gaps[0].1, "reason"), Some("backlog_full"));
    let completeness: f64 = ask(&mut redis, &["HGET", "zonescope:{h}:host", "completeness"]);
    assert!(completeness < 0.9, "{completeness}");
    server.kill();
    drop(collector);
}

#[test]
fn everything_expires() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url(), "--keep", "2s"]);
    feed.wait_for_collector();
    (1..=3).for_each(|n| feed.tick(3, n));
    wait_until("the last frame", || counted(&mut redis, "h", "z002").last() == Some(&3));
    for key in ask::<Vec<String>>(&mut redis, &["KEYS", "*"]) {
        assert!(ask::<i64>(&mut redis, &["TTL", &key]) >= 0, "{key} lives for ever");
    }
    wait_until("all to be gone", || {
        let keys = ask::<Vec<String>>(&mut redis, &["KEYS", "*"]);
        keys.iter().all(|key| key.starts_with("zonescope:collector:"))
    });
    assert_eq!(collector.end(), 0);
}

#[test]
fn names_of_any_kind_stay_names() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h{}\"*");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    let names = ["}{", "a:b*c?[d]", "x FLUSHALL", "\"quoted'\\", "Zürich ☃", "%2F", "{z}", "{}", "$5"];
    for name in names {
        let mut frame = counting(1);
        frame.net[0].link = name.to_owned();
        frame.custom.push(v1::Custom { table: name.to_owned(), labels: Vec::new(), values: vec![measure(name)] });
        feed.publish(zone_named(name), frame, START_MS);
    }
    feed.announce(START_MS);
    wait_until("all zones", || ask::<usize>(&mut redis, &["ZCARD", "zonescope:zones"]) == names.len());
    let tags: Vec<String> = ask(&mut redis, &["ZRANGE", "zonescope:zones", "0", "-1"]);
    wait_until("the last zone", || ask::<bool>(&mut redis, &["EXISTS", &format!("zonescope:{{{}}}:zone", tags[0])]));
    let mut found = Vec::new();
    for tag in &tags {
        let name: String = ask(&mut redis, &["HGET", &format!("zonescope:{{{tag}}}:zone"), "zone"]);
        let row: String =
            ask(&mut redis, &["HGET", &format!("zonescope:{{{tag}}}:latest:net"), &name.replace('%', "%25")]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&row).unwrap()["link"], name.as_str());
        let tables: Vec<String> = ask(&mut redis, &["SMEMBERS", &format!("zonescope:{{{tag}}}:tables")]);
        assert_eq!(tables.len(), 3, "cpu, net and the user's own: {tables:?}");
        found.push(name);
    }
    found.sort();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(collector.end(), 0);
}

fn measure(name: &str) -> v1::Measure {
    v1::Measure { name: name.to_owned(), value: Some(v1::measure::Value::Uint(1)), ..v1::Measure::default() }
}

#[test]
fn the_latest_state_holds_what_the_last_tick_held_and_no_more() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let mut collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    feed.tick(1, 1);
    wait_for_all(&mut redis, "z000", 1);
    let rows = |redis: &mut redis::Connection| ask::<Vec<String>>(redis, &["HKEYS", "zonescope:{h/z000}:latest:net"]);
    assert_eq!(rows(&mut redis), ["net0", "net1"]);

    let mut less = counting(2);
    less.net.remove(0);
    less.cpu.as_mut().unwrap().ncpus = None;
    feed.publish(zone_named("z000"), less, START_MS + 2000);
    feed.announce(START_MS + 2000);
    wait_until("the second frame", || zone_number(&mut redis, "h", "z000", "frames") == 2);
    assert_eq!(rows(&mut redis), ["net1"], "a link that is gone");
    let cpu: Vec<String> = ask(&mut redis, &["HKEYS", "zonescope:{h/z000}:latest:cpu"]);
    assert_eq!(cpu, ["nsec_user", "nsec_user/s"], "a value that is not known any more");

    // Started anew, the collector does not know what it had written.
    assert_eq!(collector.end(), 0);
    collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    collector.wait_for("zones_known=1");
    feed.publish(zone_named("z000"), v1::Frame { net: counting(3).net, ..v1::Frame::default() }, START_MS + 3000);
    feed.announce(START_MS + 3000);
    wait_until("the third frame", || zone_number(&mut redis, "h", "z000", "frames") == 3);
    assert!(!ask::<bool>(&mut redis, &["EXISTS", "zonescope:{h/z000}:latest:cpu"]), "a family that is gone");
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_clock_set_back_keeps_every_frame_and_a_clock_far_ahead_begins_anew() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.client();
    let mut feed = Feed::new("h");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url(), "--keep", "1h"]);
    feed.wait_for_collector();
    let mut send = |n: u64, ms: u64| {
        feed.publish(zone_named("z"), counting(n), ms);
        feed.announce(ms);
    };
    send(1, START_MS);
    send(2, START_MS - 60_000);
    send(3, START_MS - 59_000);
    send(4, START_MS + 1000);
    wait_until("four frames", || zone_number(&mut redis, "h", "z", "frames") == 4);
    assert_eq!(counted(&mut redis, "h", "z"), [1, 2, 3, 4]);
    let cpu = entries(&mut redis, "zonescope:{h/z}:history:cpu");
    assert_eq!(text(&cpu[0].1, "time"), None);
    assert_eq!(number(&cpu[1].1, "time"), START_MS - 60_000, "its own time stands in it");
    assert!(cpu[1].0.starts_with(&START_MS.to_string()), "and its id goes on");

    send(5, START_MS + 100 * 3_600_000);
    send(6, START_MS + 2000);
    wait_until("six frames", || zone_number(&mut redis, "h", "z", "frames") == 6);
    assert_eq!(counted(&mut redis, "h", "z"), [6], "what lies in a future that is no more is gone");
    assert_eq!(collector.end(), 0);
}

#[test]
fn each_tick_is_announced() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut listener = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    listener.set_read_timeout(Some(support::LONG)).unwrap();
    let mut channel = listener.as_pubsub();
    channel.psubscribe("zonescope:{*}:tick").unwrap();
    let mut feed = Feed::new("h");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    (1..=3).for_each(|n| feed.tick(1, n));
    for n in 1..=3 {
        let message = channel.get_message().unwrap();
        assert_eq!(message.get_channel_name(), "zonescope:{h/z000}:tick");
        let tick: serde_json::Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
        assert_eq!((&tick["zone"], tick["sequence"].as_u64()), (&"z000".into(), Some(n)));
        assert_eq!(tick["time"], START_MS + n * 1000);
    }
    assert_eq!(collector.end(), 0);
}
