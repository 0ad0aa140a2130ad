//! `doctor` of the real program: a real Redis, a generator that publishes, and ports where nobody is.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and starts processes")]

mod support;

use std::process::Command;

use support::{Feed, Redis, free_port, program};

/// Exit code, and a line a check.
fn doctor(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program()).arg("doctor").args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Whether a line begins with this verdict and check, and holds `text`.
fn says(out: &str, verdict: &str, check: &str, text: &str) -> bool {
    out.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(verdict) && words.next() == Some(check) && line.contains(text)
    })
}

#[test]
fn a_generator_and_a_redis_that_are_there() {
    let Some(redis) = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]) else { return };
    let mut feed = Feed::new("h1");
    let (endpoint, url) = (feed.endpoint(), redis.url());
    let asked = std::thread::spawn(move || doctor(&["--connect", &endpoint, "--redis", &url]));
    feed.wait_for_collector();
    // Times of years ago.
    feed.tick(2, 1);
    let (code, out) = asked.join().unwrap();
    assert_eq!(code, Some(0), "{out}");
    assert!(says(&out, "warn", "peer", "host h1 (h1), format 1") && out.contains("2 zones"), "{out}");
    assert!(out.contains("one of the two clocks is wrong"), "{out}");
    assert!(says(&out, "warn", "recovery", "keeps nothing"), "{out}");
    assert!(says(&out, "ok", "redis", "version"), "{out}");
    assert!(says(&out, "warn", "memory", "allkeys-lru"), "{out}");
    assert!(says(&out, "ok", "keys", "0 zones in zonescope:zones"), "{out}");
}

#[test]
fn what_is_not_there_fails_with_code_1_and_says_what_to_do() {
    let (publisher, redis) = (free_port(), free_port());
    let (code, out) = doctor(&[
        "--connect",
        &format!("tcp://127.0.0.1:{publisher}"),
        "--redis",
        &format!("redis://127.0.0.1:{redis}"),
    ]);
    assert_eq!(code, Some(1), "{out}");
    assert!(says(&out, "FAIL", "peer", "nobody answers") && says(&out, "FAIL", "redis", "cannot be reached"), "{out}");
    assert_eq!(out.matches("-> ").count(), 2, "{out}");
}

#[test]
fn a_replica_takes_no_writes() {
    let Some(master) = Redis::start(&[]) else { return };
    let Some(replica) = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]) else { return };
    let (code, out) = doctor(&["--connect", "tcp://127.0.0.1:1", "--redis", &replica.url()]);
    assert!(code == Some(1) && says(&out, "FAIL", "redis", "a replica"), "{out}");
}
