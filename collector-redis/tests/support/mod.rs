//! What the tests share: real Redis servers on free ports of loopback, our own program, and generators whose frames the test
//! chooses. Everything ends with its test.

#![allow(dead_code, unreachable_pub, reason = "several tests share it, and none uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and start processes"
)]

pub mod captures;
pub mod synthetic;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zonescope_link::clock::SystemClock;
use zonescope_link::transport::Admission;
use zonescope_link::{Identity, Publisher, RecoveryOptions};
use zonescope_proto::v1;

/// Long enough for anything on a busy machine.
pub const LONG: Duration = Duration::from_secs(120);

/// Says that something was not tested, and why.
pub fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
    if let Some(path) = std::env::var_os("ZONESCOPE_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{what}: {why}"));
    }
}

/// A number from the environment: how long or how often a test that can be long runs.
pub fn wanted(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A port of loopback that nobody has now, and whose cluster bus nobody has either.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 50_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// Waits until `done`, or fails.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "waited {LONG:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A Redis server, and its directory.
pub struct Redis {
    child: Option<Child>,
    /// Its TCP port.
    pub port: u16,
    /// Its working directory.
    pub directory: tempfile::TempDir,
    arguments: Vec<String>,
    program: &'static str,
}

impl Redis {
    /// Starts one, empty and without files; `None` where there is no redis-server.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_as("redis-server", free_port(), arguments)
    }

    /// The same for a Sentinel and others.
    pub fn start_as(program: &'static str, port: u16, arguments: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut redis = Redis { child: None, port, directory, arguments, program };
        if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped("collector-redis with a real Redis", &format!("{program} is not installed"));
            return None;
        }
        redis.launch();
        Some(redis)
    }

    /// Starts it again, with what is in its directory.
    pub fn launch(&mut self) {
        let mut command = Command::new(self.program);
        if self.arguments.first().is_none_or(|first| first.starts_with("--")) {
            command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        }
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        command.args(&self.arguments).current_dir(self.directory.path());
        self.child = Some(command.stdin(Stdio::null()).stdout(log).spawn().unwrap());
        let port = self.port;
        wait_until("redis-server to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub fn client(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = None;
        wait_until("redis-server to answer", || {
            connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok();
            connection.as_mut().is_some_and(|c| redis::cmd("PING").query::<String>(c).is_ok())
        });
        connection.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("redis-server {}:\n{log}", self.port);
        }
        self.kill();
    }
}

/// One command, one answer.
pub fn ask<T: redis::FromRedisValue>(connection: &mut impl redis::ConnectionLike, command: &[&str]) -> T {
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]);
    cmd.query(connection).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Our program.
pub struct Collector {
    child: Child,
    directory: tempfile::TempDir,
}

impl Collector {
    /// `zonescope-collector-redis run` with these arguments.
    pub fn run(arguments: &[&str]) -> Self {
        Self::run_with(arguments, &[])
    }

    /// The same with variables of its environment.
    pub fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(program())
            .arg("run")
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Collector { child, directory }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr.
    pub fn said(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(self.directory.path().join("stderr")).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits until it has said `text`.
    pub fn wait_for(&mut self, text: &str) {
        wait_until(&format!("the collector to say {text:?}"), || {
            let (ended, said) = (self.child.try_wait().unwrap().is_some(), self.said());
            assert!(!ended || said.contains(text), "it ended:\n{said}");
            said.contains(text)
        });
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub fn end(mut self) -> i32 {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let mut code = None;
        wait_until("the collector to end", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("collector:\n{}", self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where our program is.
pub fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_zonescope-collector-redis")).to_owned()
}

/// A generator whose frames the test chooses, over a real socket.
pub struct Feed {
    runtime: tokio::runtime::Runtime,
    publisher: Publisher,
}

impl Feed {
    /// One of the host with this id.
    pub fn new(host_id: &str) -> Self {
        Self::at("tcp://127.0.0.1:0", host_id, 1_700_000_000_000_000_000)
    }

    /// The same at an address of its own, started at `epoch`.
    pub fn at(endpoint: &str, host_id: &str, epoch: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let identity = Identity { host_id: host_id.to_owned(), host: host_id.to_owned(), epoch };
        let publisher = runtime.block_on(Publisher::bind(endpoint, Admission::Open, identity)).unwrap();
        Feed { runtime, publisher }
    }

    /// From now on keeps what it publishes, for collectors that missed some of it.
    pub fn keep(&mut self) {
        let (ring, bounds) = (zonescope_link::ring::Limits::default(), zonescope_link::recover::Bounds::default());
        let options = RecoveryOptions { bind: "tcp://127.0.0.1:0".to_owned(), ring, spool: None, bounds };
        self.runtime.block_on(self.publisher.recover(options, Arc::new(SystemClock))).unwrap();
    }

    /// Where it publishes.
    pub fn endpoint(&self) -> String {
        self.publisher.endpoint().to_owned()
    }

    /// Waits for the next collector, and for what it subscribes to.
    pub fn wait_for_collector(&mut self) {
        let publisher = &mut self.publisher;
        self.runtime.block_on(async {
            tokio::time::timeout(LONG, publisher.subscriber()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        });
    }

    /// Publishes a frame of a zone.
    pub fn publish(&mut self, zone: v1::Zone, mut frame: v1::Frame, time_ms: u64) {
        let sent = self.publisher.publish(zone, &mut frame, time_ms * 1_000_000, 1000);
        self.runtime.block_on(sent).unwrap();
    }

    /// The end of a tick.
    pub fn announce(&mut self, time_ms: u64) {
        self.runtime.block_on(self.publisher.announce(time_ms * 1_000_000, 1000)).unwrap();
    }

    /// A tick of `zones` zones, `z000` and so on: frame `n` counts to `n`.
    pub fn tick(&mut self, zones: usize, n: u64) {
        for zone in 0..zones {
            self.publish(zone_named(&format!("z{zone:03}")), counting(n), START_MS + n * 1000);
        }
        self.announce(START_MS + n * 1000);
    }
}

/// When the ticks of [`Feed::tick`] begin.
pub const START_MS: u64 = 1_700_000_000_000;

/// A zone of that name.
pub fn zone_named(name: &str) -> v1::Zone {
    v1::Zone { name: name.to_owned(), id: 7, brand: "joyent".to_owned(), ..v1::Zone::default() }
}

/// A frame whose counters stand at `n`.
pub fn counting(n: u64) -> v1::Frame {
    let link = |name: &str| v1::Net { link: name.into(), rbytes64: Some(n * 1000), ..v1::Net::default() };
    v1::Frame {
        cpu: Some(v1::Cpu { nsec_user: Some(n * 1_000_000), ncpus: Some(4), ..v1::Cpu::default() }),
        net: vec![link("net0"), link("net1")],
        ..v1::Frame::default()
    }
}

/// The values that [`Feed::tick`] has put into a zone's history, in order.
pub fn counted(connection: &mut impl redis::ConnectionLike, host: &str, zone: &str) -> Vec<u64> {
    let key = format!("zonescope:{{{host}/{zone}}}:history:cpu");
    entries(connection, &key).iter().map(|(_, fields)| number(fields, "nsec_user") / 1_000_000).collect()
}

/// Entry ids and fields of a stream.
pub type Entries = Vec<(String, Vec<(String, String)>)>;

/// The whole of a stream.
pub fn entries(connection: &mut impl redis::ConnectionLike, key: &str) -> Entries {
    let raw: Vec<(String, Vec<String>)> = redis::cmd("XRANGE").arg(key).arg("-").arg("+").query(connection).unwrap();
    let pairs = |flat: Vec<String>| flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    raw.into_iter().map(|(id, flat)| (id, pairs(flat))).collect()
}

/// The text of a field.
pub fn text<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// The number in a field.
pub fn number(fields: &[(String, String)], name: &str) -> u64 {
    text(fields, name).unwrap_or_else(|| panic!("no {name} in {fields:?}")).parse().unwrap()
}

/// A field of a zone's own hash, as a number; 0 where it is not there.
pub fn zone_number(connection: &mut impl redis::ConnectionLike, host: &str, zone: &str, field: &str) -> u64 {
    let key = format!("zonescope:{{{host}/{zone}}}:zone");
    ask::<Option<u64>>(connection, &["HGET", &key, field]).unwrap_or(0)
}
