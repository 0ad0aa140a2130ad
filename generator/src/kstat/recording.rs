//! Chains in JSON lines: what `zonescope-generator record --kstat` writes, and what other tools' captures look like.
//!
//! ```text
//! {"zonescope": "kstat", "version": 1, "page_size": 4096}
//! {"tick": {"utc_ns": 1371000000000000000, "hrtime_ns": 9918612653269438}}
//! {"module": "zones", "instance": 6, "name": "web1", "class": "zone_misc", "crtime_ns": 1, "snaptime_ns": 2, "data": {"nsec_user": 3}}
//! ```
//!
//! Without the first two lines it is one chain of unknown time. `data` is `null` where a kstat could not be read.
//! [`Replay`](super::replay::Replay) reads it.

use std::io::Write;

use serde::de::{self, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::chain::{Id, Kstat, Stat, Visitor};
use super::custom::Custom;
use super::owned::{OwnedKstat, OwnedStat};

/// One line of a recording.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// The first one: the size of a page, bytes.
    Head(Option<u64>),
    /// A tick begins.
    Tick(TickLine),
    /// A kstat of the tick.
    Kstat(OwnedKstat),
}

/// When a tick's chain was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub struct TickLine {
    /// ns since 1970 UTC.
    pub utc_ns: u64,
    /// The same instant in hrtime, ns.
    pub hrtime_ns: u64,
}

/// Everything that a line can hold. (Serde's untagged enums would read each line twice.)
#[derive(Debug, Deserialize)]
struct Fields {
    zonescope: Option<String>,
    page_size: Option<u64>,
    tick: Option<TickLine>,
    module: Option<Box<str>>,
    #[serde(default)]
    instance: i32,
    #[serde(default)]
    name: Box<str>,
    class: Option<Box<str>>,
    crtime_ns: Option<u64>,
    snaptime_ns: Option<u64>,
    data: Option<Stats>,
}

/// Reads a line.
///
/// # Errors
/// Says why it is none.
pub fn parse(line: &[u8]) -> Result<Line, String> {
    let fields: Fields = match serde_json::from_slice(line) {
        Ok(fields) => fields,
        // Drivers name things in any bytes.
        Err(_) if std::str::from_utf8(line).is_err() => {
            serde_json::from_str(&String::from_utf8_lossy(line)).map_err(|e| e.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    if fields.zonescope.is_some() {
        return Ok(Line::Head(fields.page_size));
    }
    if let Some(tick) = fields.tick {
        return Ok(Line::Tick(tick));
    }
    Ok(Line::Kstat(OwnedKstat {
        module: fields.module.ok_or("neither a kstat nor a tick")?,
        instance: fields.instance,
        name: fields.name,
        class: fields.class,
        crtime_ns: fields.crtime_ns,
        snaptime_ns: fields.snaptime_ns,
        stats: fields.data.map(|stats| stats.0),
    }))
}

/// Statistics in order, repeated names kept: a map would lose both.
#[derive(Debug, Default)]
struct Stats(Vec<(Box<str>, OwnedStat)>);

impl<'de> Deserialize<'de> for Stats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> de::Visitor<'de> for Pairs {
            type Value = Stats;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("statistics by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stats, A::Error> {
                let mut stats = Stats::default();
                while let Some((name, value)) = map.next_entry::<Box<str>, serde_json::Value>()? {
                    let stat = match value {
                        serde_json::Value::Number(n) => number(&n),
                        serde_json::Value::String(text) => OwnedStat::Text(text.into()),
                        other => OwnedStat::Text(other.to_string().into()),
                    };
                    stats.0.push((name, stat));
                }
                Ok(stats)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn number(number: &serde_json::Number) -> OwnedStat {
    match (number.as_u64(), number.as_i64()) {
        (Some(v), _) => OwnedStat::Uint(v),
        (_, Some(v)) => OwnedStat::Int(v),
        _ => OwnedStat::Double(number.as_f64().unwrap_or(0.0)),
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

/// Writes every kstat that some family wants, or that the user asked for.
pub struct Writer<'a, W> {
    out: &'a mut W,
    custom: &'a Custom,
    result: std::io::Result<()>,
}

impl<'a, W: Write> Writer<'a, W> {
    /// Writes to `out`.
    pub fn new(out: &'a mut W, custom: &'a Custom) -> Self {
        Writer { out, custom, result: Ok(()) }
    }

    /// Whether all was written.
    ///
    /// # Errors
    /// Where it was not.
    pub fn finish(self) -> std::io::Result<()> {
        self.result
    }
}

impl<W: Write> Visitor for Writer<'_, W> {
    fn wants(&self, id: Id<'_>) -> bool {
        self.result.is_ok() && (super::wanted(id) || self.custom.wants(id))
    }

    fn kstat(&mut self, kstat: &Kstat<'_>) {
        if self.result.is_ok() {
            self.result = write_kstat(self.out, kstat);
        }
    }
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
        let stats =
            [("a", Stat::Uint(u64::MAX)), ("a", Stat::Int(-4)), ("", Stat::Text("ü\"\\")), ("f", Stat::Double(0.5))];
        let id = Id { module: "m", instance: -1, name: "n" };
        let kstat = Kstat { id, crtime_ns: Some(5), snaptime_ns: None, stats: &stats };
        let mut file = Vec::new();
        write_head(&mut file, 8192).unwrap();
        write_tick(&mut file, 77, 5).unwrap();
        write_kstat(&mut file, &kstat).unwrap();
        let lines: Vec<Line> = file.trim_ascii_end().split(|b| *b == b'\n').map(|l| parse(l).unwrap()).collect();
        let expected = OwnedKstat {
            module: "m".into(),
            instance: -1,
            name: "n".into(),
            crtime_ns: Some(5),
            stats: Some(vec![
                ("a".into(), OwnedStat::Uint(u64::MAX)),
                ("a".into(), OwnedStat::Int(-4)),
                ("".into(), OwnedStat::Text("ü\"\\".into())),
                ("f".into(), OwnedStat::Double(0.5)),
            ]),
            ..OwnedKstat::default()
        };
        let tick = TickLine { utc_ns: 77, hrtime_ns: 5 };
        assert_eq!(lines, [Line::Head(Some(8192)), Line::Tick(tick), Line::Kstat(expected)]);
    }
}
