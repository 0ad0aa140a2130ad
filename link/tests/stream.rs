//! Publisher and subscriber over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use zonescope_link::publish::Sealer;
use zonescope_link::transport::{Admission, Credentials, Publication, Subscription};
use zonescope_link::{Endpoint, Identity, Publisher, Received, Subscriber, SubscriberOptions};
use zonescope_proto::{Topic, ZoneName, v1};

const SOON: Duration = Duration::from_secs(20);

fn identity(epoch: u64) -> Identity {
    Identity { host_id: "h1".into(), host: "alpha".into(), epoch }
}

fn zone(name: &str) -> v1::Zone {
    v1::Zone { name: name.into(), ..v1::Zone::default() }
}

async fn subscribe(endpoint: &str, zones: &[&str]) -> Subscriber {
    let zones = zones.iter().map(|z| ZoneName::new(*z).unwrap()).collect();
    let endpoints = vec![Endpoint::plain(endpoint)];
    Subscriber::connect(SubscriberOptions { endpoints, zones, ..Default::default() }).await.unwrap()
}

async fn next(subscriber: &mut Subscriber) -> Received {
    tokio::time::timeout(SOON, subscriber.recv()).await.unwrap()
}

/// Publishes `frames` every few milliseconds until the subscriber has one: its subscription takes a moment to arrive.
async fn until_heard(publisher: &mut Publisher, subscriber: &mut Subscriber) {
    for time in 1.. {
        publisher.publish(zone("warm"), &mut v1::Frame::default(), time, 1000).await.unwrap();
        publisher.announce(time, 1000).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(50), subscriber.recv()).await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn large_and_small_frames_arrive_in_the_order_in_which_they_were_sent() {
    let mut publication = Publication::bind("tcp://127.0.0.1:0", &Admission::Open).await.unwrap();
    let endpoint = publication.endpoint().to_owned();
    let mut subscription = Subscription::connect(&endpoint, &["web1/".to_owned()], &Credentials::None).await.unwrap();
    publication.subscriber().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let frame = |n: usize| Bytes::from(vec![n as u8; if n.is_multiple_of(3) { 200_000 } else { n }]);
    for n in 0..100 {
        publication.send(Bytes::from_static(b"web1/h1"), frame(n)).await.unwrap();
    }
    for n in 0..100 {
        let received = tokio::time::timeout(SOON, subscription.receive()).await.unwrap().unwrap();
        assert!(received.unwrap().1 == frame(n), "{n}");
    }
}

#[tokio::test]
async fn a_subscription_takes_its_zone_exactly_and_the_host_frames() {
    let mut publisher = Publisher::bind("tcp://127.0.0.1:0", Admission::Open, identity(7)).await.unwrap();
    let mut subscriber = subscribe(publisher.endpoint(), &["web1"]).await;
    until_heard(&mut publisher, &mut subscriber).await;
    for name in ["web10", "web1", "web"] {
        publisher.publish(zone(name), &mut v1::Frame::default(), 100, 1000).await.unwrap();
    }
    publisher.announce(100, 1000).await.unwrap();
    let mut zones = Vec::new();
    loop {
        let received = next(&mut subscriber).await;
        match (received.topic.zone.as_str(), received.header().time) {
            ("", 100) => break,
            ("", _) => {}
            (zone, _) => zones.push(zone.to_owned()),
        }
    }
    assert_eq!(zones, ["web1"]);
}

#[tokio::test]
async fn a_restarted_generator_is_found_again_and_its_frames_are_a_new_epoch() {
    let mut publisher = Publisher::bind("tcp://127.0.0.1:0", Admission::Open, identity(7)).await.unwrap();
    let endpoint = publisher.endpoint().to_owned();
    let mut subscriber = subscribe(&endpoint, &[]).await;
    until_heard(&mut publisher, &mut subscriber).await;
    drop(publisher);
    tokio::time::sleep(Duration::from_millis(200)).await;

    let mut publisher = loop {
        match Publisher::bind(&endpoint, Admission::Open, identity(8)).await {
            Ok(publisher) => break publisher,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    tokio::time::timeout(SOON, async {
        loop {
            publisher.publish(zone("warm"), &mut v1::Frame::default(), 5, 1000).await.unwrap();
            publisher.announce(5, 1000).await.unwrap();
            let received = tokio::time::timeout(Duration::from_millis(50), subscriber.recv()).await;
            if received.is_ok_and(|r| r.header().epoch == 8) {
                break;
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(subscriber.counters().connections, 2);
}

#[tokio::test]
async fn a_generator_that_comes_later_is_no_error() {
    let publisher = Publisher::bind("tcp://127.0.0.1:0", Admission::Open, identity(7)).await.unwrap();
    let endpoint = publisher.endpoint().to_owned();
    drop(publisher);
    let mut subscriber = subscribe(&endpoint, &[]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut publisher = Publisher::bind(&endpoint, Admission::Open, identity(7)).await.unwrap();
    tokio::time::timeout(SOON, until_heard(&mut publisher, &mut subscriber)).await.unwrap();
}

/// Sends messages as they are.
struct Raw(Publication);

impl Raw {
    async fn send(&mut self, topic: &[u8], body: &[u8]) {
        self.0.send(Bytes::copy_from_slice(topic), Bytes::copy_from_slice(body)).await.unwrap();
    }
}

/// A publisher of whatever messages, whom a subscriber hears already.
async fn heard() -> (Raw, Sealer, Subscriber) {
    let mut raw = Raw(Publication::bind("tcp://127.0.0.1:0", &Admission::Open).await.unwrap());
    let mut subscriber = subscribe(raw.0.endpoint(), &[]).await;
    let mut sealer = Sealer::new(identity(7));
    loop {
        let (topic, body) = sealer.seal(Some(zone("warm")), &mut v1::Frame::default(), 1, 1000).unwrap();
        raw.send(&topic, &body).await;
        if tokio::time::timeout(Duration::from_millis(50), subscriber.recv()).await.is_ok() {
            return (raw, sealer, subscriber);
        }
    }
}

#[tokio::test]
async fn bad_frames_are_counted_and_disturb_nothing_else() {
    let (mut raw, mut sealer, mut subscriber) = heard().await;
    let (topic, body) = sealer.seal(Some(zone("web1")), &mut v1::Frame::default(), 1, 1000).unwrap();
    raw.send(&topic, b"noise").await;
    raw.send(&topic, &body[..body.len() - 1]).await;
    raw.send(&topic, &vec![0; zonescope_proto::limits::MAX_FRAME_BYTES + 1]).await;
    raw.send(b"web2/h1", &body).await;
    raw.send(b"no topic", &body).await;
    let mut other = v1::Frame { header: zonescope_proto::decode(&body).unwrap().header, ..v1::Frame::default() };
    other.header.as_mut().unwrap().version = 2;
    raw.send(&topic, &zonescope_proto::Message::encode_to_vec(&other)).await;
    raw.send(&topic, &body).await;

    let received = loop {
        let received = next(&mut subscriber).await;
        if received.topic.zone == "web1" {
            break received;
        }
    };
    assert_eq!(received.bytes, body);
    assert_eq!(subscriber.counters().bad, 6);
    assert_eq!(subscriber.counters().connections, 1, "a bad frame is no reason to leave");
}

#[tokio::test]
async fn missing_frames_are_counted_the_last_one_included_and_doubles_are_left_out() {
    let (mut raw, mut sealer, mut subscriber) = heard().await;
    let before = subscriber.counters();
    for time in 1..=6 {
        let (topic, body) = sealer.seal(Some(zone("web1")), &mut v1::Frame::default(), time, 1000).unwrap();
        match time {
            // 3 and 4 are lost on the way, 2 comes twice, and the zone's last frame is lost too
            3 | 4 | 6 => {}
            2 => {
                raw.send(&topic, &body).await;
                raw.send(&topic, &body).await;
            }
            _ => raw.send(&topic, &body).await,
        }
    }
    let (topic, body) = sealer.seal_host(6, 1000).unwrap();
    raw.send(&topic, &body).await;
    while !next(&mut subscriber).await.topic.zone.is_empty() {}
    let after = subscriber.counters();
    assert_eq!((after.missing - before.missing, after.gaps - before.gaps), (3, 2));
    assert_eq!(after.duplicates - before.duplicates, 1);
}

#[tokio::test]
async fn a_subscriber_goes_on_only_where_its_zones_were_left() {
    let position = |topic: &str| (Topic::parse(topic.as_bytes()).unwrap(), (7, 3));
    let options = SubscriberOptions {
        zones: vec![ZoneName::new("web1").unwrap()],
        resume: ["/h1", "web1/h1", "web10/h1"].map(position).into(),
        ..Default::default()
    };
    let subscriber = Subscriber::connect(options).await.unwrap();
    assert_eq!(subscriber.positions(), ["/h1", "web1/h1"].map(position).into());
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_with_an_example() {
    let options = SubscriberOptions { endpoints: vec![Endpoint::plain("localhost:7211")], ..Default::default() };
    let error = Subscriber::connect(options).await.unwrap_err().to_string();
    assert!(error.contains("localhost:7211") && error.contains("tcp://ADDRESS:PORT"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let publisher = Publisher::bind("tcp://127.0.0.1:0", Admission::Open, identity(7)).await.unwrap();
    let error = Publisher::bind(publisher.endpoint(), Admission::Open, identity(7)).await.err().unwrap().to_string();
    assert!(error.contains(publisher.endpoint()), "{error}");
}
