//! Rates are those of `zonescope_proto::rate`: across resets, steps back and wraps, and NULL where there is none.

use zonescope_proto::v1;

use crate::support::*;

fn cpu(sequence: u64, nsec_user: Option<u64>, crtime: Option<u64>) -> v1::Frame {
    v1::Frame { cpu: Some(v1::Cpu { nsec_user, crtime, ..v1::Cpu::default() }), ..frame("web1", sequence) }
}

fn rates(root: &Root) -> Vec<Option<f64>> {
    root.ask("select nsec_user from cpu_rates order by time").numbers()
}

#[test]
fn a_counter_grows_starts_over_and_steps_back() {
    let root = Root::new();
    root.store(&[
        cpu(1, Some(1_000), None),
        cpu(2, Some(3_000), None),
        cpu(3, Some(2_990), None),
        cpu(4, Some(40), None),
        cpu(6, Some(140), None),
        cpu(7, None, None),
        cpu(8, Some(500), None),
    ]);
    let expected = [None, Some(2_000.0), Some(0.0), Some(40.0), Some(50.0), None, None];
    assert_eq!(rates(&root), expected, "grew, stepped back, began anew, over two seconds, unknown, after unknown");
}

#[test]
fn another_creation_time_or_zone_id_is_another_counter() {
    let root = Root::new();
    let mut rebooted = cpu(3, Some(900), Some(8));
    header(&mut rebooted).zone.as_mut().unwrap().id = 8;
    root.store(&[cpu(1, Some(500), Some(7)), cpu(2, Some(600), Some(8)), rebooted]);
    assert_eq!(rates(&root), [None, Some(600.0), Some(900.0)]);
}

#[test]
fn a_32_bit_counter_wraps_and_a_64_bit_one_does_not() {
    let root = Root::new();
    let net = |sequence, packets| v1::Frame {
        net: vec![v1::Net {
            link: "net0".to_owned(),
            ipackets: Some(packets),
            rbytes64: Some(packets),
            ..v1::Net::default()
        }],
        ..frame("web1", sequence)
    };
    root.store(&[net(1, 4_294_966_526), net(2, 996)]);
    let row = root.ask("select ipackets, rbytes64 from net_rates where ipackets is not null").cells;
    assert_eq!(row, [[Cell::Double(1_766.0), Cell::Double(996.0)]]);
}

#[test]
fn time_between_rows_is_that_at_which_they_were_read() {
    let root = Root::new();
    let at = |sequence, snaptime| {
        let mut frame = busy("web1", sequence, sequence * 1_000);
        frame.cpu.as_mut().unwrap().snaptime = Some(snaptime);
        frame
    };
    root.store(&[at(1, 0), at(2, 1_000_000_000)]);
    assert_eq!(rates(&root), [None, Some(500.0)]);
}

#[test]
fn over_a_long_gap_there_is_no_rate() {
    let root = Root::new();
    root.store(&[busy("web1", 1, 0), busy("web1", 301, 300), busy("web1", 602, 602)]);
    assert_eq!(rates(&root), [None, Some(1.0), None]);
}

#[test]
fn series_are_kept_apart_and_gauges_are_as_they_are() {
    let root = Root::new();
    let disk = |device: &str, nread, wcnt| v1::Disk {
        device: device.to_owned(),
        nread: Some(nread),
        wcnt: Some(wcnt),
        ..v1::Disk::default()
    };
    let tick =
        |sequence, zone, a, b| v1::Frame { disk: vec![disk("sd0", a, 3), disk("sd1", b, 4)], ..frame(zone, sequence) };
    root.store(&[tick(1, "web1", 10, 1_000), tick(1, "web2", 500, 0)]);
    root.store(&[tick(2, "web1", 15, 1_001), tick(2, "web2", 500, 7)]);
    let rows =
        root.ask("select zone, device, nread, wcnt from disk_rates where nread is not null order by zone, device");
    let row = |zone: &str, device: &str, rate, wcnt| {
        vec![Cell::Text(zone.to_owned()), Cell::Text(device.to_owned()), Cell::Double(rate), Cell::Uint(wcnt)]
    };
    let expected = [
        row("web1", "sd0", 5.0, 3),
        row("web1", "sd1", 1.0, 4),
        row("web2", "sd0", 0.0, 3),
        row("web2", "sd1", 7.0, 4),
    ];
    assert_eq!(rows.cells, expected);

    let long =
        "select zone, key, unit, rate from rates where family = 'disk' and statistic = 'nread' order by zone, key";
    let row = |zone: &str, key: &str, rate| {
        vec![
            Cell::Text(zone.to_owned()),
            Cell::Text(key.to_owned()),
            Cell::Text("bytes/s".to_owned()),
            Cell::Double(rate),
        ]
    };
    let expected = [
        row("web1", "device=sd0", 5.0),
        row("web1", "device=sd1", 1.0),
        row("web2", "device=sd0", 0.0),
        row("web2", "device=sd1", 7.0),
    ];
    assert_eq!(root.ask(long).cells, expected);
    assert_eq!(root.count("select count(*) from rates"), 4, "unknown rates have no row");
}

#[test]
fn a_where_changes_which_rows_there_are_and_not_what_they_say() {
    let root = Root::new();
    let frames: Vec<v1::Frame> = (1..=600).flat_map(|i| [busy("web1", i, i * i), busy("web2", i, i * 3)]).collect();
    for part in frames.chunks(500) {
        root.store(part);
    }
    for clause in [
        "time >= '2025-11-21T08:05:00Z' and time < '2025-11-21T08:05:10Z'",
        "time = '2025-11-21T08:04:00Z'",
        "zone = 'web1' and time > '2025-11-21T08:09:50Z'",
        "zone in ('web2', 'web3') and zone_id = 7 and time between '2025-11-21T08:00:00Z' and '2025-11-21T08:00:03Z'",
        "nsec_user > 100 or time < '2025-11-21T08:00:05Z'",
    ] {
        let narrow = root.ask(&format!("select zone, time, nsec_user from cpu_rates where {clause}")).sorted();
        let wide = root.ask(&format!(
            "select * from (select zone, zone_id, time, nsec_user from cpu_rates limit 100000) t where {clause}"
        ));
        let wide =
            Rows { cells: wide.cells.into_iter().map(|r| [&r[..1], &r[2..]].concat()).collect(), ..wide }.sorted();
        assert!(!narrow.is_empty());
        assert_eq!(narrow, wide, "{clause}");
    }
}
