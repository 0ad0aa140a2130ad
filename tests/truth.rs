//! The whole pipeline against the truth: a process in a cgroup and network of its own burns a known amount of CPU, writes a
//! known number of bytes and sends a known number of packets; SQL over what was stored must say the same within 2 %.
//!
//! Needs root, and cgroups that may be written. Where they are missing the test says `SKIPPED` and passes.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts processes"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zonescope_tests::cgroup::Group;
use zonescope_tests::{Process, free_endpoint, query, skipped};

/// Burnt by one task; what the others take comes on top.
const BURNT_NS: u64 = 3_000_000_000;
const WRITTEN: u64 = 32 << 20;
const SENT: u64 = 10_000;
const TOLERANCE: f64 = 0.02;

/// Tells this very program that it is the process to be watched.
const WORKER: &str = "ZONESCOPE_TEST_WORKER";

/// Not a test: the process that is watched. It does one task for each line that it reads.
#[test]
#[ignore = "run by the other test"]
fn worker() {
    let Ok(file) = std::env::var(WORKER) else { return };
    println!("\nready");
    for task in std::io::stdin().lines() {
        match task.unwrap().as_str() {
            "cpu" => println!("\n{}", cpu_ns()),
            "burn" => burn(),
            "write" => assert!(
                Command::new("dd")
                    .args(["if=/dev/zero", &format!("of={file}"), "bs=1M", "count=32", "oflag=direct", "status=none"])
                    .status()
                    .unwrap()
                    .success()
            ),
            _ => send(),
        }
        println!("\ndone");
    }
}

fn burn() {
    let (start, mut x) = (thread_cpu_ns(), 1u64);
    while thread_cpu_ns() - start < BURNT_NS {
        for _ in 0..10_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// CPU time of this thread, ns.
fn thread_cpu_ns() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unwrap()
}

/// CPU time of this process and of the children that it has waited for, ns.
fn cpu_ns() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let used = |who| {
        let usage = getrusage(who).unwrap();
        [usage.user_time(), usage.system_time()]
            .map(|time| u64::try_from(nix::sys::time::TimeValLike::num_microseconds(&time)).unwrap())
    };
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().flat_map(used).sum::<u64>() * 1000
}

fn send() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    for _ in 0..SENT {
        socket.send_to(&[7; 100], to).unwrap();
        socket.recv(&mut [0; 200]).unwrap();
    }
}

struct Worker {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Worker {
    /// Starts the worker in the group, with a network of its own.
    fn start(group: &Group, file: &Path) -> Worker {
        let enter = group.enter();
        let script = format!("{enter}exec unshare -n sh -c 'ip link set lo up; exec \"$@\"' sh \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--ignored", "--nocapture"])
            .env(WORKER, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut worker = Worker { child, answers };
        worker.wait_for("ready");
        worker
    }

    fn wait_for(&mut self, answer: &str) {
        let mut line = String::new();
        while line.trim_end() != answer {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the worker ended before it was {answer}");
        }
    }

    /// CPU time that it used so far, ns.
    fn cpu_ns(&mut self) -> u64 {
        writeln!(self.child.stdin.as_mut().unwrap(), "cpu").unwrap();
        let (mut line, mut number) = (String::new(), None);
        while line.trim_end() != "done" {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the worker ended");
            number = line.trim_end().parse().ok().or(number);
        }
        number.unwrap()
    }

    fn work(&mut self, task: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{task}").unwrap();
        self.wait_for("done");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn have(program: &str) -> bool {
    ["/bin", "/sbin", "/usr/bin", "/usr/sbin"].iter().any(|d| Path::new(d).join(program).exists())
}

#[track_caller]
fn close(what: &str, found: f64, truth: u64) {
    let off = (found - truth as f64).abs() / truth as f64;
    println!("{what}: found {found}, truth {truth}, off by {:.3} %", off * 100.0);
    assert!(off <= TOLERANCE, "{what}: found {found}, truth {truth}");
}

/// The one number of a query's one row.
fn number(data: &Path, sql: &str) -> f64 {
    query(data, sql)[0]["n"].as_f64().unwrap()
}

/// v1 counts a disk's bytes only for groups that have a limit on it: set one out of reach. False where nothing will be counted.
fn count_disk(group: &Group, file: &Path) -> bool {
    if group.has("io.stat").is_some() {
        return true;
    }
    let Some(throttle) = group.has("blkio.throttle.write_bps_device") else { return false };
    let device = fs::metadata(file.parent().unwrap()).unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let Ok(node) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else { return false };
    let disk = if node.join("partition").exists() { node.parent().unwrap().to_owned() } else { node };
    let Ok(number) = fs::read_to_string(disk.join("dev")) else { return false };
    fs::write(throttle, format!("{} 1099511627776\n", number.trim())).is_ok()
}

#[test]
fn sql_says_what_a_process_really_did() {
    if !nix::unistd::geteuid().is_root() || !have("unshare") || !have("ip") {
        return skipped("the pipeline against the truth", "not root, or no unshare, or no ip");
    }
    let Some(group) = Group::make() else {
        return skipped("the pipeline against the truth", "no cgroup hierarchy that may be written");
    };
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (directory.path().join("data"), directory.path().join("written"));
    let disk = count_disk(&group, &file);
    let mut worker = Worker::start(&group, &file);

    let endpoint = free_endpoint();
    let root = data.to_str().unwrap();
    let mut collector =
        Process::start("zonescope-collector-columnar", &["run", "--connect", &endpoint, "--root", root]);
    let mut generator = Process::start("zonescope-generator", &["run", "--bind", &endpoint, "--interval-ms", "200"]);
    generator.wait_for("publishing", Duration::from_secs(20));
    collector.wait_for("connected", Duration::from_secs(20));
    std::thread::sleep(Duration::from_secs(2));
    let (start, before) = (Instant::now(), worker.cpu_ns());
    worker.work("burn");
    worker.work("send");
    if disk {
        worker.work("write");
    }
    println!("the work took {:?}", start.elapsed());
    let burnt = worker.cpu_ns() - before;
    assert!(burnt >= BURNT_NS);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((generator.end(), collector.end()), (0, 0));

    let zone = format!("zone = '{}'", group.name());
    close(
        "CPU time of the table cpu",
        number(
            &data,
            &format!("select max(nsec_user + nsec_sys) - min(nsec_user + nsec_sys) as n from cpu where {zone}"),
        ),
        burnt,
    );
    // Utilization is a share of all CPUs: the sum over ticks of 0.2 s.
    close(
        "CPU time of the view use",
        number(
            &data,
            &format!(
                "select sum(u.utilization) * 0.2e9 * max(c.ncpus) as n from use u join cpu c \
                 on u.host = c.host and u.zone = c.zone and u.time = c.time where u.{zone} and u.resource = 'cpu'"
            ),
        ),
        burnt,
    );
    close(
        "packets of the view rates",
        number(
            &data,
            &format!(
                "select sum(rate) * 0.2 as n from rates where {zone} and family = 'net' and statistic = 'opackets64' and key like '%lo%'"
            ),
        ),
        SENT,
    );
    if disk {
        close("bytes written", number(&data, &format!("select max(nwritten) as n from disk where {zone}")), WRITTEN);
    } else {
        skipped("bytes written to disk against the truth", "this kernel counts none for a cgroup");
    }
}
