//! Others' programs against ours: a stock pyzmq subscriber with classes generated from frame.proto.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

use std::time::Duration;

use zonescope_tests::{Process, free_endpoint, python, root};

fn series(name: &str) -> String {
    let path = root().join("generator/fixtures/series").join(name);
    format!("recorded:{}", path.display())
}

#[test]
fn a_stock_pyzmq_subscriber_takes_one_zone_exactly_and_decodes_it() {
    let Some(mut python) = python("a stock pyzmq subscriber") else { return };
    let endpoint = free_endpoint();
    let source = series("zoneB-20130813T1645.packets.jsonl.zst");
    // 21 zones: the original, and copies whose names begin with its own.
    let mut generator = Process::start(
        "zonescope-generator",
        &["run", "--bind", &endpoint, "--source", &source, "--zones", "21", "--speed", "10", "--loop"],
    );
    generator.wait_for("publishing", Duration::from_secs(10));
    let output = python
        .arg(root().join("tests/python/subscribe.py"))
        .args([root().join("proto").to_str().unwrap(), &endpoint, "6b703721-b877-4f1d-8511-a41b244647c7", "20"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("20 frames of 1 zone, in sequence"), "{said}");
    assert_eq!(generator.end(), 0);
}
