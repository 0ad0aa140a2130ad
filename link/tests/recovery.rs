//! Recovery over real sockets: what a subscriber misses it gets, and nobody can spoil it for the others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zonescope_link::clock::SystemClock;
use zonescope_link::publish::Sealer;
use zonescope_link::recover::server::Server;
use zonescope_link::recover::{Bounds, Kept};
use zonescope_link::ring::{self, Ring};
use zonescope_link::scope::Scope;
use zonescope_link::transport::{Admission, Credentials, Inquiry, Publication, address_and_port};
use zonescope_link::{Endpoint, Event, Identity, Publisher, RecoveryOptions, Subscriber, SubscriberOptions};
use zonescope_proto::{FORMAT_VERSION, Message, v1};

const ANY: &str = "tcp://127.0.0.1:0";
const SOON: Duration = Duration::from_secs(60);

fn identity() -> Identity {
    Identity { host_id: "h1".into(), host: "alpha".into(), epoch: 7 }
}

fn zone(name: &str) -> v1::Zone {
    v1::Zone { name: name.into(), ..v1::Zone::default() }
}

async fn subscribe(endpoint: &str) -> Subscriber {
    let endpoints = vec![Endpoint::plain(endpoint)];
    Subscriber::connect(SubscriberOptions { endpoints, ..SubscriberOptions::default() }).await.unwrap()
}

async fn next(subscriber: &mut Subscriber) -> Event {
    tokio::time::timeout(SOON, subscriber.next()).await.unwrap()
}

/// A publisher that keeps every frame and sends those it is told to.
struct Lossy {
    sealer: Sealer,
    socket: Publication,
    kept: Arc<Kept>,
    server: Server,
    sequence: u64,
}

impl Lossy {
    async fn new(bounds: Bounds) -> Self {
        let kept = Arc::new(Kept::new("h1".into(), 7, Ring::new(ring::Limits::default()), None));
        let server = Server::bind(ANY, &Admission::Open, Scope::Everything, Arc::clone(&kept), bounds).await.unwrap();
        let mut sealer = Sealer::new(identity());
        sealer.announce_recovery(address_and_port(server.endpoint()).unwrap().1, &[]);
        Lossy { sealer, socket: Publication::bind(ANY, &Admission::Open).await.unwrap(), kept, server, sequence: 0 }
    }

    async fn publish(&mut self, send: bool) {
        self.sequence += 1;
        let (topic, bytes) = self.sealer.seal(Some(zone("web1")), &mut v1::Frame::default(), 5, 1000).unwrap();
        self.kept.ring().push("web1", 1, self.sequence, bytes.clone(), Duration::ZERO);
        if send {
            self.socket.send(topic, bytes).await.unwrap();
        }
    }

    async fn announce(&mut self) {
        let (topic, bytes) = self.sealer.seal_host(5, 1000).unwrap();
        self.kept.ring().push("", 1, self.sequence, bytes.clone(), Duration::ZERO);
        self.socket.send(topic, bytes).await.unwrap();
    }

    /// Publishes until the subscriber has something; gives the first number.
    async fn heard_by(&mut self, subscriber: &mut Subscriber) -> u64 {
        loop {
            self.publish(true).await;
            let event = tokio::time::timeout(Duration::from_millis(50), subscriber.next()).await;
            if let Ok(Event::Frame(received)) = event {
                return received.header().sequence;
            }
        }
    }
}

/// Takes frames of `web1` from `first` on up to `last`: all of them, in order.
async fn expect_all(subscriber: &mut Subscriber, first: u64, last: u64) {
    let mut expected = first;
    while expected <= last {
        match next(subscriber).await {
            Event::Frame(received) if received.topic.zone == "web1" => {
                assert_eq!(received.header().sequence, expected);
                expected += 1;
            }
            Event::Frame(_) => {}
            Event::Gap(gap) => panic!("{gap:?}"),
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_misses_frames_gets_them_in_order() {
    let mut publisher = Lossy::new(Bounds::default()).await;
    let mut subscriber = subscribe(publisher.socket.endpoint()).await;
    let first = publisher.heard_by(&mut subscriber).await;
    for n in 0..500 {
        publisher.publish(n % 7 == 0).await;
    }
    publisher.announce().await;
    expect_all(&mut subscriber, first + 1, publisher.sequence).await;
    let counters = subscriber.counters();
    assert!(counters.recovered >= 400 && counters.missing == 0, "{counters:?}");
    assert_eq!(publisher.server.tallies().bad.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greedy_client_is_held_back_and_harms_neither_publishing_nor_others() {
    let bounds = Bounds { requests_per_s: 20.0, ..Bounds::default() };
    let mut publisher = Lossy::new(bounds).await;
    let mut subscriber = subscribe(publisher.socket.endpoint()).await;
    let first = publisher.heard_by(&mut subscriber).await;
    for _ in 0..5000 {
        publisher.publish(false).await;
    }

    // Asks for everything, again and again, and never takes an answer.
    let endpoint = publisher.server.endpoint().to_owned();
    let greedy = tokio::spawn(async move {
        let range = v1::Range { zone: "web1".into(), first: 1, last: u64::MAX };
        let request = v1::RecoveryRequest {
            version: FORMAT_VERSION,
            id: 1,
            host_id: "h1".into(),
            epoch: 7,
            range: vec![range; 100],
        };
        let mut inquiry = Inquiry::connect(&endpoint, &Credentials::None).await.unwrap();
        loop {
            inquiry.send(request.encode_to_vec().into()).await.unwrap();
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let tick = Instant::now();
        publisher.publish(true).await;
        publisher.announce().await;
        slowest = slowest.max(tick.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    expect_all(&mut subscriber, first + 1, publisher.sequence).await;
    assert!(slowest < Duration::from_millis(500), "a tick took {slowest:?}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let tallies = publisher.server.tallies();
    assert!(tallies.refused.load(Relaxed) > 100, "{tallies:?}");
    greedy.abort();
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_ignored() {
    let mut publisher = Lossy::new(Bounds::default()).await;
    let mut subscriber = subscribe(publisher.socket.endpoint()).await;
    let first = publisher.heard_by(&mut subscriber).await;
    let mut inquiry = Inquiry::connect(publisher.server.endpoint(), &Credentials::None).await.unwrap();
    for noise in [&b""[..], b"noise", &[0xff; 5000]] {
        inquiry.send(Bytes::copy_from_slice(noise)).await.unwrap();
    }
    // Not even ZeroMQ.
    let address = publisher.server.endpoint().trim_start_matches("tcp://").to_owned();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();

    for _ in 0..50 {
        publisher.publish(false).await;
    }
    publisher.announce().await;
    expect_all(&mut subscriber, first + 1, publisher.sequence).await;
    assert_eq!(publisher.server.tallies().bad.load(Relaxed), 3);
}

/// A subscriber that takes nothing for so long that the generator's queue for it overflows gets everything in the end.
#[tokio::test]
async fn a_slow_subscriber_falls_back_on_the_ring() {
    const FRAMES: u64 = 300_000;
    // On one thread nobody else runs in between: more than two queues of 100,000 hold.
    let collect = v1::Collect { error: Some("x".repeat(1000)), ..v1::Collect::default() };
    let mut frame = v1::Frame { collect: vec![collect], ..v1::Frame::default() };
    let ring = ring::Limits { bytes: 512 << 20, ..ring::Limits::default() };
    let mut publisher = Publisher::bind(ANY, Admission::Open, identity()).await.unwrap();
    let options = RecoveryOptions { bind: ANY.into(), ring, spool: None, bounds: Bounds::default() };
    publisher.recover(options, Arc::new(SystemClock)).await.unwrap();
    let mut subscriber = subscribe(publisher.endpoint()).await;
    let mut time = 0;
    let first = loop {
        time += 1;
        publisher.publish(zone("web1"), &mut frame, time, 1000).await.unwrap();
        publisher.announce(time, 1000).await.unwrap();
        let event = tokio::time::timeout(Duration::from_millis(50), subscriber.next()).await;
        if let Ok(Event::Frame(received)) = event
            && received.topic.zone == "web1"
        {
            break received.header().sequence;
        }
    };
    for n in 0..FRAMES {
        time += 1;
        publisher.publish(zone("web1"), &mut frame, time, 1000).await.unwrap();
        if n % 100 == 0 {
            publisher.announce(time, 1000).await.unwrap();
        }
    }
    assert!(publisher.bytes_in_memory() < ring.bytes);
    // Ticks go on: an announcement may be dropped like everything else.
    let ticks = async {
        loop {
            publisher.announce(time, 1000).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = expect_all(&mut subscriber, first + 1, time) => {}
        () = ticks => {}
    }
    let counters = subscriber.counters();
    assert_eq!((counters.gaps, counters.missing), (0, 0));
    assert!(counters.recovered > 0, "{counters:?}: nothing was dropped, so nothing was tested");
}
