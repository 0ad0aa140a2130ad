//! Captures of real hosts, published as the generator publishes them, and compared with what is in Redis.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::Value;
use zonescope_generator::cli::Speed;
use zonescope_generator::config::{Config, PlayingOptions};
use zonescope_generator::recorded::{Playing, Recorded};
use zonescope_generator::source::{Sample, Source, Tick};

use super::{Entries, Feed, entries, text};

/// Where the captures are.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../generator/fixtures/series").join(name)
}

/// The packets of a capture as they are in its file.
pub fn packets(name: &str) -> Vec<Value> {
    let file = std::fs::File::open(path(name)).unwrap();
    let decoder = ruzstd::decoding::StreamingDecoder::new(file).unwrap();
    BufReader::new(decoder).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The generator, as its command line would run it: `run --source recorded:FILE --speed max`. It waits for a subscriber, plays the
/// capture, and ends.
pub fn generator(name: &str, host_id: &str, endpoint: &str) -> std::thread::JoinHandle<()> {
    let config = Config {
        bind: endpoint.to_owned(),
        source: format!("recorded:{}", path(name).display()),
        host_id: Some(host_id.to_owned()),
        playing: PlayingOptions { speed: Some(Speed::Max), ..PlayingOptions::default() },
        ..Config::default()
    };
    std::thread::spawn(move || zonescope_generator::run::run(config).unwrap())
}

/// Plays a capture through the generator's recorded source alone; `between` runs after each tick. Gives the number of ticks.
pub fn play(name: &str, feed: &mut Feed, mut between: impl FnMut(u64)) -> u64 {
    let capture = zonescope_generator::recorded::series::Series::open(path(name)).unwrap();
    let mut source = Recorded::new(Box::new(capture), Playing { repeat: false, zones: 0 });
    let mut ticks = 0;
    loop {
        let mut sample = Sample::default();
        let tick = Tick { time_ns: 0, interval_ns: 1_000_000_000 };
        if source.sample(tick, &mut sample).is_err() {
            return ticks;
        }
        let time_ms = sample.time_ns.unwrap() / 1_000_000;
        for (_, zone) in sample.zones {
            feed.publish(zone.zone, *zone.frame, time_ms);
        }
        feed.announce(time_ms);
        ticks += 1;
        between(ticks);
    }
}

/// Which table of ours holds which part of a packet, and what its rows are called there.
const PARTS: [(&str, &str, &str); 3] =
    [("net", "net", "link"), ("disk", "disk", "device"), ("disk", "disk_error", "device")];
/// Statistics of the 2013 system that have another name now.
const RENAMED: [(&str, &str); 3] =
    [("harderror", "hard_errors"), ("softerror", "soft_errors"), ("tranerror", "transport_errors")];

/// Compares every value of every packet with the zone's history; gives how many were equal.
pub fn compare(packets: &[Value], connection: &mut impl redis::ConnectionLike, host: &str) -> usize {
    let zone = packets[0]["zone"].as_str().unwrap().to_owned();
    let mut history =
        |table: &str| by_time(entries(connection, &format!("zonescope:{{{host}/{zone}}}:history:{table}")));
    let tables: HashMap<&str, _> = [
        "net",
        "disk",
        "disk_error",
        "zone_vfs",
        "zone_zfs",
        "memory",
        "host_memory",
        "oncpu",
        "oncpu_core",
        "oncpu_process",
    ]
    .map(|table| (table, history(table)))
    .into();
    let none = Entries::new();
    let mut equal = 0;
    for packet in packets {
        let time = packet["time"].as_u64().unwrap() * 1000;
        let rows = |table: &str| tables[table].get(&time).unwrap_or(&none);
        for (part, table, label) in PARTS {
            let own = |row: &&Value| !["zone_vfs", "zone_zfs"].contains(&row["instance"].as_str().unwrap());
            let expected: Vec<&Value> = packet[part].as_array().unwrap().iter().filter(own).collect();
            if table != "disk_error" {
                assert_eq!(rows(table).len(), expected.len(), "rows of {table} at {time}");
            }
            for row in expected {
                let found = rows(table).iter().find(|(_, f)| text(f, label) == row["instance"].as_str());
                equal += found.map_or(0, |(_, fields)| same(row, fields, time));
            }
        }
        for table in ["zone_vfs", "zone_zfs"] {
            let row = packet["disk"].as_array().unwrap().iter().find(|row| row["instance"] == table);
            equal += row.map_or(0, |row| same(row, &rows(table)[0].1, time));
        }
        equal += same(&packet["mem"], &rows("memory")[0].1, time);
        equal += rows("host_memory").first().map_or(0, |(_, fields)| same(&packet["mem"], fields, time));
        equal += same(packet, &rows("oncpu")[0].1, time);
        let cores = rows("oncpu_core").iter().map(|(_, f)| text(f, "samples").unwrap().parse().unwrap());
        let cores: Vec<u64> = cores.collect();
        assert_eq!(Value::from(cores.clone()), packet["cpu"], "cores at {time}");
        let processes = packet["proc"].as_array().unwrap();
        assert_eq!(rows("oncpu_process").len(), processes.len(), "processes at {time}");
        for (process, (_, fields)) in processes.iter().zip(rows("oncpu_process")) {
            assert_eq!(process["execname"].as_str(), text(fields, "execname"));
            for (theirs, ours) in [("pid", "pid"), ("usage", "samples"), ("cpu", "core")] {
                assert_eq!(process[theirs].to_string(), text(fields, ours).unwrap(), "{ours} at {time}");
            }
        }
        equal += cores.len() + 4 * processes.len();
    }
    equal
}

fn by_time(all: Entries) -> HashMap<u64, Entries> {
    let mut by_time: HashMap<u64, Entries> = HashMap::new();
    for (id, fields) in all {
        let (ms, _) = id.split_once('-').unwrap();
        by_time.entry(ms.parse().unwrap()).or_default().push((id, fields));
    }
    by_time
}

/// Every statistic in `fields` is in the packet's row and equal to it.
fn same(row: &Value, fields: &[(String, String)], time: u64) -> usize {
    let mut equal = 0;
    for (name, value) in fields {
        let theirs = RENAMED.iter().find(|(_, ours)| ours == name).map_or(name.as_str(), |(theirs, _)| theirs);
        if let Some(expected) = row.get(theirs) {
            assert_eq!(&expected.to_string(), value, "{name} at {time}");
            equal += 1;
        } else {
            assert!(name.ends_with("/s") || ["link", "device"].contains(&name.as_str()), "{name} comes from nowhere");
        }
    }
    equal
}
