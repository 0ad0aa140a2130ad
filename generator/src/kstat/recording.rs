//! Chains in JSON lines: what `zonescope-generator record --kstat` writes, and what other tools' captures look like.
//!
//! ```text
//! {"zonescope": "kstat", "version": 1, "page_size": 4096}
//! {"tick": {"utc_ns": 1371000000000000000, "hrtime_ns": 9918612653269438}}
//! {"module": "zones", "instance": 6, "name": "web1", "class": "zone_misc", "crtime_ns": 1, "snaptime_ns": 2, "data": {"nsec_user": 3}}
//! ```
//!
//! Without the first two lines it is one chain of unknown time. `data` is `null` where a kstat could not be read.

use std::io::{BufRead, Write};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::chain::{Kstat, Moment, Stat};
use super::owned::{OwnedKstat, OwnedStat};

/// Most problems that are described; the rest are only counted.
const DESCRIBED: usize = 8;

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// What a file held.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    /// One chain a tick.
    pub ticks: Vec<(Moment, Vec<OwnedKstat>)>,
    /// How many lines could not be read.
    pub problems: u64,
    /// The first of them.
    pub described: Vec<Problem>,
}

impl Captures {
    /// Counts a line that could not be read.
    pub fn problem(&mut self, problem: Problem) {
        self.problems += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(problem);
        }
    }
}

/// One line of a recording.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Kstat(KstatLine),
    Tick {
        tick: TickLine,
    },
    Head {
        #[serde(rename = "zonescope")]
        _form: String,
        page_size: Option<u64>,
    },
}

#[derive(Debug, Deserialize, Serialize)]
struct TickLine {
    utc_ns: u64,
    hrtime_ns: u64,
}

#[derive(Debug, Deserialize)]
struct KstatLine {
    module: String,
    instance: i32,
    name: String,
    class: Option<String>,
    crtime_ns: Option<u64>,
    snaptime_ns: Option<u64>,
    data: Option<Stats>,
}

/// Statistics in order, repeated names kept: a map would lose both.
#[derive(Debug, Default)]
struct Stats(Vec<(Box<str>, OwnedStat)>);

impl<'de> Deserialize<'de> for Stats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Stats;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("statistics by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stats, A::Error> {
                let mut stats = Stats::default();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    let stat = match value {
                        serde_json::Value::Number(n) => OwnedStat::parse(&n.to_string()),
                        serde_json::Value::String(text) => OwnedStat::Text(text.into()),
                        other => OwnedStat::Text(other.to_string().into()),
                    };
                    stats.0.push((name.into(), stat));
                }
                Ok(stats)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Reads everything; lines that are none are counted.
///
/// # Errors
/// Where the file cannot be read.
pub fn read(reader: impl BufRead) -> std::io::Result<Captures> {
    let mut captures = Captures::default();
    let mut page_size = super::X86_PAGE_SIZE;
    for (number, line) in reader.split(b'\n').enumerate() {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Head { page_size: size, .. }) => page_size = size.unwrap_or(page_size),
            Ok(Line::Tick { tick }) => {
                let moment = Moment { hrtime_ns: Some(tick.hrtime_ns), utc_ns: Some(tick.utc_ns), page_size };
                captures.ticks.push((moment, Vec::new()));
            }
            Ok(Line::Kstat(kstat)) => {
                if captures.ticks.is_empty() {
                    captures.ticks.push((Moment { page_size, ..Moment::default() }, Vec::new()));
                }
                if let Some((_, kstats)) = captures.ticks.last_mut() {
                    kstats.push(owned(kstat));
                }
            }
            Err(error) => captures.problem(Problem { line: number + 1, what: error.to_string() }),
        }
    }
    Ok(captures)
}

fn owned(line: KstatLine) -> OwnedKstat {
    OwnedKstat {
        module: line.module.into(),
        instance: line.instance,
        name: line.name.into(),
        class: line.class.map(Into::into),
        crtime_ns: line.crtime_ns,
        snaptime_ns: line.snaptime_ns,
        stats: line.data.map(|s| s.0),
    }
}

/// Writes the head of a recording.
///
/// # Errors
/// Where it cannot be written.
pub fn write_head(out: &mut impl Write, page_size: u64) -> std::io::Result<()> {
    writeln!(out, r#"{{"zonescope": "kstat", "version": 1, "page_size": {page_size}}}"#)
}

/// Writes the beginning of a tick.
///
/// # Errors
/// Where it cannot be written.
pub fn write_tick(out: &mut impl Write, utc_ns: u64, hrtime_ns: u64) -> std::io::Result<()> {
    let tick = serde_json::json!({ "tick": TickLine { utc_ns, hrtime_ns } });
    writeln!(out, "{tick}")
}

/// Writes one kstat.
///
/// # Errors
/// Where it cannot be written.
pub fn write_kstat(out: &mut impl Write, kstat: &Kstat<'_>) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Out<'a> {
        module: &'a str,
        instance: i32,
        name: &'a str,
        crtime_ns: Option<u64>,
        snaptime_ns: Option<u64>,
        data: Pairs<'a>,
    }
    let line = Out {
        module: kstat.id.module,
        instance: kstat.id.instance,
        name: kstat.id.name,
        crtime_ns: kstat.crtime_ns,
        snaptime_ns: kstat.snaptime_ns,
        data: Pairs(kstat.stats),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Statistics as they stand, repeated names and all.
struct Pairs<'a>(&'a [(&'a str, Stat<'a>)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, stat) in self.0 {
            match stat {
                Stat::Uint(v) => map.serialize_entry(name, v)?,
                Stat::Int(v) => map.serialize_entry(name, v)?,
                Stat::Double(v) => map.serialize_entry(name, v)?,
                Stat::Text(v) => map.serialize_entry(name, v)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let stats = [("a", Stat::Uint(u64::MAX)), ("a", Stat::Int(-4)), ("", Stat::Text("ü\"\\"))];
        let id = super::super::chain::Id { module: "m", instance: -1, name: "n" };
        let kstat = Kstat { id, crtime_ns: Some(5), snaptime_ns: None, stats: &stats };
        let mut file = Vec::new();
        write_head(&mut file, 8192).unwrap();
        write_tick(&mut file, 77, 5).unwrap();
        write_kstat(&mut file, &kstat).unwrap();
        let captures = read(file.as_slice()).unwrap();
        assert_eq!(captures.problems, 0);
        let (moment, kstats) = &captures.ticks[0];
        assert_eq!(*moment, Moment { hrtime_ns: Some(5), utc_ns: Some(77), page_size: 8192 });
        assert_eq!(
            kstats[0].stats.as_ref().unwrap(),
            &[
                ("a".into(), OwnedStat::Uint(u64::MAX)),
                ("a".into(), OwnedStat::Int(-4)),
                ("".into(), OwnedStat::Text("ü\"\\".into()))
            ]
        );
    }

    #[test]
    fn a_capture_cut_in_the_middle_of_a_line_gives_the_rest() {
        let text = "{\"module\":\"m\",\"instance\":0,\"name\":\"n\",\"data\":null}\n{\"module\":\"m\",\"inst";
        let captures = read(text.as_bytes()).unwrap();
        assert_eq!((captures.ticks[0].1.len(), captures.problems), (1, 1));
    }
}
