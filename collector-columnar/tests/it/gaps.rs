//! What never came is on record once, with its reason; and the completeness of an answer is told.

use zonescope_collector_columnar::query::Engine;
use zonescope_collector_columnar::query::completeness::Report;
use zonescope_collector_columnar::store::{Appended, Incoming, Store};
use zonescope_link::{Gap, Reason};
use zonescope_proto::{Message, Topic, v1};

use crate::support::*;

/// Numbers of a zone that will never come.
fn gap(zone: &str, first: u64, last: u64, reason: Reason) -> Gap {
    Gap { topic: Topic::new(zone, "id-of-h").unwrap(), epoch: START, first, last, reason }
}

/// An hour of two zones and the host, a frame a second, of which web2 lacks 100 to 219; 30 frames of web1 were asked for.
fn an_hour(store: &mut Store) {
    for i in 0..3600 {
        for zone in ["web1", "web2", ""] {
            if zone == "web2" && (100..220).contains(&i) {
                continue;
            }
            if zone == "web2" && i == 220 {
                // Numbers begin with 1 at 08:00:00.
                let evicted = gap("web2", 101, 220, Reason::Evicted);
                assert_eq!(store.append_gap(&evicted, START + 250 * SECOND).unwrap(), Appended::Stored);
            }
            let mut frame = frame(zone, i + 1);
            header(&mut frame).time = START + i * SECOND;
            let recovered = zone == "web1" && (60..90).contains(&i);
            let incoming = Incoming { frame: &frame, bytes: &frame.encode_to_vec(), recovered };
            assert_eq!(store.append(&incoming, START + i * SECOND).unwrap(), Appended::Stored);
        }
    }
}

/// What is said beside the answer to a question, at 09:30.
fn completeness(root: &Root, sql: &str) -> Option<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine = Engine::open(root.path(), 2).unwrap();
    runtime.block_on(async {
        let scope = engine.answer(sql, &mut Rows::default()).await.unwrap()?;
        Some(engine.completeness(&scope, START + HOUR + HOUR / 2).await.unwrap())
    })
}

/// The same for people.
fn said(root: &Root, sql: &str) -> String {
    completeness(root, sql).unwrap().for_people()
}

const ROW: &str =
    "select host, zone, zone_id, time, host_id, epoch, first, last, count, reason, interval_ms, noticed from gaps";
const MINUTES: &str = "select zone, cast(date_part('minute', time) as bigint) m, expected, received, recovered, missing \
                       from completeness where zone <> '' order by zone, m";

#[test]
fn a_gap_is_a_row_and_the_minutes_know_it_in_the_log_and_in_parquet() {
    let root = Root::new();
    let mut store = root.open();
    an_hour(&mut store);
    store.sync().unwrap();
    let check = |when: &str| {
        let row = root.ask(ROW).cells.remove(0);
        let text = |t: &str| Cell::Text(t.to_owned());
        let expected = [
            text("h"),
            text("web2"),
            Cell::Uint(7),
            Cell::Int((START + 100 * SECOND).cast_signed()),
            text("id-of-h"),
            Cell::Uint(START),
            Cell::Uint(101),
            Cell::Uint(220),
            Cell::Uint(120),
            text("evicted"),
            Cell::Uint(1000),
            Cell::Uint(START + 250 * SECOND),
        ];
        assert_eq!(row, expected, "{when}");
        let minutes = root.ask(MINUTES).cells;
        assert_eq!(minutes.len(), 120, "{when}: one row a minute");
        let numbers = |zone: usize, minute: usize| minutes[zone * 60 + minute][2..].to_vec();
        assert_eq!(numbers(0, 0), [60, 60, 0, 0].map(Cell::Uint), "{when}");
        assert_eq!(numbers(0, 1), [60, 60, 30, 0].map(Cell::Uint), "{when}");
        assert_eq!(numbers(1, 1), [60, 40, 0, 20].map(Cell::Uint), "{when}");
        assert_eq!(numbers(1, 2), [60, 0, 0, 60].map(Cell::Uint), "{when}");
        assert_eq!(numbers(1, 3), [60, 20, 0, 40].map(Cell::Uint), "{when}");
        assert_eq!(root.count("select sum(recovered) from frames"), 30, "{when}");
    };
    check("in the log");
    drop(store);
    let mut store = root.open();
    check("replayed");
    // Late: the same minute in a second file.
    put(&mut store, &[frame("late", 1)]);
    store.flush(START).unwrap();
    let mut late = frame("late", 2);
    header(&mut late).time = START + 2 * SECOND;
    put(&mut store, &[late]);
    store.close(START).unwrap();
    assert_eq!(root.count("select received from completeness where zone = 'late'"), 2, "one row, of two files");
}

#[test]
fn a_gap_is_on_record_once_before_and_after_a_restart() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &[frame("web1", 1)]);
    let evicted = gap("web1", 2, 5, Reason::Evicted);
    assert_eq!(store.append_gap(&evicted, START).unwrap(), Appended::Stored);
    assert_eq!(store.append_gap(&evicted, START).unwrap(), Appended::Duplicate);
    assert_eq!(put(&mut store, &[frame("web1", 4)]), [Appended::Duplicate], "a gap is final");
    let died = gap("", 1, u64::MAX, Reason::Restarted);
    assert_eq!(store.append_gap(&died, START).unwrap(), Appended::Stored);
    store.sync().unwrap();
    for left_by in ["a kill", "a flush", "a start"] {
        drop(store);
        store = root.open();
        assert_eq!(store.append_gap(&evicted, START).unwrap(), Appended::Duplicate, "{left_by}");
        assert_eq!(store.append_gap(&died, START).unwrap(), Appended::Duplicate, "{left_by}");
        assert_eq!(put(&mut store, &[frame("web1", 5)]), [Appended::Duplicate], "{left_by}");
        let topic = Topic::new("web1", "id-of-h").unwrap();
        assert_eq!(store.positions()[&topic], (START, 5), "{left_by}: a subscriber resumes behind the gap");
        store.flush(START).unwrap();
    }
    assert_eq!(root.count("select count(*) from gaps"), 2);
    assert_eq!(root.count("select count(*) from gaps where last is null and count is null"), 1);
    assert_eq!(root.count("select sum(missing) from completeness"), 4, "an end that nobody knows counts as nothing");
}

#[test]
fn a_gap_of_long_ago_that_was_noticed_just_now_is_remembered() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &[frame("web1", 1)]);
    // The host lives on for five hours; of web1 nothing more is known than that its end is missing.
    let late = |hour: u64| {
        let mut frame = frame("", hour);
        header(&mut frame).time = START + hour * HOUR;
        frame
    };
    put(&mut store, &(1..=5).map(late).collect::<Vec<_>>());
    let evicted = gap("web1", 2, 5, Reason::Evicted);
    assert_eq!(store.append_gap(&evicted, START + 5 * HOUR).unwrap(), Appended::Stored);
    store.close(START + 5 * HOUR).unwrap();
    let mut store = root.open_at(START + 5 * HOUR);
    assert_eq!(store.append_gap(&evicted, START + 5 * HOUR).unwrap(), Appended::Duplicate);
}

#[test]
fn the_completeness_of_an_answer_is_that_of_its_time_and_zones() {
    let root = Root::new();
    let mut store = root.open();
    an_hour(&mut store);
    store.close(START).unwrap();

    let hour = "time >= '2025-11-21T08:00:00Z' and time < '2025-11-21T09:00:00Z'";
    let all = said(&root, &format!("select * from cpu where {hour}"));
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(
        lines,
        [
            "INCOMPLETE: 10,680 of 10,800 frames (98.88 %), 30 of them recovered, 120 missing; 2 zones on 1 host, \
             2025-11-21 08:00 to 09:00 UTC",
            "  h, web2: 120 missing 2025-11-21 08:01 to 08:04 UTC: evicted",
        ]
    );
    let web1 =
        said(&root, &format!("select zone, max(utilization) from use where zone = 'web1' and {hour} group by 1"));
    assert_eq!(
        web1,
        "complete: 3,600 of 3,600 frames, 30 of them recovered; 1 zone on 1 host, 2025-11-21 08:00 to 09:00 UTC\n"
    );
    let both = format!(
        "select * from cpu where zone = 'web1' and {hour} union all select * from cpu where zone = 'web2' and \
         time between '2025-11-21T08:30:00Z' and '2025-11-21T08:30:59Z'"
    );
    assert_eq!(completeness(&root, &both).unwrap().expected, 7200, "all that any part of the question reads");
    let ten =
        said(&root, "select * from disk_rates where time > '2025-11-21T08:50:00Z' and time <= '2025-11-21T08:59:59Z'");
    assert!(
        ten.starts_with("complete: 1,800 of 1,800 frames; 2 zones on 1 host, 2025-11-21 08:50 to 09:00 UTC"),
        "{ten}"
    );
}

#[test]
fn silence_and_a_generator_that_died_are_told() {
    let root = Root::new();
    let mut store = root.open();
    an_hour(&mut store);
    store.append_gap(&gap("", 3601, u64::MAX, Reason::Restarted), START + HOUR).unwrap();
    store.close(START).unwrap();
    // It is 09:30, and nothing has come since 09:00.
    let text = said(&root, "select * from cpu where zone = 'web1' and time > '2025-11-21T08:50:00Z'");
    assert!(text.starts_with("complete: 600 of 600 frames; 1 zone on 1 host, 2025-11-21 08:50 to 09:31 UTC"), "{text}");
    assert!(text.contains("  h: nothing since 2025-11-21 09:00: is its generator down, or the collector?"), "{text}");
    assert!(text.contains("  h: its generator died about 2025-11-21 09:00: how many frames"), "{text}");
    let text = said(&root, "select * from cpu where time > '2025-11-21T09:10:00Z'");
    assert!(text.starts_with("nothing is on record 2025-11-21 09:10 to 09:31 UTC"), "{text}");
    assert!(text.contains("  h: nothing since 2025-11-21 09:00"), "{text}");
    let text = said(&root, "select * from cpu where time < '2025-11-21T08:50:00Z'");
    assert!(!text.contains("nothing since"), "{text}");
}

#[test]
fn a_question_about_nothing_stored_has_no_completeness() {
    let root = Root::new();
    root.store(&[frame("web1", 1)]);
    assert_eq!(completeness(&root, "select 1"), None);
    assert_eq!(completeness(&root, "select table_name from information_schema.tables"), None);
    let all = completeness(&root, "select count(*) from process").unwrap();
    assert_eq!((all.expected, all.from.as_str(), all.to.as_str()), (1, "2025-11-21T08:00:00Z", "2025-11-21T08:01:00Z"));
}

#[test]
fn users_rows_cannot_pose_as_gaps() {
    let root = Root::new();
    let mut store = root.open();
    let custom = |table: &str| v1::Custom { table: table.to_owned(), ..v1::Custom::default() };
    let frame = v1::Frame { custom: vec![custom("gaps"), custom("completeness")], ..frame("web1", 1) };
    put(&mut store, &[frame]);
    store.close(START).unwrap();
    assert_eq!(root.count("select count(*) from custom_gaps_"), 1);
    assert_eq!(root.count("select count(*) from completeness"), 1);
    assert_eq!(root.count("select count(*) from gaps"), 0);
}
