//! What the doctor sees of real sockets: a generator, somebody else, nobody.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::doctor::{Finding, Verdict, listen, peers};
use zonescope_link::transport::{Admission, Credentials};
use zonescope_link::{Endpoint, Identity, Publisher, RecoveryOptions};
use zonescope_proto::v1;

const SOON: Duration = Duration::from_secs(10);

fn free_endpoint() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("tcp://127.0.0.1:{port}")
}

/// Publishes a zone and its host frame ten times a second, as long as the test lasts. Its clock is `wrong_by_ns` behind ours.
async fn generator(recovery: bool, wrong_by_ns: u64) -> String {
    let identity = Identity { host_id: "h1".into(), host: "one".into(), epoch: SystemClock.now_ns() };
    let mut publisher = Publisher::bind("tcp://127.0.0.1:0", Admission::Open, identity).await.unwrap();
    if recovery {
        let options = RecoveryOptions {
            bind: "tcp://127.0.0.1:0".into(),
            ring: Default::default(),
            spool: None,
            bounds: Default::default(),
        };
        publisher.recover(options, Arc::new(SystemClock)).await.unwrap();
    }
    let endpoint = publisher.endpoint().to_owned();
    tokio::spawn(async move {
        loop {
            let now_ns = SystemClock.now_ns() - wrong_by_ns;
            let zone = v1::Zone { name: "web1".into(), ..v1::Zone::default() };
            publisher.publish(zone, &mut v1::Frame::default(), now_ns, 100).await.unwrap();
            publisher.announce(now_ns, 100).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    endpoint
}

async fn look(endpoint: &str) -> Vec<Finding> {
    peers(&[Endpoint::plain(endpoint)], SOON, &SystemClock).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_is_known_by_its_host_version_and_epoch() {
    let endpoint = generator(true, 0).await;
    let findings = look(&endpoint).await;
    let [peer, recovery] = findings.as_slice() else { unreachable!("{findings:?}") };
    assert_eq!((peer.verdict, recovery.verdict), (Verdict::Ok, Verdict::Ok), "{findings:?}");
    for part in ["host one (h1)", "format 1", "epoch 1", "1 zones every 100 ms"] {
        assert!(peer.found.contains(part), "{part}: {peer:?}");
    }
    let (port, ours) = listen(&endpoint, &Credentials::None, "h1", SOON, "start it", &SystemClock).await;
    assert!(port.verdict == Verdict::Ok && ours.is_some(), "{port:?}");
    let (port, ours) = listen(&endpoint, &Credentials::None, "h2", SOON, "start it", &SystemClock).await;
    assert!(port.verdict == Verdict::Fail && port.found.contains("another host_id") && ours.is_none(), "{port:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_and_a_recovery_that_is_off_are_warned_of() {
    let findings = look(&generator(false, 60_000_000_000).await).await;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Warn), "{findings:?}");
    assert!(findings[0].found.contains("60.") && findings[1].check == "recovery", "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_on_the_port_is_told_from_nobody() {
    let endpoint = free_endpoint();
    let nobody = look(&endpoint).await;
    assert!(nobody[0].verdict == Verdict::Fail && nobody[0].found.contains("nobody answers"), "{nobody:?}");
    let (port, _) = listen(&endpoint, &Credentials::None, "h1", SOON, "start it", &SystemClock).await;
    assert_eq!((port.verdict, port.next.as_deref()), (Verdict::Warn, Some("start it")), "{port:?}");

    let somebody = TcpListener::bind(endpoint.trim_start_matches("tcp://")).unwrap();
    let found = look(&endpoint).await;
    assert!(found[0].verdict == Verdict::Fail && found[0].found.contains("does not speak ZeroMQ"), "{found:?}");
    let (port, _) = listen(&endpoint, &Credentials::None, "h1", SOON, "start it", &SystemClock).await;
    assert!(port.verdict == Verdict::Fail && port.found.contains("not by a generator"), "{port:?}");
    drop(somebody);

    let (port, _) = listen("tcp://192.0.2.1:7211", &Credentials::None, "h1", SOON, "start it", &SystemClock).await;
    assert!(port.verdict == Verdict::Fail && port.found.contains("no such address"), "{port:?}");
}
