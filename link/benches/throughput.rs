//! What a frame costs from publisher to subscriber: `cargo bench -p zonescope-link --bench throughput [-- --json]`.
//!
//! One PUB, one SUB, frames of 700 bytes over loopback TCP, each side on a thread and a runtime of its own, so that
//! CPU time is told apart (CLOCK_THREAD_CPUTIME_ID). The publisher waits while more than [`WINDOW`] frames are under way:
//! it measures what arrives, not what is dropped; what is missing in the end is printed as lost. `zeromq` is a PUB of that
//! crate, which we connect with and do not bind with, for comparison.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking, and prints")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
#[cfg(not(target_os = "illumos"))]
use rustix::time::{ClockId, clock_gettime};
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};
use zonescope_link::keys::{Authorised, Pair};
use zonescope_link::transport::{Admission, Credentials, Publication, Subscription};

const FRAMES: u64 = 300_000;
const FRAME_BYTES: usize = 700;
/// Frames under way: less than any queue holds.
const WINDOW: u64 = 10_000;
/// Nothing for so long: what has not come is lost.
const OVER: Duration = Duration::from_secs(2);

enum Publisher {
    Ours(Publication),
    Zeromq(Box<PubSocket>),
}

impl Publisher {
    /// Binds, and says where.
    async fn bind(admission: Option<Admission>) -> (Self, String) {
        const ANY: &str = "tcp://127.0.0.1:0";
        if let Some(admission) = admission {
            let publication = Publication::bind(ANY, &admission).await.unwrap();
            let endpoint = publication.endpoint().to_owned();
            return (Publisher::Ours(publication), endpoint);
        }
        let mut socket = PubSocket::new();
        let endpoint = socket.bind(ANY).await.unwrap().to_string();
        (Publisher::Zeromq(Box::new(socket)), endpoint)
    }

    async fn send(&mut self, frame: Bytes) {
        let topic = Bytes::from_static(b"web1/0123456789abcdef");
        match self {
            Publisher::Ours(publication) => publication.send(topic, frame).await.unwrap(),
            Publisher::Zeromq(socket) => {
                let mut message = ZmqMessage::from(topic);
                message.push_back(frame);
                socket.send(message).await.unwrap();
            }
        }
    }
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    connected: AtomicBool,
    received: AtomicU64,
    over: AtomicBool,
}

struct Run {
    received: u64,
    took: Duration,
    publisher_cpu: Duration,
    subscriber_cpu: Duration,
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let (server, client) = (Arc::new(Pair::generate()), Arc::new(Pair::generate()));
    let authorised = Authorised::new(BTreeMap::from([(client.public(), "bench".to_owned())]));
    let curve = Credentials::Curve { pair: client, server: server.public() };
    let runs = [
        ("plain", Some(Admission::Open), Credentials::None),
        ("curve", Some(Admission::Curve { pair: server, authorised }), curve),
        ("zeromq", None, Credentials::None),
    ];
    if !json {
        println!("PUB       frames  frames/s  PUB ns/frame  SUB ns/frame  lost");
    }
    for (name, admission, credentials) in runs {
        let run = run(admission, &credentials);
        let (publisher, subscriber) = (per_frame(run.publisher_cpu), per_frame(run.subscriber_cpu));
        let per_s = run.received as f64 / run.took.as_secs_f64();
        let lost = FRAMES - run.received;
        if json {
            let line = serde_json::json!({
                "bench": "throughput", "pub": name, "frame_bytes": FRAME_BYTES, "frames": FRAMES,
                "frames_per_s": per_s.round(), "pub_cpu_ns_per_frame": publisher,
                "sub_cpu_ns_per_frame": subscriber, "lost": lost,
            });
            println!("{line}");
        } else {
            println!("{name:<8} {FRAMES:>7} {per_s:>9.0} {publisher:>13} {subscriber:>13} {lost:>5}");
        }
    }
}

fn run(admission: Option<Admission>, credentials: &Credentials) -> Run {
    let shared = Arc::new(Shared::default());
    let (send_endpoint, endpoint) = std::sync::mpsc::channel();
    let publishing = {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || {
            on_this_thread(async {
                let (publisher, endpoint) = Publisher::bind(admission).await;
                send_endpoint.send(endpoint).unwrap();
                publish(publisher, &shared).await
            })
        })
    };
    let endpoint = endpoint.recv().unwrap();
    let (took, subscriber_cpu) = on_this_thread(subscribe(&endpoint, credentials, &shared));
    Run { received: shared.received.load(Relaxed), took, publisher_cpu: publishing.join().unwrap(), subscriber_cpu }
}

/// Publishes all frames; says what CPU time that took.
async fn publish(mut publisher: Publisher, shared: &Shared) -> Duration {
    while !shared.connected.load(Relaxed) {
        publisher.send(Bytes::from_static(b"begin")).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let frame = Bytes::from(vec![b'x'; FRAME_BYTES]);
    let before = cpu();
    for sent in 0..FRAMES {
        while sent - shared.received.load(Relaxed) > WINDOW && !shared.over.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        publisher.send(frame.clone()).await;
    }
    while !shared.over.load(Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cpu() - before
}

/// Takes all frames; says from the first to the last how long that took, and what CPU time.
async fn subscribe(endpoint: &str, credentials: &Credentials, shared: &Shared) -> (Duration, Duration) {
    let mut subscription = Subscription::connect(endpoint, &["web1/".to_owned()], credentials).await.unwrap();
    let (mut begin, mut last) = (None, Instant::now());
    let before = cpu();
    while let Ok(received) = tokio::time::timeout(OVER, subscription.receive()).await {
        let (_, frame) = received.unwrap().unwrap();
        shared.connected.store(true, Relaxed);
        if frame.len() == FRAME_BYTES {
            begin.get_or_insert_with(Instant::now);
            last = Instant::now();
            if shared.received.fetch_add(1, Relaxed) + 1 == FRAMES {
                break;
            }
        }
    }
    let used = cpu() - before;
    shared.over.store(true, Relaxed);
    (begin.map_or(Duration::ZERO, |begin| last - begin), used)
}

fn on_this_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// CPU time of this thread.
#[cfg(not(target_os = "illumos"))]
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// rustix knows no such clock there: it stays 0.
#[cfg(target_os = "illumos")]
fn cpu() -> Duration {
    Duration::ZERO
}

fn per_frame(cpu: Duration) -> u128 {
    cpu.as_nanos() / u128::from(FRAMES)
}
