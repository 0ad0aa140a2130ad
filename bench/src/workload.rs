//! The workload: the packets of a real host in 2013 as the generator makes frames of them, and any number of copies of it
//! under zone names of their own.
//!
//! A copy is made by putting a header before the rows as they were encoded once: protobuf allows it, and what a copy costs to make is not
//! what is measured.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use zonescope_generator::recorded::Capture;
use zonescope_generator::recorded::series::Series;
use zonescope_generator::source::Sample;
use zonescope_link::publish::{Identity, Sealer};
use zonescope_proto::fold::fold;
use zonescope_proto::{FORMAT_VERSION, Family, Message, Sink, Value, v1, walk};

/// The columns of the table into which the original collector put a packet: bytes per value are counted by them, so that
/// they compare with what was measured of it.
pub(crate) const ORIGINAL_COLUMNS: u64 = 130;

/// The host that the packets come from; it said nothing of itself. As long as a real one's.
const HOST_ID: &str = "44454c4c-3900-1032-8042-b4c04f4d3232";
const HOST: &str = "compute-07";
/// Start of the generator: before the first packet.
const EPOCH_NS: u64 = 1_376_000_000_000_000_000;
const INTERVAL_MS: u32 = 1000;

/// One packet.
pub(crate) struct Packet {
    pub(crate) zone: v1::Zone,
    pub(crate) time_ns: u64,
    /// Its rows, without a header.
    pub(crate) rows: v1::Frame,
}

/// Every packet of the captures in a folder, by time.
pub(crate) fn packets(data: &Path) -> anyhow::Result<Vec<Packet>> {
    let mut files: Vec<_> = fs::read_dir(data)
        .with_context(|| format!("cannot read {}: give --data the folder of the captures", data.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".packets.jsonl.zst"))
        .collect();
    files.sort_unstable();
    anyhow::ensure!(!files.is_empty(), "{} has no *.packets.jsonl.zst", data.display());
    let mut packets = Vec::new();
    for file in files {
        let mut capture = Series::open(file.clone()).with_context(|| file.display().to_string())?;
        let mut sample = Sample::default();
        while let Some(time) = capture.next(&mut sample) {
            let time_ns = time.context("a packet without a time")?;
            let zones = std::mem::take(&mut sample).zones.into_values();
            packets.extend(zones.map(|zone| Packet { zone: zone.zone, time_ns, rows: *zone.frame }));
        }
    }
    // Captures of one zone may overlap by a second.
    packets.sort_by(|a, b| (a.time_ns, &a.zone.name).cmp(&(b.time_ns, &b.zone.name)));
    packets.dedup_by(|a, b| (a.time_ns, &a.zone.name) == (b.time_ns, &b.zone.name));
    Ok(packets)
}

/// A sealer of this host.
pub(crate) fn sealer() -> Sealer {
    Sealer::new(identity())
}

/// Who publishes.
pub(crate) fn identity() -> Identity {
    Identity { host_id: HOST_ID.into(), host: HOST.into(), epoch: EPOCH_NS }
}

/// A packet as it is sent.
struct Encoded {
    zone: v1::Zone,
    time_ns: u64,
    /// Without a header.
    rows: Vec<u8>,
    /// The number of its zone, and which of that zone's packets it is.
    place: (usize, usize),
}

/// Packets by which each copy is ahead of the one before, where copies are not to be alike: more than two hours, so that what both have of an
/// hour has nothing in common.
const AHEAD: usize = 7919;

/// Frames of all copies, as they travel: all zones of a second, then the next second.
pub(crate) struct Frames {
    packets: Vec<Encoded>,
    copies: usize,
    /// Where the packets of each zone are; none where copies are alike.
    of_zones: Vec<Vec<usize>>,
    /// The captures follow each other so often, each time later.
    rounds: u64,
    span_ns: u64,
    sequences: HashMap<String, u64>,
}

impl Frames {
    /// Copies lie side by side when they are stored, and what compresses finds them where they are alike. `apart` gives each copy the rows of
    /// another moment.
    pub(crate) fn new(packets: &[Packet], copies: usize, rounds: u64, apart: bool) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut of_zones: Vec<Vec<usize>> = Vec::new();
        let encoded = packets.iter().enumerate().map(|(index, packet)| {
            let next = numbers.len();
            let zone = *numbers.entry(&packet.zone.name).or_insert(next);
            of_zones.resize_with(numbers.len(), Vec::new);
            of_zones[zone].push(index);
            let place = (zone, of_zones[zone].len() - 1);
            Encoded { zone: packet.zone.clone(), time_ns: packet.time_ns, rows: folded(&packet.rows), place }
        });
        let encoded = encoded.collect();
        if !apart {
            of_zones.clear();
        }
        let (first, last) = (packets.first().map_or(0, |p| p.time_ns), packets.last().map_or(0, |p| p.time_ns));
        Frames {
            packets: encoded,
            copies,
            of_zones,
            rounds,
            span_ns: last - first + 1_000_000_000,
            sequences: HashMap::new(),
        }
    }

    /// Hands out every frame, in `bunches` as a receiver takes them.
    pub(crate) fn for_each_bunch(
        mut self,
        bunch: usize,
        mut take: impl FnMut(&[Vec<u8>]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let packets = std::mem::take(&mut self.packets);
        let mut frames: Vec<Vec<u8>> = Vec::with_capacity(bunch);
        for round in 0..self.rounds {
            for Encoded { zone, time_ns, rows, place } in &packets {
                for copy in 0..self.copies {
                    let others = self.of_zones.get(place.0).filter(|_| copy > 0);
                    let rows = others.map_or(rows, |at| &packets[at[(place.1 + copy * AHEAD) % at.len()]].rows);
                    frames.push(self.frame(zone, copy, time_ns + round * self.span_ns, rows));
                    if frames.len() == bunch {
                        take(&frames)?;
                        frames.clear();
                    }
                }
            }
        }
        if frames.is_empty() { Ok(()) } else { take(&frames) }
    }

    fn frame(&mut self, zone: &v1::Zone, copy: usize, time: u64, rows: &[u8]) -> Vec<u8> {
        let name = if self.copies == 1 { zone.name.clone() } else { format!("{}-{copy:04}", zone.name) };
        let sequence = self.sequences.entry(name.clone()).or_default();
        *sequence += 1;
        let header = v1::Header {
            version: FORMAT_VERSION,
            host_id: HOST_ID.into(),
            host: HOST.into(),
            zone: Some(v1::Zone { name, ..zone.clone() }),
            epoch: EPOCH_NS,
            sequence: *sequence,
            time,
            interval_ms: INTERVAL_MS,
        };
        let mut bytes = v1::Frame { header: Some(header), ..v1::Frame::default() }.encode_to_vec();
        bytes.extend_from_slice(rows);
        bytes
    }
}

/// Rows as they are sent.
fn folded(rows: &v1::Frame) -> Vec<u8> {
    let mut rows = rows.clone();
    fold(&mut rows);
    rows.encode_to_vec()
}

/// Counts rows, and values that are there.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) values: u64,
}

impl Sink for Tally {
    fn row<F: Family>(&mut self, row: &F) {
        self.rows += 1;
        row.visit(&mut |_: usize, value: Option<Value<'_>>| self.values += u64::from(value.is_some()));
    }

    fn custom(&mut self, _: &v1::Custom) {}
}

/// Bytes of frames: of all, and of those that are like the packet that the original sent.
pub(crate) fn wire(data: &Path) -> anyhow::Result<serde_json::Value> {
    let packets = packets(data)?;
    let mut sealer = sealer();
    let mut groups: Vec<(&str, Vec<usize>)> =
        vec![("all", Vec::new()), ("full", Vec::new()), ("zones", Vec::new()), ("global", Vec::new())];
    let mut tally = Tally::default();
    let mut header = 0;
    for packet in packets {
        let Packet { zone, time_ns, mut rows } = packet;
        walk(&rows, &mut tally);
        let is_global = zone.name == "global";
        let is_full = rows.oncpu_process.len() == 20;
        let without = folded(&rows).len();
        let (_, bytes) = sealer.seal(Some(zone), &mut rows, time_ns, INTERVAL_MS)?;
        header += bytes.len() - without;
        for (name, sizes) in &mut groups {
            let counts = match *name {
                "full" => is_full && !is_global,
                "zones" => !is_global,
                "global" => is_global,
                _ => true,
            };
            if counts {
                sizes.push(bytes.len());
            }
        }
    }
    let frames = groups.first().map_or(0, |(_, sizes)| sizes.len()).max(1);
    let describe = |sizes: &mut Vec<usize>| {
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<usize>() as f64 / sizes.len().max(1) as f64;
        json!({ "frames": sizes.len(), "mean": mean, "least": sizes.first(), "median": sizes.get(sizes.len() / 2), "most": sizes.last() })
    };
    let mut result: serde_json::Map<_, _> =
        groups.iter_mut().map(|(name, sizes)| ((*name).to_owned(), describe(sizes))).collect();
    result.insert("header_mean".into(), json!(header as f64 / frames as f64));
    result.insert("values_per_frame".into(), json!(tally.values as f64 / frames as f64));
    result.insert("rows_per_frame".into(), json!(tally.rows as f64 / frames as f64));
    Ok(result.into())
}
