//! `use` says what `zonescope_proto::resource` says of the frames as they came.

use proptest::prelude::*;
use zonescope_proto::resource::{Tracker, Usage};
use zonescope_proto::v1;

use crate::support::*;

const COLUMNS: &str =
    "host, zone, zone_id, time, resource, utilization, saturation, saturation_unit, errors, cap, throttled";

/// The rows of `use` that these frames must make.
fn expected(frames: &[v1::Frame]) -> Vec<String> {
    let mut frames = frames.to_vec();
    frames.sort_by_key(|f| f.header.as_ref().unwrap().time);
    let mut rows = Rows::default();
    let mut tracker = Tracker::default();
    let mut last: std::collections::HashMap<String, u64> = std::collections::HashMap::new();
    for frame in frames {
        let header = frame.header.clone().unwrap();
        let zone = header.zone.clone().unwrap();
        // A predecessor too long ago is none.
        if last.insert(zone.name.clone(), header.time).is_some_and(|at| header.time - at > 300 * SECOND) {
            tracker.forget_before(header.time);
        }
        let number = |v: Option<f64>| v.map_or(Cell::Null, Cell::Double);
        let row = |u: &Usage| {
            vec![
                Cell::Text(header.host.clone()),
                Cell::Text(zone.name.clone()),
                Cell::Uint(zone.id),
                Cell::Int(header.time.cast_signed()),
                Cell::Text(u.resource.name().to_owned()),
                number(u.utilization),
                number(u.saturation),
                u.saturation.map_or(Cell::Null, |_| Cell::Text(u.saturation_unit.to_owned())),
                number(u.errors),
                number(u.cap),
                number(u.throttled),
            ]
        };
        rows.cells.extend(tracker.observe(frame).unwrap().iter().map(row));
    }
    rows.sorted()
}

fn actual(root: &Root) -> Vec<String> {
    root.ask(&format!("select {COLUMNS} from use")).sorted()
}

/// Frames of one zone; labels that repeat within a frame are made different, as in life.
fn any_zone_frames() -> impl Strategy<Value = Vec<v1::Frame>> {
    let frames: Vec<_> = (1..=6u64).map(|i| any_frame("web1".to_owned(), i)).collect();
    frames.prop_map(|mut frames| {
        for frame in &mut frames {
            for (i, disk) in frame.disk.iter_mut().enumerate() {
                disk.device = format!("sd{i}");
            }
            for (i, error) in frame.disk_error.iter_mut().enumerate() {
                error.device = format!("sd{i}");
            }
            for (i, net) in frame.net.iter_mut().enumerate() {
                net.link = format!("net{i}");
            }
        }
        frames
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_view_is_the_function_of_whole_frames(frames in any_zone_frames(), cut in 0..6usize) {
        let root = Root::new();
        root.store(&frames[..cut]);
        let mut store = root.open();
        put(&mut store, &frames[cut..]);
        store.sync().unwrap();
        for (actual, expected) in actual(&root).iter().zip(&expected(&frames)) {
            prop_assert_eq!(actual, expected);
        }
    }
}

/// A SmartOS zone: capped at two CPUs, reading and writing, one link.
fn zone(name: &str, second: u64) -> v1::Frame {
    let s = second * SECOND;
    v1::Frame {
        cpu: Some(v1::Cpu {
            nsec_user: Some(s),
            nsec_sys: Some(s / 2),
            nsec_waitrq: Some(s * 3),
            ncpus: Some(16),
            ..v1::Cpu::default()
        }),
        cpucaps: Some(v1::CpuCaps { value: Some(200), ..v1::CpuCaps::default() }),
        memory: Some(v1::Memory { rss: Some(256), physcap: Some(1024), nover: Some(second), ..v1::Memory::default() }),
        zone_vfs: Some(v1::ZoneVfs {
            rtime: Some(s / 4),
            wtime: Some(s / 10),
            rlentime: Some(s / 2),
            wlentime: Some(s / 2),
            ..v1::ZoneVfs::default()
        }),
        ..frame(name, second)
    }
}

#[test]
fn a_zone_as_it_is_in_life() {
    let root = Root::new();
    root.store(&[zone("web1", 1), zone("web1", 2)]);
    let rows = root.ask(
        "select resource, utilization, saturation, saturation_unit, errors, cap, throttled from use
         where time = '2025-11-21T08:00:02Z' order by resource",
    );
    let text = |t: &str| Cell::Text(t.to_owned());
    let (num, null) = (Cell::Double, Cell::Null);
    let expected = [
        vec![text("cpu"), num(0.75), num(3.0), text("threads"), null.clone(), num(2.0), null.clone()],
        vec![text("disk"), num(0.25), num(1.0), text("operations"), null.clone(), null.clone(), null.clone()],
        vec![text("memory"), num(0.25), null.clone(), null.clone(), num(1.0), num(1024.0), null.clone()],
        vec![text("net"), null.clone(), null.clone(), null.clone(), null.clone(), null.clone(), null],
    ];
    assert_eq!(rows.cells, expected);
}

#[test]
fn a_where_changes_which_rows_there_are_and_not_what_they_say() {
    let root = Root::new();
    let frames: Vec<v1::Frame> = (1..=400).flat_map(|i| [zone("web1", i), zone("web2", i), zone("web10", i)]).collect();
    for part in frames.chunks(700) {
        root.store(part);
    }
    let all = root.ask(&format!("select {COLUMNS} from use"));
    assert_eq!(all.cells.len(), 400 * 3 * 4);
    let web1_late = |row: &&Vec<Cell>| {
        row[1] == Cell::Text("web1".to_owned())
            && matches!(row[3], Cell::Int(t) if t.cast_unsigned() >= START + 350 * SECOND)
    };
    let expected = Rows { cells: all.cells.iter().filter(web1_late).cloned().collect(), ..Rows::default() };
    let clause = "zone = 'web1' and time >= '2025-11-21T08:05:50Z'";
    assert_eq!(root.ask(&format!("select {COLUMNS} from use where {clause}")).sorted(), expected.sorted());
    assert_eq!(root.count("select count(*) from use where utilization is null and resource = 'cpu'"), 3);
}

#[test]
fn no_predecessor_is_older_than_the_look_back() {
    let root = Root::new();
    let frames = [zone("web1", 1), zone("web1", 301), zone("web1", 602)];
    root.store(&frames);
    assert_eq!(actual(&root), expected(&frames));
    assert_eq!(root.count("select count(*) from use where resource = 'cpu' and utilization is null"), 2);
}

#[test]
fn the_name_needs_no_quotes_and_the_questions_of_the_handbook_work() {
    let root = Root::new();
    root.store(&[zone("web1", 1), zone("web1", 2)]);
    for sql in [
        "select * from use",
        "SELECT zone, resource, MAX(utilization) FROM use GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10",
        "select zone, resource, avg(saturation), saturation_unit from use where saturation > 0 group by 1, 2, 4",
        "select u.zone from use u join cpu c on u.zone = c.zone and u.time = c.time",
        "select zone, resource, max(utilization) as peak from use group by 1, 2 order by 3 desc nulls last limit 10",
    ] {
        assert!(!root.ask(sql).cells.is_empty(), "{sql}");
    }
}

#[test]
fn the_unknown_comes_last_whichever_the_direction() {
    let root = Root::new();
    root.store(&[frame("a", 1)]);
    for direction in ["", "desc"] {
        let sql = format!("select column1 from (values (null), (1.5)) order by column1 {direction}");
        assert_eq!(root.ask(&sql).numbers(), [Some(1.5), None], "{direction}");
    }
}
