//! Whatever strangers send: they are turned away and counted, memory stays, and a subscriber loses nothing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and attackers are threads"
)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use zonescope_link::keys::{Authorised, Pair};
use zonescope_link::transport::{Admission, Counter, Credentials, Publication, Refused, Subscription};
use zonescope_proto::limits::{
    MAX_CONNECTIONS_PER_ADDRESS, MAX_HANDSHAKE_BYTES, MAX_HANDSHAKES_PER_ADDRESS, MAX_SUBSCRIPTIONS,
};

const ANY: &str = "tcp://127.0.0.1:0";
/// Memory is measured: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SOON: Duration = Duration::from_secs(20);

/// Long, and not more: the last part of a message.
const LONG: u8 = 2;
/// A short command.
const COMMAND: u8 = 4;

/// The first 64 bytes of ZMTP 3.0, with a mechanism.
fn greeting(mechanism: &str) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    greeting.extend(mechanism.as_bytes());
    greeting.resize(64, 0);
    greeting
}

/// READY of a socket type, in plain.
fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((socket_type.len() as u32).to_be_bytes());
    body.extend(socket_type.as_bytes());
    let mut frame = vec![COMMAND, body.len() as u8];
    frame.extend(body);
    frame
}

/// The head of a message that claims so many bytes.
fn claim(flags: u8, bytes: u64) -> Vec<u8> {
    let mut head = vec![LONG | flags];
    head.extend(bytes.to_be_bytes());
    head
}

fn subscription(prefix: &[u8]) -> Vec<u8> {
    let mut frame = claim(0, 1 + prefix.len() as u64);
    frame.push(1);
    frame.extend(prefix);
    frame
}

fn address(endpoint: &str) -> SocketAddr {
    endpoint.trim_start_matches("tcp://").parse().unwrap()
}

/// A connection that has said `first`.
fn say(address: SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    let _ = stream.write_all(first);
    stream
}

/// A connection that is let in, where that takes no key.
fn come_in(address: SocketAddr, socket: &str) -> TcpStream {
    let mut stream = say(address, &[greeting("NULL"), ready(socket)].concat());
    // Its greeting and its READY.
    let _ = stream.read_exact(&mut vec![0; 64 + ready("PUB").len()]);
    stream
}

/// Writes until the other side ends it, or `most` is written; says how much was.
fn pour(stream: &mut TcpStream, most: usize) -> usize {
    let water = [0; 1 << 16];
    let mut written = 0;
    while written < most {
        match stream.write(&water) {
            Ok(n) => written += n,
            Err(_) => break,
        }
    }
    written
}

/// Whether the other side ends it, soon.
fn ends(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
}

/// What a stranger does, in rounds, until it is told to stop.
type Attack = fn(SocketAddr, &str) -> usize;

const ATTACKS: [(&str, Attack); 8] = [
    ("random bytes", |to, _| {
        let mut noise = vec![0; 4096];
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for byte in &mut noise {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            *byte = seed as u8;
        }
        say(to, &noise);
        noise.len()
    }),
    ("half a greeting", |to, _| {
        let crowd: Vec<_> = (0..3 * MAX_HANDSHAKES_PER_ADDRESS).map(|_| say(to, &greeting("NULL")[..31])).collect();
        crowd.len() * 31
    }),
    ("a greeting without end", |to, _| pour(&mut say(to, &greeting("NULL")[..10]), 1 << 30)),
    ("a command of 2^62 bytes before the handshake", |to, _| {
        let mut stream = say(to, &[greeting("NULL"), claim(COMMAND, 1 << 62)].concat());
        pour(&mut stream, 1 << 30)
    }),
    ("a CURVE greeting and then noise", |to, _| {
        let mut stream = say(to, &[greeting("CURVE"), vec![COMMAND, 200]].concat());
        pour(&mut stream, 1 << 30)
    }),
    ("a message of 2^63 - 1 bytes", |to, socket| {
        let mut stream = come_in(to, socket);
        let _ = stream.write_all(&claim(0, i64::MAX as u64));
        pour(&mut stream, 1 << 30)
    }),
    ("a subscription of 1 GiB, really sent", |to, socket| {
        let mut stream = come_in(to, socket);
        let _ = stream.write_all(&claim(0, 1 << 30));
        pour(&mut stream, 1 << 30)
    }),
    ("a thousand parts of nothing", |to, socket| {
        let parts = [1, 0].repeat(100_000);
        let _ = come_in(to, socket).write_all(&parts);
        parts.len()
    }),
];

/// Each attack once a round against `to`, all at once; says the bytes that were written.
fn attack(to: SocketAddr, socket: &'static str, rounds: usize) -> usize {
    let attackers: Vec<_> = ATTACKS
        .iter()
        .map(|&(_, attack)| std::thread::spawn(move || (0..rounds).map(|_| attack(to, socket)).sum::<usize>()))
        .collect();
    attackers.into_iter().map(|attacker| attacker.join().unwrap()).sum()
}

/// Attacks an endpoint of a publisher while a subscriber counts what it publishes.
async fn attacked(admission: Admission, credentials: Credentials) -> Refused {
    let mut publication = Publication::bind(ANY, &admission).await.unwrap();
    let (endpoint, refusals) = (publication.endpoint().to_owned(), publication.refusals());
    let mut subscription = Subscription::connect(&endpoint, &["web1/".to_owned()], &credentials).await.unwrap();
    publication.subscriber().await;
    let over = Arc::new(AtomicBool::new(false));
    let publishing = {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            let mut sent = 0u64;
            let mut latest = Duration::ZERO;
            while !over.load(Relaxed) {
                let begin = Instant::now();
                let number = Bytes::copy_from_slice(&sent.to_be_bytes());
                publication.send(Bytes::from_static(b"web1/h1"), number).await.unwrap();
                latest = latest.max(begin.elapsed());
                sent += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // What is queued still leaves.
            tokio::time::sleep(Duration::from_secs(1)).await;
            (sent, latest)
        })
    };
    let number = |frame: Bytes| u64::from_be_bytes(frame[..].try_into().unwrap());
    let first = number(subscription.receive().await.unwrap().unwrap().1);
    let before = resident();
    let attacking = tokio::task::spawn_blocking({
        let (to, over) = (address(&endpoint), Arc::clone(&over));
        move || {
            let begin = Instant::now();
            let bytes = attack(to, "SUB", 5);
            over.store(true, Relaxed);
            (bytes, begin.elapsed())
        }
    });
    let mut heard = first + 1;
    while let Ok(Ok(Some((_, frame)))) = tokio::time::timeout(SOON, subscription.receive()).await {
        assert_eq!(number(frame), heard);
        heard += 1;
    }
    let (bytes, took) = attacking.await.unwrap();
    let (sent, latest) = publishing.await.unwrap();
    assert_eq!(heard, sent);
    let grown = resident().saturating_sub(before) >> 20;
    let counts = refusals.counts();
    println!(
        "{} attacks of {} kinds, {bytes} bytes in {took:.1?}: {} frames lost of {sent}, longest send {latest:.1?}, grown by {grown} MiB; {counts}",
        5 * ATTACKS.len(),
        ATTACKS.len(),
        sent - heard,
    );
    assert!(grown < 64, "grown by {grown} MiB");
    // Whoever claims or sends without end is ended: what it has written is what fits into the sockets' buffers.
    assert!(bytes < 1 << 30, "{bytes}");
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_and_its_subscriber_do_not_notice_strangers() {
    let _alone = ALONE.lock().await;
    let counts = attacked(Admission::Open, Credentials::None).await;
    assert!(counts.handshakes >= 20 && counts.messages >= 10, "{counts}");

    let (server, client) = (Arc::new(Pair::generate()), Arc::new(Pair::generate()));
    let authorised = Authorised::new(BTreeMap::from([(client.public(), "us".to_owned())]));
    let credentials = Credentials::Curve { pair: client, server: server.public() };
    let counts = attacked(Admission::Curve { pair: server, authorised }, credentials).await;
    assert!(counts.handshakes >= 20 && counts.messages == 0, "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_endpoint_answers_while_strangers_attack_it() {
    let _alone = ALONE.lock().await;
    let mut counter = Counter::bind(ANY, &Admission::Open).await.unwrap();
    let (endpoint, refusals) = (counter.endpoint().to_owned(), counter.refusals());
    tokio::spawn(async move {
        while let Ok(message) = counter.receive().await {
            if let Some((client, request)) = message {
                counter.send(client, request).await;
            }
        }
    });
    let before = resident();
    let to = address(&endpoint);
    let attacking = tokio::task::spawn_blocking(move || attack(to, "DEALER", 3));
    let mut inquiry = zonescope_link::transport::Inquiry::connect(&endpoint, &Credentials::None).await.unwrap();
    let mut answered = 0u64;
    while !attacking.is_finished() {
        inquiry.send(Bytes::copy_from_slice(&answered.to_be_bytes())).await.unwrap();
        let answer = tokio::time::timeout(SOON, inquiry.receive()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer[..], answered.to_be_bytes());
        answered += 1;
    }
    let counts = refusals.counts();
    let grown = resident().saturating_sub(before) >> 20;
    println!("{} bytes: {answered} requests answered, grown by {grown} MiB; {counts}", attacking.await.unwrap());
    assert!(answered > 0 && counts.messages > 0 && grown < 64, "{grown} MiB, {counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_more_than_a_handshake_needs_is_ended_there() {
    let _alone = ALONE.lock().await;
    let publication = Publication::bind(ANY, &Admission::Open).await.unwrap();
    let to = address(publication.endpoint());
    let written = tokio::task::spawn_blocking(move || {
        let mut stream = say(to, &greeting("NULL"));
        // A command as long as the codec takes, and longer than we do: it never gets to its end.
        stream.write_all(&claim(COMMAND, 200_000)).unwrap();
        let mut written = 0;
        while stream.write_all(&[0; 64]).is_ok() && written < 1 << 20 {
            written += 64;
            std::thread::sleep(Duration::from_millis(1));
        }
        written
    })
    .await
    .unwrap();
    assert!((MAX_HANDSHAKE_BYTES - 128..4 * MAX_HANDSHAKE_BYTES).contains(&written), "{written}");
    assert_eq!(publication.refusals().counts().handshakes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_another_one_is_let_in() {
    let _alone = ALONE.lock().await;
    let mut publication = Publication::bind(ANY, &Admission::Open).await.unwrap();
    let (to, refusals) = (address(publication.endpoint()), publication.refusals());
    let crowd = tokio::task::spawn_blocking(move || {
        let all = MAX_CONNECTIONS_PER_ADDRESS + 5;
        (0..all).map(|_| say(to, &[greeting("NULL"), ready("SUB"), subscription(b"")].concat())).collect::<Vec<_>>()
    });
    let mut crowd = crowd.await.unwrap();
    let begin = Instant::now();
    while refusals.counts().connections < 5 {
        assert!(begin.elapsed() < SOON, "{}", refusals.counts());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(refusals.counts().connections, 5);
    // From elsewhere: 127.0.0.2 is another address of this host.
    let from_elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    from_elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = from_elsewhere.connect(to).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&[greeting("NULL"), ready("SUB"), subscription(b"web1/")].concat()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    publication.send(Bytes::from_static(b"web1/h1"), Bytes::from_static(b"frame")).await.unwrap();
    let heard = tokio::task::spawn_blocking(move || {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !heard.ends_with(b"frame") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0);
            heard.extend(&buffer[..read]);
        }
    });
    tokio::time::timeout(SOON, heard).await.unwrap().unwrap();
    // A seat that becomes free is taken by the next.
    crowd.pop();
    assert!(ends(&mut say(to, b"GET / HTTP/1.1\r\n\r\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_stops_talking_is_heard_at_the_pace_of_anybody() {
    let _alone = ALONE.lock().await;
    let publication = Publication::bind(ANY, &Admission::Open).await.unwrap();
    let to = address(publication.endpoint());
    let (written, took) = tokio::task::spawn_blocking(move || {
        let mut stream = come_in(to, "SUB");
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let words = [subscription(b"web1/"), vec![0, 6, 0], b"web1/".to_vec()].concat().repeat(4096);
        let begin = Instant::now();
        let mut written = 0;
        // What fits into the sockets' buffers is gone at once.
        while begin.elapsed() < Duration::from_secs(3) {
            written += stream.write(&words[written % words.len()..]).unwrap_or(0);
        }
        (written, begin.elapsed())
    })
    .await
    .unwrap();
    println!("{written} bytes in {took:.1?}");
    assert!(written < 16 << 20, "{written}");
    assert_eq!(publication.refusals().counts().messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_beyond_the_limit_are_counted_and_those_before_it_stay() {
    let _alone = ALONE.lock().await;
    let mut publication = Publication::bind(ANY, &Admission::Open).await.unwrap();
    let (to, refusals) = (address(publication.endpoint()), publication.refusals());
    let mut words = [greeting("NULL"), ready("SUB")].concat();
    for n in 0..MAX_SUBSCRIPTIONS + 7 {
        words.extend(subscription(format!("zone{n}/").as_bytes()));
    }
    let mut stream = say(to, &words);
    let begin = Instant::now();
    while refusals.counts().subscriptions < 7 {
        assert!(begin.elapsed() < SOON, "{}", refusals.counts());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(refusals.counts().subscriptions, 7);
    for topic in [format!("zone{MAX_SUBSCRIPTIONS}/h1"), "zone0/h1".to_owned()] {
        publication.send(Bytes::from(topic), Bytes::from_static(b"frame")).await.unwrap();
    }
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !heard.ends_with(b"frame") {
        let read = tokio::task::block_in_place(|| stream.read(&mut buffer)).unwrap();
        heard.extend_from_slice(&buffer[..read]);
    }
    let heard = String::from_utf8_lossy(&heard);
    assert!(heard.contains("zone0/h1") && !heard.contains(&format!("zone{MAX_SUBSCRIPTIONS}/")), "{heard}");
}
