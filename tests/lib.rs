//! What tests of whole programs need: our binaries, free ports, processes that never outlive their test, and a loud word
//! for what had to be skipped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and start processes"
)]

pub mod cgroup;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Our binary of that name, beside the test's own.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --workspace`, or `cargo test --workspace`",
        path.display()
    );
    path
}

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A port of loopback that nobody has now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An endpoint that nobody has now.
pub fn free_endpoint() -> String {
    format!("tcp://127.0.0.1:{}", free_port())
}

/// Says that something was not tested, and why; and tells test.sh, which lists it at its end.
pub fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
    if let Some(path) = std::env::var_os("ZONESCOPE_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{what}: {why}").unwrap();
    }
}

/// A process that ends with its test.
pub struct Process {
    child: Child,
    name: String,
    /// What it has written to stderr.
    pub log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Process {
    /// Starts one of our binaries. Its stderr goes to a file.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("stderr");
        let child = Command::new(binary(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process { child, name: name.to_owned(), log, _directory: directory }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr.
    pub fn said(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits until it has said `text`.
    pub fn wait_for(&mut self, text: &str, within: Duration) {
        wait_until(&format!("{} to say {text:?}", self.name), within, || {
            assert!(
                self.child.try_wait().unwrap().is_none() || self.said().contains(text),
                "{} ended:\n{}",
                self.name,
                self.said()
            );
            self.said().contains(text)
        });
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, and gives its exit code.
    pub fn ended(mut self, within: Duration) -> i32 {
        let mut code = None;
        wait_until(&format!("{} to end", self.name), within, || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code().unwrap_or(-1)
    }

    /// Asks it to end (SIGTERM), waits, and gives its exit code.
    pub fn end(self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.ended(Duration::from_secs(60))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small disk of its own, unmounted when dropped.
pub struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where nothing may be mounted; says so.
    pub fn mount(mib: u64, what: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "none"]).arg(directory.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            skipped(what, "no tmpfs can be mounted here");
        }
        mounted.then_some(Disk(directory))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("ballast")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    /// Gives it back.
    pub fn empty(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Waits until `done`, or fails.
pub fn wait_until(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs one of our binaries to its end.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(binary(name)).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a query, and gives its rows as JSON.
pub fn query(data: &Path, sql: &str) -> Vec<serde_json::Value> {
    let output =
        run("zonescope-collector-columnar", &["query", sql, "--root", data.to_str().unwrap(), "--format", "json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A python that has the packages the tests use: `ZONESCOPE_PYTHON`, which test.sh sets. `None` where there is none: says so.
pub fn python(what: &str) -> Option<Command> {
    match std::env::var_os("ZONESCOPE_PYTHON") {
        Some(python) => Some(Command::new(python)),
        None => {
            skipped(
                what,
                "ZONESCOPE_PYTHON names no python with pyzmq, grpcio-tools, duckdb and pyarrow; test.sh makes one",
            );
            None
        }
    }
}
