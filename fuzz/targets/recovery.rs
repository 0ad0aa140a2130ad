//! Any bytes at the recovery port: a request that is answered within the limits of an answer, or an error. The same bytes
//! as an answer, as a collector reads it.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use zonescope_fuzz as _;
use zonescope_link::recover::Kept;
use zonescope_link::recover::answer::{REPLY_BYTES, answer};
use zonescope_link::ring::{Limits, Ring};
use zonescope_link::scope::View;
use zonescope_proto::recovery::{decode_reply, decode_request};
use zonescope_proto::{Message, decode};

/// A generator that keeps numbers 11 to 30 of three zones.
static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let mut ring = Ring::new(Limits::default());
    for number in 11..=30 {
        for zone in ["", "global", "web1"] {
            ring.push(zone, 1, number, Bytes::from(vec![0; 64 << 10]), Duration::ZERO);
        }
    }
    Kept::new("h".into(), 1, ring, None)
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode_request(bytes) {
        let reply = answer(&request, &KEPT, &View::default(), REPLY_BYTES);
        decode_reply(reply.encode_to_vec().into()).expect("a collector can read the answer");
    }
    if let Ok(reply) = decode_reply(Bytes::copy_from_slice(bytes)) {
        for frame in &reply.frame {
            let _ = decode(frame);
        }
    }
});
