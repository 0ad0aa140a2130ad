//! The contract holds: any frame survives its way over the wire, any bytes give a frame or a typed error, and format version 1 stays
//! what it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use zonescope_proto::families::walk;
use zonescope_proto::limits::*;
use zonescope_proto::*;

/// One value of every type, for the property tests.
#[derive(Debug, Clone)]
enum Any {
    Uint(u64),
    Int(i64),
    Text(String),
}

fn any_value(ty: Type) -> BoxedStrategy<Any> {
    match ty {
        Type::Uint => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Any::Uint).boxed(),
        Type::Int => any::<i64>().prop_map(Any::Int).boxed(),
        Type::Double => unreachable!("no family holds a double"),
        Type::Text => "[a-zä:/\\t ]{0,20}".prop_map(Any::Text).boxed(),
    }
}

/// A row of one family: labels always, the rest now and then.
fn any_row(family: &'static FamilySpec) -> BoxedStrategy<Vec<Option<Any>>> {
    let fields: Vec<BoxedStrategy<Option<Any>>> = family
        .fields
        .iter()
        .map(|field| {
            let value = any_value(field.ty);
            if field.kind == Kind::Label { value.prop_map(Some).boxed() } else { proptest::option::of(value).boxed() }
        })
        .collect();
    fields.boxed()
}

type Rows = Vec<(usize, Vec<Option<Any>>)>;

fn any_rows() -> impl Strategy<Value = Rows> {
    let families: Vec<_> = FAMILIES.iter().filter(|f| f.table != "distribution").map(|f| (f.index, *f)).collect();
    let row = proptest::sample::select(families)
        .prop_flat_map(|(index, family)| any_row(family).prop_map(move |row| (index, row)));
    proptest::collection::vec(row, 0..20)
}

/// Rows of processes, nearly always with samples.
fn any_processes() -> impl Strategy<Value = Vec<v1::OnCpuProcess>> {
    let pid = prop_oneof![0..100_000u64, any::<u64>()];
    let samples = proptest::option::weighted(0.99, any::<u64>());
    let row = (pid, "[a-c]{0,2}", any::<u64>(), samples).prop_map(|(pid, execname, core, samples)| v1::OnCpuProcess {
        pid,
        execname,
        core,
        samples,
    });
    proptest::collection::vec(row, 0..30)
}

fn header() -> v1::Header {
    v1::Header {
        version: FORMAT_VERSION,
        host_id: "0f3a".into(),
        host: "alpha".into(),
        zone: Some(v1::Zone { name: "web1".into(), id: 7, brand: "joyent".into(), ..v1::Zone::default() }),
        epoch: 1_700_000_000_000_000_000,
        sequence: 42,
        time: 1_700_000_100_000_000_000,
        interval_ms: 1000,
    }
}

fn frame_of(rows: &Rows) -> v1::Frame {
    let mut frame = v1::Frame { header: Some(header()), ..v1::Frame::default() };
    for (family, row) in rows {
        let values: Vec<Option<Value<'_>>> = row
            .iter()
            .map(|value| {
                value.as_ref().map(|v| match v {
                    Any::Uint(v) => Value::Uint(*v),
                    Any::Int(v) => Value::Int(*v),
                    Any::Text(v) => Value::Text(v),
                })
            })
            .collect();
        assert!(add_row(&mut frame, *family, &values));
    }
    frame
}

/// Everything that a walk hands out, as text.
fn walked(frame: &v1::Frame) -> Vec<String> {
    struct Rows(Vec<String>);
    impl Sink for Rows {
        fn row<F: Family>(&mut self, row: &F) {
            let mut text = format!("{}:", F::SPEC.table);
            row.visit(&mut |index: usize, value: Option<Value<'_>>| text += &format!(" {index}={value:?}"));
            self.0.push(text);
        }
        fn custom(&mut self, row: &v1::Custom) {
            self.0.push(format!("{row:?}"));
        }
    }
    let mut rows = Rows(Vec::new());
    walk(frame, &mut rows);
    rows.0
}

proptest! {
    #[test]
    fn any_frame_comes_out_as_it_went_in(rows in any_rows()) {
        let frame = frame_of(&rows);
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes).unwrap();
        let decoded = decode(&bytes).unwrap();
        prop_assert_eq!(&decoded, &frame);
        prop_assert_eq!(walked(&decoded), walked(&frame));
    }

    /// What is sent as columns comes out as rows, in their order, and the sender has its rows again.
    #[test]
    fn any_frame_that_is_folded_comes_out_as_it_went_in(rows in any_rows(), processes in any_processes(), cores in 0u64..20) {
        let mut frame = frame_of(&rows);
        frame.oncpu_core = (0..cores).map(|core| v1::OnCpuCore { core, samples: Some(core * 1000) }).collect();
        frame.oncpu_process = processes;
        let (mut bytes, mut folded) = (Vec::new(), frame.clone());
        let taken = fold::fold(&mut folded);
        encode(&folded, &mut bytes).unwrap();
        prop_assert_eq!(&decode(&bytes).unwrap(), &frame);
        taken.put_back(&mut folded);
        prop_assert_eq!(folded, frame);
    }

    #[test]
    fn any_bytes_give_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
    }

    /// Damage to a real frame reaches deeper than noise does.
    #[test]
    fn a_damaged_frame_gives_a_frame_or_an_error(rows in any_rows(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        encode(&frame_of(&rows), &mut bytes).unwrap();
        let index = at.index(bytes.len());
        bytes[index] = to;
        let _ = decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode(&bytes);
    }

    #[test]
    fn any_topic_that_parses_prints_as_it_was(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(topic) = Topic::parse(&bytes) {
            prop_assert!(topic.is(&bytes) && !topic.is(&[&bytes[..], b"x"].concat()));
            prop_assert_eq!(topic.to_string().into_bytes(), bytes);
        }
    }
}

fn encoded(frame: &v1::Frame) -> Vec<u8> {
    frame.encode_to_vec()
}

/// Why nobody reads a frame; and for the same reason nobody writes it.
fn refused(frame: &v1::Frame) -> DecodeError {
    let why = decode(&encoded(frame)).unwrap_err();
    assert_eq!(encode(frame, &mut Vec::new()), Err(why.clone()));
    why
}

#[test]
fn each_limit_has_its_error() {
    let good = v1::Frame { header: Some(header()), ..v1::Frame::default() };
    assert!(decode(&encoded(&good)).is_ok());

    assert_eq!(decode(&vec![0; MAX_FRAME_BYTES + 1]), Err(DecodeError::TooLarge(MAX_FRAME_BYTES + 1)));
    assert_eq!(decode(&[]), Err(DecodeError::NoHeader));

    let mut other = good.clone();
    other.header.as_mut().unwrap().version = 2;
    assert_eq!(refused(&other), DecodeError::Version(2));

    let mut nameless = good.clone();
    nameless.header.as_mut().unwrap().zone = Some(v1::Zone::default());
    assert!(matches!(refused(&nameless), DecodeError::Name { field: "zone", .. }));

    let mut timeless = good.clone();
    timeless.header.as_mut().unwrap().time = 0;
    assert_eq!(refused(&timeless), DecodeError::Header("time"));

    let mut crowded = good.clone();
    crowded.net = vec![v1::Net::default(); MAX_ROWS + 1];
    assert!(matches!(refused(&crowded), DecodeError::TooMany { what: "rows of one family", .. }));

    let mut wordy = good.clone();
    wordy.net = vec![v1::Net { link: "x".repeat(MAX_TEXT_BYTES + 1), ..v1::Net::default() }];
    assert!(matches!(refused(&wordy), DecodeError::TooMany { what: "bytes of text", .. }));

    let mut named = good.clone();
    named.distribution = vec![v1::Distribution { name: "x".repeat(MAX_TEXT_BYTES + 1), ..v1::Distribution::default() }];
    assert!(matches!(refused(&named), DecodeError::TooMany { what: "bytes of text", .. }));

    let mut unpaired = good;
    unpaired.distribution = vec![v1::Distribution { lower: vec![1], upper: vec![2, 3], ..v1::Distribution::default() }];
    assert!(matches!(refused(&unpaired), DecodeError::Unpaired { .. }));
}

/// Two bytes stand for an empty row that takes hundreds in memory: rows are counted before they are decoded.
#[test]
fn a_frame_of_empty_rows_is_refused_before_it_costs_memory() {
    let net = [7 << 3 | 2, 0];
    let bytes: Vec<u8> = net.iter().copied().cycle().take(MAX_FRAME_BYTES).collect();
    assert!(matches!(decode(&bytes), Err(DecodeError::TooMany { .. })));
}

#[test]
fn zone_names_take_what_they_can_and_nothing_that_breaks_a_topic() {
    assert_eq!(ZoneName::lossy("a/b\nc").as_str(), "a_b_c");
    assert_eq!(ZoneName::lossy("").as_str(), "_");
    assert_eq!(ZoneName::lossy(&"ä".repeat(200)).as_str().len(), MAX_ZONE_NAME_BYTES - 1);
    assert!(ZoneName::new("a/b").is_err());
    let topic = Topic::new("web1", "h").unwrap().to_string();
    assert!(topic.starts_with(&Topic::subscription(&ZoneName::new("web1").unwrap())));
    assert!(!"web10/h".starts_with(&Topic::subscription(&ZoneName::new("web1").unwrap())));
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A frame with every field of every family set: to its own number and place.
fn full_frame() -> v1::Frame {
    let mut frame = v1::Frame { header: Some(header()), ..v1::Frame::default() };
    for family in FAMILIES.iter().filter(|f| f.table != "distribution") {
        let texts: Vec<String> = family.fields.iter().map(|f| format!("{}.{}", family.table, f.name)).collect();
        let values: Vec<Option<Value<'_>>> = family
            .fields
            .iter()
            .zip(&texts)
            .enumerate()
            .map(|(i, (field, text))| {
                Some(match field.ty {
                    Type::Uint => Value::Uint((family.index * 1000 + i) as u64),
                    Type::Int => Value::Int(-(i as i64)),
                    Type::Double => Value::Double(i as f64),
                    Type::Text => Value::Text(text),
                })
            })
            .collect();
        add_row(&mut frame, family.index, &values);
    }
    frame.distribution = vec![v1::Distribution {
        name: "zfs_latency".into(),
        labels: vec![v1::Label { name: "op".into(), value: "read".into() }],
        unit: "ns".into(),
        lower: vec![-8, 1024],
        upper: vec![0, 2048],
        count: vec![1, 5],
    }];
    frame.custom = vec![v1::Custom {
        table: "mine".into(),
        labels: vec![v1::Label { name: "cpu".into(), value: "0".into() }],
        values: vec![v1::Measure {
            name: "intr".into(),
            kind: v1::Kind::Counter.into(),
            unit: "interrupts".into(),
            value: Some(v1::measure::Value::Uint(9)),
        }],
    }];
    frame.announcement = vec![v1::Announcement { zone: "web1".into(), sequence: 42 }];
    frame
}

fn oncpu() -> v1::Frame {
    let oncpu_core = (0..3).map(|core| v1::OnCpuCore { core, samples: Some(core * 300) }).collect();
    let process =
        |pid, execname: &str, core| v1::OnCpuProcess { pid, execname: execname.into(), core, samples: Some(pid) };
    let oncpu_process = vec![process(700, "c", 2), process(698, "init", 0), process(702, "c", 1)];
    v1::Frame { header: Some(header()), oncpu_core, oncpu_process, ..v1::Frame::default() }
}

fn with_columns(change: impl Fn(&mut v1::OnCpuProcessColumns)) -> v1::Frame {
    let mut frame = oncpu();
    fold::fold(&mut frame);
    change(frame.oncpu_process_columns.as_mut().unwrap());
    frame
}

/// As columns and as messages, as frames had them before: format version 1 has both for ever.
#[test]
fn rows_of_oncpu_are_columns_on_the_wire_and_rows_to_whoever_decodes() {
    let frame = oncpu();
    let header = encoded(&v1::Frame { header: Some(crate::header()), ..v1::Frame::default() });
    let columns = [
        &[0xea, 0x01, 5, 0, 0xac, 0x02, 0xd8, 0x04, 0xf2, 0x01, 33][..],
        &[0x0a, 1, b'c', 0x0a, 4, b'i', b'n', b'i', b't', 0x12, 3, 0, 1, 0],
        &[0x1a, 4, 0xf8, 0x0a, 3, 8, 0x22, 3, 2, 0, 1],
        &[0x2a, 6, 0xbc, 0x05, 0xba, 0x05, 0xbe, 0x05],
    ];
    let columns = [&header[..], &columns.concat()].concat();
    assert_eq!(encoded(&with_columns(|_| {})), columns);
    assert_eq!(decode(&columns).unwrap(), frame);

    let messages = encoded(&frame);
    assert_eq!(decode(&messages).unwrap(), frame);
    // Decoders of protobuf take one after the other; so do we.
    let both = decode(&[&messages[..], &columns[header.len()..]].concat()).unwrap();
    assert_eq!(both.oncpu_process, [&frame.oncpu_process[..], &frame.oncpu_process].concat());
}

/// Behind the first names a name stands again, rather than being looked for among thousands.
#[test]
fn a_zone_with_many_names_comes_out_as_it_went_in() {
    let row = |n| v1::OnCpuProcess { pid: n, execname: (n % 100).to_string(), core: 0, samples: Some(1) };
    let frame = v1::Frame { oncpu_process: (0..200).map(row).collect(), ..oncpu() };
    let (mut folded, mut bytes) = (frame.clone(), Vec::new());
    fold::fold(&mut folded);
    assert_eq!(folded.oncpu_process_columns.as_ref().unwrap().execname.len(), 100 + 36);
    encode(&folded, &mut bytes).unwrap();
    assert_eq!(decode(&bytes).unwrap(), frame);
}

#[test]
fn rows_without_samples_and_rows_of_some_cores_stay_messages() {
    let mut frame = oncpu();
    frame.oncpu_core.remove(1);
    frame.oncpu_process[1].samples = None;
    let mut folded = frame.clone();
    fold::fold(&mut folded);
    assert_eq!(folded, frame);
}

#[test]
fn columns_that_make_no_rows_or_break_a_limit_are_refused() {
    let shorter: [fn(&mut v1::OnCpuProcessColumns); 4] = [
        |columns| columns.name.truncate(2),
        |columns| columns.pid_step.truncate(2),
        |columns| columns.core.truncate(2),
        |columns| columns.samples.truncate(2),
    ];
    for shorter in shorter {
        assert_eq!(refused(&with_columns(shorter)), DecodeError::Columns);
    }
    assert_eq!(refused(&with_columns(|columns| columns.name[2] = 2)), DecodeError::Columns);
    assert_eq!(refused(&with_columns(|columns| columns.name[2] = u64::MAX)), DecodeError::Columns);

    let wordy = with_columns(|columns| columns.execname[0] = "x".repeat(MAX_TEXT_BYTES + 1));
    assert!(matches!(refused(&wordy), DecodeError::TooMany { what: "bytes of text", .. }));

    let many = |rows: usize, name: usize| {
        with_columns(move |columns| {
            columns.execname = vec!["x".repeat(name)];
            columns.pid_step = vec![0; rows];
            (columns.name, columns.core, columns.samples) = (vec![0; rows], vec![0; rows], vec![0; rows]);
        })
    };
    assert_eq!(decode(&encoded(&many(MAX_ROWS, 8))).unwrap().oncpu_process.len(), MAX_ROWS);
    assert!(matches!(refused(&many(MAX_ROWS + 1, 8)), DecodeError::TooMany { what: "rows of one family", .. }));
    let mut both = many(MAX_ROWS, 8);
    both.oncpu_process = oncpu().oncpu_process;
    assert!(matches!(refused(&both), DecodeError::TooMany { what: "rows of one family", .. }));
    // 20 KB that would be 4 MB as rows.
    assert!(matches!(refused(&many(MAX_ROWS, MAX_TEXT_BYTES)), DecodeError::TooMany { what: "bytes of names", .. }));

    let mut cores = oncpu();
    cores.oncpu_core_samples = vec![0; MAX_ROWS];
    assert!(matches!(refused(&cores), DecodeError::TooMany { what: "rows of one family", .. }));
}

/// Two bytes stand for a name that takes 24 in memory: names are counted before they are decoded, in both halves together.
#[test]
fn columns_of_empty_names_are_refused_before_they_cost_memory() {
    let names = [1 << 3 | 2, 0].repeat(MAX_ROWS / 2 + 1);
    let half = [&[0xf2, 0x01, (names.len() & 0x7f) as u8 | 0x80, (names.len() >> 7) as u8], &names[..]].concat();
    let refused = DecodeError::TooMany { what: "rows of one family", count: MAX_ROWS + 1, limit: MAX_ROWS };
    assert_eq!(decode(&half.repeat(2)), Err(refused));
}

/// The bytes of format version 1, for ever: frames that were stored must be read by every later version. A new
/// field changes what is written here (`UPDATE=1`), never what was.
#[test]
fn golden_bytes_of_version_1_are_read() {
    let (bytes_path, rows_path) = (golden("frame-v1.binpb"), golden("frame-v1.txt"));
    if std::env::var_os("UPDATE").is_some() {
        let frame = full_frame();
        std::fs::create_dir_all(bytes_path.parent().unwrap()).unwrap();
        std::fs::write(&bytes_path, encoded(&frame)).unwrap();
        std::fs::write(&rows_path, walked(&frame).join("\n") + "\n").unwrap();
    }
    let bytes = std::fs::read(bytes_path).unwrap();
    let frame = decode(&bytes).unwrap();
    assert_eq!(walked(&frame).join("\n") + "\n", std::fs::read_to_string(rows_path).unwrap());
    assert_eq!(
        encoded(&full_frame()),
        bytes,
        "a frame of today is written as it was: else run with UPDATE=1 and look at the change"
    );
}

#[test]
fn metrics_md_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, metrics::markdown()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), metrics::markdown(), "run with UPDATE=1");
}

/// No family says the same twice, and each says where its statistics come from.
#[test]
fn every_statistic_has_a_source() {
    let own = ["collect", "agent", "distribution", "dtrace"];
    for family in FAMILIES.iter().filter(|f| !own.contains(&f.table)) {
        for field in family.fields {
            let anywhere = !field.kstat.is_empty() || !field.linux.is_empty() || field.name == "snaptime";
            assert!(anywhere || field.kind == Kind::Label, "{}.{} comes from nowhere", family.table, field.name);
        }
    }
}
