//! A collector that is killed, stopped or told to read its configuration again misses nothing that the generator still has;
//! what it does miss is on record; and its completeness says so. Five minutes at a second a tick are thirty seconds at a
//! tenth.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use zonescope_tests::{Disk, Process, free_endpoint, query, run, wait_until};

const LONG: Duration = Duration::from_secs(120);
const COLLECTOR: &str = "zonescope-collector-columnar";

/// A generator with ten ticks a second, and a place for a collector.
struct Host {
    endpoint: String,
    directory: tempfile::TempDir,
    generator: Process,
}

impl Host {
    fn start(ring: &str) -> Self {
        let (endpoint, directory) = (free_endpoint(), tempfile::tempdir().unwrap());
        let config = directory.path().join("generator.toml");
        let text = format!(
            "bind = {endpoint:?}\ninterval_ms = 100\nsource = \"linux\"\n[dtrace]\nenabled = false\n[ring]\n{ring}\n"
        );
        std::fs::write(&config, text).unwrap();
        let generator = Process::start("zonescope-generator", &["run", "--config", config.to_str().unwrap()]);
        Host { endpoint, directory, generator }
    }

    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    fn collector(&self) -> Process {
        let mut collector =
            Process::start(COLLECTOR, &["run", "--connect", &self.endpoint, "--root", self.data().to_str().unwrap()]);
        collector.wait_for("receiving", LONG);
        collector
    }

    /// The number of the host's newest frame that is stored.
    fn newest(&self) -> u64 {
        let row = query(&self.data(), "select coalesce(max(sequence), 0) as n from frames where zone = ''").remove(0);
        row["n"].as_u64().unwrap()
    }

    /// Waits until so many more ticks are stored.
    fn wait_for_ticks(&self, more: u64) {
        let target = self.newest() + more;
        wait_until(&format!("tick {target}"), LONG, || self.newest() >= target);
    }

    /// Ends both in order.
    fn end(self, collector: Process) -> tempfile::TempDir {
        assert_eq!(self.generator.end(), 0);
        assert_eq!(collector.end(), 0);
        self.directory
    }
}

fn kill(process: Process) {
    process.signal(Signal::SIGKILL);
    process.ended(LONG);
}

/// Each number of each topic is a frame once, or in a gap once. Gives how many frames there are, were asked for, and are
/// missing.
fn account(data: &Path) -> (u64, u64, u64) {
    let sql = "select zone, epoch, min(first) as first, max(last) as last, sum(n) as n, sum(gone) as gone, \
               sum(again) as again from ( \
                 select zone, epoch, sequence as first, sequence as last, cast(1 as bigint) as n, cast(0 as bigint) as gone, \
                        cast(recovered as bigint) as again from frames \
                 union all select zone, epoch, first, last, cast(count as bigint), cast(count as bigint), 0 \
                           from gaps where last is not null) \
               group by zone, epoch";
    let (mut frames, mut recovered, mut missing) = (0, 0, 0);
    for row in query(data, sql) {
        let number = |name: &str| row[name].as_u64().unwrap();
        assert_eq!(number("n"), number("last") - number("first") + 1, "{row}");
        frames += number("n") - number("gone");
        missing += number("gone");
        recovered += number("again");
    }
    let distinct = &query(data, "select count(*) as n from (select distinct zone, epoch, sequence from frames)")[0];
    assert_eq!(distinct["n"].as_u64(), Some(frames), "none is twice");
    (frames, recovered, missing)
}

/// What `query --completeness` says of all there is, as JSON.
fn completeness(data: &Path) -> Value {
    let data = data.to_str().unwrap();
    let sql = "select count(*) from frames";
    let output = run(COLLECTOR, &["query", sql, "--completeness", "--format", "json", "--root", data]);
    serde_json::from_slice(&output.stderr).unwrap()
}

#[test]
fn a_collector_that_was_away_for_300_ticks_catches_up_to_100_percent() {
    let host = Host::start("");
    let collector = host.collector();
    host.wait_for_ticks(20);
    kill(collector);
    let stopped_at = host.newest();
    sleep(Duration::from_secs(30));
    // Killed in the middle of catching up, too.
    for ms in [100, 300, 500, 700] {
        let collector = host.collector();
        sleep(Duration::from_millis(ms));
        kill(collector);
    }
    let collector = host.collector();
    wait_until("the collector to catch up", LONG, || host.newest() >= stopped_at + 300);
    host.wait_for_ticks(20);
    let directory = host.end(collector);

    let data = directory.path().join("data");
    let (frames, recovered, missing) = account(&data);
    assert_eq!(missing, 0);
    assert!(recovered >= 300, "{recovered} of {frames} were asked for");
    let said = completeness(&data);
    assert_eq!((said["expected"].as_u64(), said["received"].as_u64()), (Some(frames), Some(frames)), "{said}");
    assert_eq!((said["recovered"].as_u64(), said["missing"].as_u64()), (Some(recovered), Some(0)), "{said}");
}

#[test]
fn what_the_generator_no_longer_had_is_on_record() {
    let host = Host::start("age_s = 2");
    let collector = host.collector();
    host.wait_for_ticks(20);
    collector.signal(Signal::SIGTERM);
    assert_eq!(collector.ended(LONG), 0);
    sleep(Duration::from_secs(8));
    let collector = host.collector();
    wait_until("a gap to be on record", LONG, || {
        query(&host.data(), "select count(*) as n from gaps where reason = 'evicted'")[0]["n"].as_u64() > Some(0)
    });
    host.wait_for_ticks(20);
    let directory = host.end(collector);

    let data = directory.path().join("data");
    let (frames, _, missing) = account(&data);
    assert!(missing >= 30, "{missing} of {frames}");
    let said = completeness(&data);
    assert_eq!((said["received"].as_u64(), said["missing"].as_u64()), (Some(frames), Some(missing)), "{said}");
    assert_eq!(said["incomplete"][0]["reasons"][0], "evicted", "{said}");
}

#[test]
fn a_configuration_that_is_read_again_costs_no_frame() {
    let host = Host::start("");
    let collector = host.collector();
    for _ in 0..5 {
        host.wait_for_ticks(3);
        collector.signal(Signal::SIGHUP);
    }
    host.wait_for_ticks(20);
    assert_eq!(collector.said().matches("the configuration was read again").count(), 5);
    let directory = host.end(collector);
    let (frames, _, missing) = account(&directory.path().join("data"));
    assert!(frames > 35);
    assert_eq!(missing, 0);
}

/// A service that ends soon after each start is given up by its manager; so it waits.
#[test]
fn a_collector_that_starts_on_a_full_disk_waits_for_room() {
    let Some(disk) = Disk::mount(64, "a collector that starts on a full disk") else { return };
    let host = Host::start("");
    let root = disk.path().join("data");
    std::fs::create_dir(&root).unwrap();
    disk.fill();
    let mut collector =
        Process::start(COLLECTOR, &["run", "--connect", &host.endpoint, "--root", root.to_str().unwrap()]);
    collector.wait_for("make room", LONG);
    disk.empty();
    collector.wait_for("receiving", LONG);
    wait_until("a frame", LONG, || query(&root, "select count(*) as n from frames")[0]["n"] != 0);
    assert_eq!(collector.end(), 0);

    disk.fill();
    let mut collector =
        Process::start(COLLECTOR, &["run", "--connect", &host.endpoint, "--root", root.to_str().unwrap()]);
    collector.wait_for("make room", LONG);
    assert_eq!(collector.end(), 0, "it is told to end while it waits");
    assert_eq!(host.generator.end(), 0);
}
