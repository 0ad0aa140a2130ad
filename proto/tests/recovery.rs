//! Requests for missed frames and replies: any bytes give a value or a typed error, and no bytes cost much memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use prost::bytes::Bytes;
use zonescope_proto::limits::*;
use zonescope_proto::recovery::{OPEN, decode_reply, decode_request};
use zonescope_proto::*;

fn request() -> v1::RecoveryRequest {
    let range = v1::Range { zone: "web1".into(), first: 3, last: OPEN };
    v1::RecoveryRequest { version: FORMAT_VERSION, id: 7, host_id: "h1".into(), epoch: 9, range: vec![range] }
}

fn reply() -> v1::RecoveryReply {
    v1::RecoveryReply {
        version: FORMAT_VERSION,
        id: 7,
        host_id: "h1".into(),
        epoch: 9,
        frame: vec![Bytes::from_static(b"frame 3"), Bytes::from_static(b"frame 4")],
        missing: vec![v1::Missing {
            zone: "web1".into(),
            first: 5,
            last: OPEN,
            absence: v1::Absence::EndOfEpoch.into(),
        }],
        wait_ms: 0,
    }
}

#[test]
fn requests_and_replies_come_out_as_they_went_in() {
    assert_eq!(decode_request(&request().encode_to_vec()), Ok(request()));
    assert_eq!(decode_reply(reply().encode_to_vec().into()), Ok(reply()));
}

#[test]
fn each_limit_has_its_error() {
    let mut greedy = request();
    greedy.range = vec![v1::Range { zone: String::new(), first: 1, last: 1 }; MAX_RANGES + 1];
    assert!(matches!(decode_request(&greedy.encode_to_vec()), Err(DecodeError::TooMany { what: "ranges", .. })));
    let oversized = vec![0; MAX_REQUEST_BYTES + 1];
    assert!(matches!(decode_request(&oversized), Err(DecodeError::TooMany { what: "bytes of a request", .. })));

    for (first, last) in [(0, 4), (5, 4)] {
        let mut backwards = request();
        (backwards.range[0].first, backwards.range[0].last) = (first, last);
        assert_eq!(decode_request(&backwards.encode_to_vec()), Err(DecodeError::Range(first, last)));
    }
    let mut nameless = request();
    nameless.host_id.clear();
    assert!(matches!(decode_request(&nameless.encode_to_vec()), Err(DecodeError::Name { field: "host_id", .. })));
    let mut later = request();
    later.version = 2;
    assert_eq!(decode_request(&later.encode_to_vec()), Err(DecodeError::Version(2)));

    let mut long = reply();
    long.frame = vec![Bytes::from(vec![0; MAX_FRAME_BYTES + 1])];
    let error = decode_reply(long.encode_to_vec().into());
    assert!(matches!(error, Err(DecodeError::TooMany { what: "bytes of a frame", .. })));
}

#[test]
fn the_largest_request_that_is_allowed_fits() {
    let range = v1::Range { zone: "z".repeat(MAX_ZONE_NAME_BYTES), first: u64::MAX - 1, last: u64::MAX };
    let request =
        v1::RecoveryRequest { host_id: "h".repeat(MAX_HOST_ID_BYTES), range: vec![range; MAX_RANGES], ..request() };
    assert_eq!(decode_request(&request.encode_to_vec()).map(|r| r.range.len()), Ok(MAX_RANGES));
}

/// Two bytes stand for an empty range that takes forty in memory: they are counted before they are decoded.
#[test]
fn empty_items_are_refused_before_they_cost_memory() {
    let ranges: Vec<u8> = [5 << 3 | 2, 0].iter().copied().cycle().take(MAX_REQUEST_BYTES / 2 * 2).collect();
    assert!(matches!(decode_request(&ranges), Err(DecodeError::TooMany { what: "ranges", .. })));
    let missing: Vec<u8> = [6 << 3 | 2, 0].iter().copied().cycle().take(MAX_REPLY_BYTES).collect();
    assert!(matches!(decode_reply(missing.into()), Err(DecodeError::TooMany { what: "missing ranges", .. })));
}

proptest! {
    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_request(&bytes);
        let _ = decode_reply(bytes.into());
    }

    #[test]
    fn damage_gives_a_value_or_an_error(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()) {
        for mut bytes in [request().encode_to_vec(), reply().encode_to_vec()] {
            let index = at.index(bytes.len());
            bytes[index] = to;
            let _ = decode_request(&bytes);
            let _ = decode_reply(Bytes::from(bytes.clone()));
            bytes.truncate(cut.index(bytes.len()));
            let _ = decode_request(&bytes);
            let _ = decode_reply(bytes.into());
        }
    }
}
