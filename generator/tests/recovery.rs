//! What a collector misses of a real generator: while it is away, and while the generator is restarted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts processes"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use zonescope_link::{Endpoint, Event, Subscriber, SubscriberOptions};
use zonescope_proto::Topic;

const SOON: Duration = Duration::from_secs(60);

/// A generator that ends with its test.
struct Generator(Child);

impl Generator {
    fn start(directory: &Path, port: u16, more: &str) -> Self {
        let config = directory.join("generator.toml");
        let text = format!(
            "bind = \"tcp://127.0.0.1:{port}\"\ninterval_ms = 100\nsource = \"linux\"\nhost_id = \"h1\"\n{more}\n\
             [dtrace]\nenabled = false\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonescope-generator"));
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        Generator(command.spawn().unwrap())
    }

    fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn subscribe(port: u16, resume: HashMap<Topic, (u64, u64)>) -> Subscriber {
    let endpoints = vec![Endpoint::plain(format!("tcp://127.0.0.1:{port}"))];
    Subscriber::connect(SubscriberOptions { endpoints, resume, ..SubscriberOptions::default() }).await.unwrap()
}

/// Every number of every topic that came, in order, and the gaps.
#[derive(Default)]
struct Log {
    numbers: HashMap<Topic, Vec<(u64, u64)>>,
    gaps: Vec<zonescope_link::Gap>,
}

impl Log {
    /// Reads until the host's own topic has `count` numbers of its `epochs`th epoch.
    async fn read(&mut self, subscriber: &mut Subscriber, count: usize, epochs: usize) {
        let deadline = tokio::time::Instant::now() + SOON;
        let mut of_epoch: BTreeMap<u64, usize> = BTreeMap::new();
        for (epoch, _) in self.numbers.iter().filter(|(topic, _)| topic.zone.is_empty()).flat_map(|(_, n)| n) {
            *of_epoch.entry(*epoch).or_default() += 1;
        }
        while of_epoch.values().nth(epochs - 1).is_none_or(|n| *n < count) {
            let event = tokio::time::timeout_at(deadline, subscriber.next()).await;
            match event.unwrap_or_else(|_| panic!("host frames by epoch: {of_epoch:?}; gaps: {:?}", self.gaps)) {
                Event::Frame(received) => {
                    let (epoch, sequence) = (received.header().epoch, received.header().sequence);
                    if received.topic.zone.is_empty() {
                        *of_epoch.entry(epoch).or_default() += 1;
                    }
                    self.numbers.entry(received.topic).or_default().push((epoch, sequence));
                }
                Event::Gap(gap) => self.gaps.push(gap),
            }
        }
    }

    /// Each number once, in order; a later epoch begins with 1.
    fn check(&self) {
        for (topic, numbers) in &self.numbers {
            for pair in numbers.windows(2) {
                let ((e1, n1), (e2, n2)) = (pair[0], pair[1]);
                assert!((e1 == e2 && n2 == n1 + 1) || (e2 > e1 && n2 == 1), "{topic}: {pair:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_was_away_and_a_generator_that_was_restarted_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let spool = format!("[ring]\nspool = {:?}", directory.path().join("spool"));
    let generator = Generator::start(directory.path(), port, &spool);
    let mut log = Log::default();
    let mut subscriber = subscribe(port, HashMap::new()).await;
    log.read(&mut subscriber, 5, 1).await;
    let stored = subscriber.positions();
    drop(subscriber);
    tokio::time::sleep(Duration::from_secs(1)).await;
    generator.end(Signal::TERM);

    let generator = Generator::start(directory.path(), port, &spool);
    let mut subscriber = subscribe(port, stored).await;
    log.read(&mut subscriber, 5, 2).await;
    log.check();
    assert!(log.gaps.is_empty(), "{:?}", log.gaps);
    assert!(subscriber.counters().recovered > 10);
    generator.end(Signal::TERM);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_a_killed_generator_leaves_one_gap_without_end_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let generator = Generator::start(directory.path(), port, "");
    let mut log = Log::default();
    let mut subscriber = subscribe(port, HashMap::new()).await;
    log.read(&mut subscriber, 5, 1).await;
    generator.end(Signal::KILL);
    let _generator = Generator::start(directory.path(), port, "");
    log.read(&mut subscriber, 5, 2).await;
    log.check();
    let open: Vec<_> = log.gaps.iter().filter(|gap| gap.count().is_none()).collect();
    assert_eq!(open.len(), 1, "{:?}", log.gaps);
    assert!(open[0].topic.zone.is_empty());
}
