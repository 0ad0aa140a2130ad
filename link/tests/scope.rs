//! An endpoint of some zones over real sockets: to its subscribers these are all that there are, and they are complete;
//! and whoever asks it for everything learns no more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zonescope_link::clock::SystemClock;
use zonescope_link::keys::{Authorised, Pair};
use zonescope_link::recover::Bounds;
use zonescope_link::spool::Spool;
use zonescope_link::transport::{Admission, Credentials, Inquiry, Subscription};
use zonescope_link::{
    Endpoint, Event, Identity, Publisher, RecoveryOptions, Scope, ScopedOptions, Subscriber, SubscriberOptions, ring,
    spool,
};
use zonescope_proto::recovery::{OPEN, decode_reply};
use zonescope_proto::v1::Absence;
use zonescope_proto::{FORMAT_VERSION, Message, Topic, decode, v1};

const ANY: &str = "tcp://127.0.0.1:0";
const SOON: Duration = Duration::from_secs(60);
/// What the tenant has, and what others have: `acme` is a part of a name of theirs.
const OURS: [&str; 2] = ["acme-db", "acme-web"];
const THEIRS: [&str; 3] = ["global", "rival", "not-acme-web"];

/// A generator of all these zones, with a place for the tenant.
struct Host {
    publisher: Publisher,
    time_ns: u64,
}

impl Host {
    async fn start(epoch: u64, spool: Option<&Path>, admission: Admission) -> Self {
        let identity = Identity { host_id: "h1".into(), host: "alpha".into(), epoch };
        let mut publisher = Publisher::bind(ANY, Admission::Open, identity).await.unwrap();
        let spool = spool.map(|directory| (directory.to_owned(), spool::Limits::default()));
        let (ring, bounds) = (ring::Limits::default(), Bounds::default());
        publisher
            .recover(RecoveryOptions { bind: ANY.into(), ring, spool, bounds }, Arc::new(SystemClock))
            .await
            .unwrap();
        let scope = Scope::zones(&["acme-*"]).unwrap();
        let recovery = vec![ANY.to_owned()];
        publisher.add(ScopedOptions { bind: ANY.into(), admission, scope, recovery, bounds }).await.unwrap();
        Host { publisher, time_ns: epoch }
    }

    /// Where the tenant subscribes, and asks.
    fn tenant(&self) -> (String, String) {
        let (publish, recover) = self.publisher.scoped_endpoints().next().unwrap();
        (publish.to_owned(), recover.unwrap().to_owned())
    }

    async fn tick(&mut self) {
        self.time_ns += 1_000_000_000;
        for name in OURS.iter().chain(&THEIRS) {
            let zone = v1::Zone { name: (*name).into(), ..v1::Zone::default() };
            self.publisher.publish(zone, &mut v1::Frame::default(), self.time_ns, 1000).await.unwrap();
        }
        self.publisher.announce(self.time_ns, 1000).await.unwrap();
    }
}

/// Who comes, and how they are let in.
fn curve() -> (Admission, Credentials) {
    let (server, client) = (Arc::new(Pair::generate()), Arc::new(Pair::generate()));
    let authorised = Authorised::new(BTreeMap::from([(client.public(), "acme".to_owned())]));
    let credentials = Credentials::Curve { pair: client, server: server.public() };
    (Admission::Curve { pair: server, authorised }, credentials)
}

/// No other's name is anywhere in what came, however it was hidden there.
fn assert_ours(bytes: &[u8]) {
    for theirs in ["global", "rival", "not-acme"] {
        let found = bytes.windows(theirs.len()).any(|window| window == theirs.as_bytes());
        assert!(!found, "{theirs} in {:?}", String::from_utf8_lossy(bytes));
    }
}

/// What a subscriber has of each topic.
#[derive(Default)]
struct Taken {
    numbers: HashMap<Topic, Vec<u64>>,
}

impl Taken {
    /// Ticks, and takes until the host's own topic has `count` numbers more; nothing may be missing.
    async fn take(&mut self, host: &mut Host, subscriber: &mut Subscriber, count: usize) {
        let mut hosts = 0;
        while hosts < count {
            host.tick().await;
            while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), subscriber.next()).await {
                let Event::Frame(received) = event else { panic!("{event:?}") };
                hosts += usize::from(received.topic.zone.is_empty());
                let announced: Vec<_> = received.frame.announcement.iter().map(|a| a.zone.as_str()).collect();
                assert!(announced.is_empty() || announced == OURS, "{announced:?}");
                assert_ours(&received.bytes);
                self.numbers.entry(received.topic).or_default().push(received.frame.header.unwrap().sequence);
            }
        }
    }
}

async fn complete_and_nothing_else(admission: Admission, credentials: Credentials) {
    let mut host = Host::start(7, None, admission).await;
    let (endpoint, _) = host.tenant();
    let options = |resume| SubscriberOptions {
        endpoints: vec![Endpoint { address: endpoint.clone(), credentials: credentials.clone() }],
        resume,
        ..SubscriberOptions::default()
    };
    let mut subscriber = Subscriber::connect(options(HashMap::new())).await.unwrap();
    let mut taken = Taken::default();
    tokio::time::timeout(SOON, taken.take(&mut host, &mut subscriber, 3)).await.unwrap();
    let stored = subscriber.positions();
    drop(subscriber);
    for _ in 0..50 {
        host.tick().await;
    }
    let mut subscriber = Subscriber::connect(options(stored)).await.unwrap();
    tokio::time::timeout(SOON, taken.take(&mut host, &mut subscriber, 60)).await.unwrap();

    let topics: BTreeSet<_> = taken.numbers.keys().map(|topic| topic.zone.as_str()).collect();
    assert_eq!(topics, BTreeSet::from(["", "acme-db", "acme-web"]));
    for (topic, numbers) in &taken.numbers {
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{topic}: {numbers:?}");
        assert!(numbers.len() > 50, "{topic}: {numbers:?}");
    }
    let counters = subscriber.counters();
    assert!(counters.recovered >= 50 * 3 && counters.gaps == 0 && counters.bad == 0, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_collector_is_complete_and_has_nothing_else() {
    complete_and_nothing_else(Admission::Open, Credentials::None).await;
    let (admission, credentials) = curve();
    complete_and_nothing_else(admission, credentials).await;
}

async fn ask(inquiry: &mut Inquiry, epoch: u64, zones: &[&str]) -> v1::RecoveryReply {
    let range = zones.iter().map(|zone| v1::Range { zone: (*zone).into(), first: 1, last: OPEN }).collect();
    let request = v1::RecoveryRequest { version: FORMAT_VERSION, id: 1, host_id: "h1".into(), epoch, range };
    inquiry.send(request.encode_to_vec().into()).await.unwrap();
    let answer: Bytes = tokio::time::timeout(SOON, inquiry.receive()).await.unwrap().unwrap().unwrap();
    decode_reply(answer).unwrap()
}

/// What is said of the missing numbers of a zone.
fn absence(reply: &v1::RecoveryReply, zone: &str) -> Vec<(u64, u64, Absence)> {
    reply.missing.iter().filter(|m| m.zone == zone).map(|m| (m.first, m.last, m.absence())).collect()
}

/// Subscribes to everything and asks for everything: two epochs, one of them on disk, and one that never was.
async fn hostile(admission: Admission, credentials: Credentials) {
    let spool = tempfile::tempdir().unwrap();
    let mut earlier = Host::start(7, Some(spool.path()), Admission::Open).await;
    for _ in 0..20 {
        earlier.tick().await;
    }
    tokio::task::block_in_place(|| drop(earlier));
    // The task that serves recovery ends a moment later, and lets go of the spool.
    let is_locked = || Spool::open(spool.path(), spool::Limits::default(), "h1", Arc::new(SystemClock)).is_err();
    while is_locked() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut host = Host::start(1000, Some(spool.path()), admission).await;
    let (endpoint, recovery) = host.tenant();

    let everything = ["", "/", "global/", "rival/", "acme", "not-acme-web/h1"].map(str::to_owned);
    let mut subscription = Subscription::connect(&endpoint, &everything, &credentials).await.unwrap();
    let mut topics = BTreeSet::new();
    while topics.len() < 3 {
        host.tick().await;
        while let Ok(message) = tokio::time::timeout(Duration::from_millis(50), subscription.receive()).await {
            let (topic, frame) = message.unwrap().unwrap();
            assert_ours(&topic);
            assert_ours(&frame);
            topics.insert(Topic::parse(&topic).unwrap().zone);
        }
    }
    assert_eq!(topics, BTreeSet::from(["", "acme-db", "acme-web"].map(str::to_owned)));

    let mut inquiry = Inquiry::connect(&recovery, &credentials).await.unwrap();
    for (epoch, frames_at_least) in [(1000, 1), (7, 20), (5, 0)] {
        let reply = ask(&mut inquiry, epoch, &["", "acme-db", "acme-web", "global", "never-was", "rival"]).await;
        let mut of_zone: HashMap<String, usize> = HashMap::new();
        for bytes in &reply.frame {
            assert_ours(bytes);
            let frame = decode(bytes).unwrap();
            assert!(frame.announcement.iter().all(|announced| OURS.contains(&announced.zone.as_str())));
            let zone = frame.header.unwrap().zone.map(|zone| zone.name).unwrap_or_default();
            *of_zone.entry(zone).or_default() += 1;
        }
        for zone in ["", "acme-db", "acme-web"] {
            assert!(of_zone.remove(zone).unwrap_or(0) >= frames_at_least, "{zone} of {epoch}");
        }
        assert!(of_zone.is_empty(), "{of_zone:?}");
        for theirs in ["global", "rival"] {
            assert_eq!(absence(&reply, theirs), absence(&reply, "never-was"), "{theirs} of {epoch}");
        }
    }
    // Host frames are the same whether they came or were asked for, and their numbers are those of everybody's.
    let reply = ask(&mut inquiry, 1000, &[""]).await;
    let last = decode(reply.frame.last().unwrap()).unwrap();
    assert_eq!(last.header.unwrap().time, host.time_ns);
    assert_eq!(last.recovery_port, u32::from(zonescope_link::transport::address_and_port(&recovery).unwrap().1));
    assert_eq!(last.kept_epoch, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_subscriber_that_asks_for_everything_learns_of_its_own_zones_alone() {
    hostile(Admission::Open, Credentials::None).await;
    let (admission, credentials) = curve();
    hostile(admission, credentials).await;
}
