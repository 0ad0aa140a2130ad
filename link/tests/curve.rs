//! Who is let in, and who is not: stock libzmq (pyzmq) against our endpoints, ours against its, and keys that are taken away.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts other programs"
)]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zonescope_link::clock::SystemClock;
use zonescope_link::doctor::{Verdict, peers};
use zonescope_link::keys::{Authorised, Pair, PublicKey};
use zonescope_link::transport::{Admission, Counter, Credentials, Inquiry, Publication, Subscription};
use zonescope_link::{Endpoint, Event, Identity, Publisher, RecoveryOptions, Subscriber, SubscriberOptions};
use zonescope_proto::{Topic, v1};

const ANY: &str = "tcp://127.0.0.1:0";
const SOON: Duration = Duration::from_secs(20);
const PREFIXES: [String; 1] = [String::new()];

/// Keys of a server, of somebody whom it knows, and of somebody whom it does not.
struct Keys {
    server: Arc<Pair>,
    known: Arc<Pair>,
    unknown: Arc<Pair>,
    authorised: Authorised,
}

impl Keys {
    fn new() -> Self {
        let known = Arc::new(Pair::generate());
        let authorised = Authorised::new(BTreeMap::from([(known.public(), "known".to_owned())]));
        Keys { server: Arc::new(Pair::generate()), known, unknown: Arc::new(Pair::generate()), authorised }
    }

    fn admission(&self) -> Admission {
        Admission::Curve { pair: Arc::clone(&self.server), authorised: self.authorised.clone() }
    }

    fn credentials(&self, pair: &Arc<Pair>, server: PublicKey) -> Credentials {
        Credentials::Curve { pair: Arc::clone(pair), server }
    }

    /// Who tries, what pyzmq is told of it, and whether they are let in where `curve` is spoken.
    fn visitors(&self, curve: bool) -> [(&'static str, Vec<String>, bool); 5] {
        let server = format!("server={}", self.server.public());
        let stranger = format!("server={}", self.unknown.public());
        let secret = |pair: &Pair| format!("secret={}", *pair.secret_text());
        [
            ("an authorised key", vec![server.clone(), secret(&self.known)], curve),
            ("an unknown key", vec![server.clone(), secret(&self.unknown)], false),
            ("the wrong server key", vec![stranger, secret(&self.known)], false),
            // libzmq sends a key of zeros.
            ("no key", vec![server], false),
            ("plain", Vec::new(), !curve),
        ]
    }
}

fn python(what: &str) -> Option<Command> {
    if let Some(python) = std::env::var_os("ZONESCOPE_PYTHON") {
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/peer.py"));
        return Some(command);
    }
    let why = format!("{what}: ZONESCOPE_PYTHON names no python with pyzmq; test.sh makes one");
    eprintln!("SKIPPED: {why}");
    if let Some(path) = std::env::var_os("ZONESCOPE_SKIPPED") {
        writeln!(std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap(), "{why}").unwrap();
    }
    None
}

/// Lets all visitors try at once; each must hear what it should, or nothing. `false` where there is no pyzmq.
async fn try_all(keys: &Keys, curve: bool, role: &str, endpoint: &str, heard: &str) -> bool {
    let mut tries = Vec::new();
    for (who, arguments, let_in) in keys.visitors(curve) {
        let Some(mut python) = python("stock libzmq against our endpoints") else { return false };
        python.args([role, endpoint]).args(arguments);
        let output = tokio::task::spawn_blocking(move || python.output().unwrap());
        tries.push((who, let_in, output));
    }
    for (who, let_in, output) in tries {
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, if let_in { heard } else { "nothing" }, "{who}, curve {curve}: {errors}");
    }
    true
}

/// Publishes until the task is ended.
fn publish(mut publication: Publication) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            publication.send(Bytes::from_static(b"web1/h1"), Bytes::from_static(b"frame")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_sub_hears_a_curve_publisher_with_an_authorised_key_and_no_other_way() {
    let keys = Keys::new();
    let publication = Publication::bind(ANY, &keys.admission()).await.unwrap();
    let (endpoint, refusals) = (publication.endpoint().to_owned(), publication.refusals());
    let publishing = publish(publication);
    let tried = try_all(&keys, true, "sub", &endpoint, "web1/h1").await;
    publishing.abort();
    let counts = refusals.counts();
    assert!(!tried || (counts.keys > 0 && counts.handshakes > 0), "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_sub_hears_a_plain_publisher_in_plain_and_no_other_way() {
    let keys = Keys::new();
    let publication = Publication::bind(ANY, &Admission::Open).await.unwrap();
    let endpoint = publication.endpoint().to_owned();
    let publishing = publish(publication);
    try_all(&keys, false, "sub", &endpoint, "web1/h1").await;
    publishing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_dealer_is_answered_as_a_stock_sub_is_heard() {
    let keys = Keys::new();
    for (curve, admission) in [(true, keys.admission()), (false, Admission::Open)] {
        let mut counter = Counter::bind(ANY, &admission).await.unwrap();
        let endpoint = counter.endpoint().to_owned();
        let answering = tokio::spawn(async move {
            loop {
                let (client, request) = counter.receive().await.unwrap().unwrap();
                assert_eq!(request, "what?");
                counter.send(client, Bytes::from_static(b"that")).await;
            }
        });
        try_all(&keys, curve, "dealer", &endpoint, "that").await;
        answering.abort();
    }
}

/// A stock PUB, which ends with its test.
struct Stock(Child, String);

impl Stock {
    fn publish(arguments: &[String]) -> Option<Self> {
        let mut python = python("ours against a stock libzmq PUB")?;
        let mut child =
            python.args(["pub", "tcp://127.0.0.1:*"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        Some(Stock(child, endpoint.trim().to_owned()))
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn ours_hears_a_stock_curve_publisher_with_the_key_that_it_expects() {
    let keys = Keys::new();
    let Some(stock) = Stock::publish(&[format!("secret={}", *keys.server.secret_text())]) else { return };
    let right = keys.credentials(&keys.known, keys.server.public());
    let mut subscription = Subscription::connect(&stock.1, &PREFIXES, &right).await.unwrap();
    let (topic, frame) = tokio::time::timeout(SOON, subscription.receive()).await.unwrap().unwrap().unwrap();
    assert_eq!((&topic[..], &frame[..]), (&b"web1/h1"[..], &b"frame"[..]));

    let wrong = keys.credentials(&keys.known, keys.unknown.public());
    let error = Subscription::connect(&stock.1, &PREFIXES, &wrong).await.err().unwrap().to_string();
    assert!(error.contains("no encrypted connection"), "{error}");
}

#[tokio::test]
async fn ours_never_speaks_plain_where_it_should_speak_curve() {
    let keys = Keys::new();
    let plain = Publication::bind(ANY, &Admission::Open).await.unwrap();
    let credentials = keys.credentials(&keys.known, keys.server.public());
    let error = Subscription::connect(plain.endpoint(), &PREFIXES, &credentials).await.err().unwrap().to_string();
    assert!(error.contains("no encrypted connection"), "{error}");
    let error = Inquiry::connect(plain.endpoint(), &credentials).await.err().unwrap().to_string();
    assert!(error.contains("is our key authorised there"), "{error}");
}

fn identity() -> Identity {
    Identity { host_id: "h1".into(), host: "alpha".into(), epoch: 7 }
}

fn zone(name: &str) -> v1::Zone {
    v1::Zone { name: name.into(), ..v1::Zone::default() }
}

fn recovery() -> RecoveryOptions {
    RecoveryOptions { bind: ANY.to_owned(), ring: Default::default(), spool: None, bounds: Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_recovers_through_curve_what_it_missed_and_the_doctor_sees_who_is_there() {
    let keys = Keys::new();
    let mut publisher = Publisher::bind(ANY, keys.admission(), identity()).await.unwrap();
    publisher.recover(recovery(), Arc::new(SystemClock)).await.unwrap();
    // Before anybody subscribes: what these were can only be asked for.
    for time in 1..=20 {
        publisher.publish(zone("web1"), &mut v1::Frame::default(), time, 1000).await.unwrap();
    }
    let credentials = keys.credentials(&keys.known, keys.server.public());
    let endpoint = Endpoint { address: publisher.endpoint().to_owned(), credentials };
    let resume = HashMap::from([(Topic::parse(b"web1/h1").unwrap(), (7, 1))]);
    let options = SubscriberOptions { endpoints: vec![endpoint.clone()], resume, ..SubscriberOptions::default() };
    let mut subscriber = Subscriber::connect(options).await.unwrap();
    let publishing = tokio::spawn(async move {
        for time in 21.. {
            publisher.publish(zone("web1"), &mut v1::Frame::default(), time, 1000).await.unwrap();
            publisher.announce(time, 1000).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut sequences = Vec::new();
    while sequences.len() < 30 {
        match tokio::time::timeout(SOON, subscriber.next()).await.unwrap() {
            Event::Frame(received) if !received.topic.zone.is_empty() => sequences.push(received.header().sequence),
            Event::Frame(_) => {}
            Event::Gap(gap) => panic!("{gap:?}"),
        }
    }
    assert_eq!(sequences, (2..=31).collect::<Vec<_>>());
    assert!(subscriber.counters().recovered >= 19);

    let found = peers(std::slice::from_ref(&endpoint), SOON, &SystemClock).await;
    assert!(found[0].found.contains("host alpha") && found[1].verdict == Verdict::Ok, "{found:?}");
    let found = peers(&[Endpoint::plain(endpoint.address)], Duration::from_secs(1), &SystemClock).await;
    assert!(found.len() == 1 && !found[0].found.contains("alpha"), "{found:?}");
    publishing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_away_is_out_at_once_and_nobody_else() {
    let keys = Keys::new();
    let other = Arc::new(Pair::generate());
    let both = [(keys.known.public(), "known".to_owned()), (other.public(), "other".to_owned())];
    keys.authorised.replace(BTreeMap::from(both.clone()));
    let publication = Publication::bind(ANY, &keys.admission()).await.unwrap();
    let (endpoint, refusals) = (publication.endpoint().to_owned(), publication.refusals());
    let publishing = publish(publication);
    let mut counter = Counter::bind(ANY, &keys.admission()).await.unwrap();
    let connect = async |pair| {
        let credentials = keys.credentials(pair, keys.server.public());
        Subscription::connect(&endpoint, &PREFIXES, &credentials).await
    };
    let (mut revoked, mut stays) = (connect(&keys.known).await.unwrap(), connect(&other).await.unwrap());
    let credentials = keys.credentials(&keys.known, keys.server.public());
    let mut asks = Inquiry::connect(counter.endpoint(), &credentials).await.unwrap();
    asks.send(Bytes::from_static(b"what?")).await.unwrap();
    let (client, _) = counter.receive().await.unwrap().unwrap();
    for subscription in [&mut revoked, &mut stays] {
        tokio::time::timeout(SOON, subscription.receive()).await.unwrap().unwrap();
    }

    keys.authorised.replace(both[1..].iter().cloned().collect());
    let taken = Instant::now();
    let out = async { while revoked.receive().await.is_ok() {} };
    tokio::time::timeout(SOON, out).await.unwrap();
    assert!(taken.elapsed() < Duration::from_secs(1), "{:?}", taken.elapsed());
    counter.send(client, Bytes::from_static(b"that")).await;
    assert!(tokio::time::timeout(SOON, asks.receive()).await.unwrap().is_err());
    assert!(connect(&keys.known).await.is_err());
    // The other's connection is the same as before, and hears on.
    for _ in 0..10 {
        tokio::time::timeout(SOON, stays.receive()).await.unwrap().unwrap();
    }
    assert_eq!(refusals.counts().revoked, 1);
    publishing.abort();
}
