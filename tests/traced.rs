//! Real DTrace, from a known load to an answer in SQL: what its programs count and measure arrives through frames, ZeroMQ and
//! Parquet, in the right zone, and a percentile is right to one bucket.
//!
//! Needs root, a dtrace (`ZONESCOPE_DTRACE`, which test.sh sets) and cgroups that may be written. Where they are missing
//! the test says `SKIPPED` and passes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and starts processes")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use zonescope_tests::cgroup::Group;
use zonescope_tests::{Process, free_endpoint, query, skipped, wait_until};

/// 1,000 writes of a byte; 40 reads of which every fourth waits 30 ms and the others 2 ms; 20 children; half a second of
/// CPU; 16 writes that reach the disk. Says how long each read took, in ns; ends with its stdin, so that its zone is known
/// for as long as anybody asks.
const LOAD: &str = r#"
import os, sys, tempfile, threading, time
file = tempfile.TemporaryFile(dir=os.getcwd())
for i in range(1000): os.pwrite(file.fileno(), b'x', i)
r, w = os.pipe()
go = threading.Semaphore(0)
def writer():
    for i in range(40):
        go.acquire()
        time.sleep(0.03 if i % 4 == 0 else 0.002)
        os.write(w, b'y')
threading.Thread(target=writer).start()
took = []
for i in range(40):
    go.release()
    begin = time.perf_counter_ns()
    os.readv(r, [bytearray(1)])
    took.append(time.perf_counter_ns() - begin)
for i in range(20):
    if os.fork() == 0: os._exit(0)
    os.wait()
end = time.process_time() + 0.5
while time.process_time() < end: pass
for i in range(16):
    os.pwrite(file.fileno(), b'z' * 65536, i * 65536)
    os.fsync(file.fileno())
print(*took, flush=True)
sys.stdin.read()
"#;

/// As docs/DTRACE.md teaches it.
const PERCENTILE: &str = "with bucket as (select lower, upper, sum(count) as n from distribution \
       where zone = '{zone}' and name = 'syscall_latency' and labels = 'call=readv' group by lower, upper), \
     ranked as (select lower, upper, sum(n) over (order by lower) as up_to, sum(n) over () as total from bucket) \
     select lower, upper from ranked where up_to >= {share} * total order by lower limit 1";

#[test]
fn sql_knows_how_long_a_known_load_waited_and_who_it_was() {
    let what = "DTrace from a known load to SQL";
    let Some(dtrace) = std::env::var_os("ZONESCOPE_DTRACE") else {
        return skipped(what, "ZONESCOPE_DTRACE names no dtrace; test.sh installs one");
    };
    if !nix::unistd::geteuid().is_root() {
        return skipped(what, "not root");
    }
    let Some(group) = Group::make() else { return skipped(what, "no cgroup hierarchy that may be written") };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let config = directory.path().join("generator.toml");
    let endpoint = free_endpoint();
    let programs = ["oncpu", "proc", "disk", "syscall"];
    std::fs::write(
        &config,
        format!("bind = {endpoint:?}\nrecovery_bind = \"off\"\n[dtrace]\npath = {dtrace:?}\nprograms = {programs:?}\n"),
    )
    .unwrap();

    let root = data.to_str().unwrap();
    let mut collector =
        Process::start("zonescope-collector-columnar", &["run", "--connect", &endpoint, "--root", root]);
    let mut generator = Process::start("zonescope-generator", &["run", "--config", config.to_str().unwrap()]);
    generator.wait_for("publishing", Duration::from_secs(20));
    collector.wait_for("connected", Duration::from_secs(20));
    let running = "select distinct program from dtrace where state = 'running'";
    wait_until("all programs to run", Duration::from_secs(120), || query(&data, running).len() == programs.len());

    // Itself, since python3 may be a script that starts it.
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap().stdout;
    let python = String::from_utf8(python).unwrap();
    let script = format!("{}exec {} -c \"$0\"", group.enter(), python.trim());
    let mut load = Command::new("sh")
        .args(["-c", &script, LOAD])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = load.id();
    let mut took = String::new();
    BufReader::new(load.stdout.take().unwrap()).read_line(&mut took).unwrap();
    let mut took: Vec<u64> = took.split_whitespace().map(|ns| ns.parse().unwrap()).collect();
    took.sort_unstable();
    assert_eq!(took.len(), 40);
    // What the load did last is printed by dtrace within a second, and published at the tick after.
    std::thread::sleep(Duration::from_secs(3));
    drop(load.stdin.take());
    load.wait().unwrap();
    assert_eq!((generator.end(), collector.end()), (0, 0));

    let zone = group.name();
    let count = |sql: &str| number(&data, &sql.replace("{zone}", zone));
    let writes = "select sum(count) as n from distribution where zone = '{zone}' and name = 'syscall_latency' \
        and labels = 'call=pwrite64'";
    assert_eq!(count(writes), 1016);
    // The thread counts too: DTrace on Linux fires proc:::create for both.
    assert_eq!(count("select sum(count) as n from event where zone = '{zone}' and event = 'proc_create'"), 21);
    // Most block I/O is issued by kernel threads: it counts for the host.
    let synced = count("select sum(count) as n from event where zone = 'global' and event = 'disk_write'");
    assert!(synced >= 16, "{synced} writes to disks of at least 16");
    let samples = format!(
        "select sum(samples) as n from oncpu_process where zone = '{zone}' and pid = {pid} and execname like 'python3%'"
    );
    let samples = number(&data, &samples);
    assert!((38..=80).contains(&samples), "{samples} samples of half a second, and some work besides, at 97 Hz");

    for share in [0.5, 0.9] {
        let sql = PERCENTILE.replace("{zone}", zone).replace("{share}", &share.to_string());
        let bucket = query(&data, &sql);
        let [lower, upper] = ["lower", "upper"].map(|bound| bucket[0][bound].as_u64().unwrap());
        // What the process saw is the call itself and the way there and back.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "40 numbers")]
        let truth = took[(share * took.len() as f64) as usize - 1];
        let width = upper - lower;
        assert!(
            (lower.saturating_sub(width)..upper + width).contains(&truth),
            "percentile {share}: {lower} to {upper} ns in SQL, {truth} ns by the process's own clock"
        );
    }
}

/// The one number of a query's one row.
fn number(data: &Path, sql: &str) -> u64 {
    query(data, sql)[0]["n"].as_u64().unwrap_or_default()
}
