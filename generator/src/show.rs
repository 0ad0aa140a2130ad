//! Frames as text: for people, and as JSON. Both walk the families, so that a new one shows up by itself.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value as Json};
use zonescope_proto::families::join_labels;
use zonescope_proto::{Family, Kind, Sink, Value, v1, walk};

/// What to leave out.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this family.
    pub family: Option<String>,
}

impl Filter {
    fn takes(&self, table: &str) -> bool {
        self.family.as_deref().is_none_or(|f| f == table)
    }
}

/// A zone's frame as one JSON object: who and when, then each family by name. What is not known is left out.
pub fn json(zone: &v1::Zone, frame: &v1::Frame, time_ns: u64, filter: &Filter) -> Json {
    let mut sink = JsonSink { families: Map::new(), filter };
    walk(frame, &mut sink);
    let mut object = Map::new();
    object.insert("zone".to_owned(), zone.name.clone().into());
    object.insert("zone_id".to_owned(), zone.id.into());
    object.insert("brand".to_owned(), zone.brand.clone().into());
    object.insert("time_ns".to_owned(), time_ns.into());
    object.append(&mut sink.families);
    Json::Object(object)
}

struct JsonSink<'a> {
    families: Map<String, Json>,
    filter: &'a Filter,
}

impl JsonSink<'_> {
    fn add(&mut self, table: &str, many: bool, row: Map<String, Json>) {
        if !self.filter.takes(table) {
            return;
        }
        if !many {
            self.families.insert(table.to_owned(), Json::Object(row));
            return;
        }
        let rows = self.families.entry(table.to_owned()).or_insert_with(|| Json::Array(Vec::new()));
        if let Json::Array(rows) = rows {
            rows.push(Json::Object(row));
        }
    }
}

impl Sink for JsonSink<'_> {
    fn row<F: Family>(&mut self, row: &F) {
        let mut object = Map::new();
        row.visit(&mut |index: usize, value: Option<Value<'_>>| {
            if let Some(value) = value {
                object.insert(F::SPEC.fields[index].name.to_owned(), to_json(value));
            }
        });
        self.add(F::SPEC.table, F::SPEC.many, object);
    }

    fn custom(&mut self, row: &v1::Custom) {
        let labels = row.labels.iter().map(|l| (l.name.clone(), l.value.clone().into()));
        let values = row.values.iter().filter_map(|m| Some((m.name.clone(), measure(m)?)));
        self.add(&row.table, true, labels.chain(values).collect());
    }
}

fn measure(measure: &v1::Measure) -> Option<Json> {
    Some(match measure.value.as_ref()? {
        v1::measure::Value::Uint(v) => (*v).into(),
        v1::measure::Value::Int(v) => (*v).into(),
        v1::measure::Value::Double(v) => Number::from_f64(*v).map_or(Json::Null, Json::Number),
        v1::measure::Value::Text(v) => v.clone().into(),
    })
}

fn to_json(value: Value<'_>) -> Json {
    match value {
        Value::Uint(v) => v.into(),
        Value::Int(v) => v.into(),
        Value::Double(v) => Number::from_f64(v).map_or(Json::Null, Json::Number),
        Value::Text(v) => v.into(),
    }
}

/// A zone's frame as text: a line a row, its labels, then `statistic value` pairs in people's units.
pub fn text(zone: &v1::Zone, frame: &v1::Frame, filter: &Filter) -> String {
    let mut sink = TextSink { out: String::new(), filter };
    walk(frame, &mut sink);
    if sink.out.is_empty() {
        return String::new();
    }
    let brand = if zone.brand.is_empty() { String::new() } else { format!(" ({})", zone.brand) };
    format!("{}{brand}\n{}", zone.name, sink.out)
}

struct TextSink<'a> {
    out: String,
    filter: &'a Filter,
}

impl TextSink<'_> {
    /// Words, wrapped behind a heading of their own.
    fn line(&mut self, table: &str, words: &[String]) {
        const WIDTH: usize = 100;
        let mut line = format!("  {table:<14}");
        for word in words {
            if line.chars().count() + word.chars().count() + 2 > WIDTH {
                let _ = writeln!(self.out, "{}", line.trim_end());
                line = " ".repeat(16);
            }
            let _ = write!(line, "{word}  ");
        }
        let _ = writeln!(self.out, "{}", line.trim_end());
    }
}

impl Sink for TextSink<'_> {
    fn row<F: Family>(&mut self, row: &F) {
        if !self.filter.takes(F::SPEC.table) {
            return;
        }
        let mut words = Vec::new();
        row.visit(&mut |index: usize, value: Option<Value<'_>>| {
            let field = &F::SPEC.fields[index];
            let Some(value) = value.filter(|_| !matches!(field.name, "snaptime" | "crtime")) else { return };
            words.push(match field.kind {
                Kind::Label => format!("{}={value}", field.name),
                _ => format!("{} {}", field.name, people(value, field.unit)),
            });
        });
        self.line(F::SPEC.table, &words);
    }

    fn custom(&mut self, row: &v1::Custom) {
        if self.filter.takes(&row.table) {
            let values = row.values.iter().filter_map(|m| Some(format!("{} {}", m.name, measure(m)?)));
            let words: Vec<String> = [join_labels(&row.labels)].into_iter().chain(values).collect();
            self.line(&row.table, &words);
        }
    }
}

/// A value in the unit that people would choose.
fn people(value: Value<'_>, unit: &str) -> String {
    match (value, unit) {
        (Value::Uint(u64::MAX), _) => "none".to_owned(),
        (Value::Uint(v), "bytes") => bytes(v),
        (Value::Uint(v), "ns") => seconds(v as f64 / 1e9),
        (Value::Uint(v), "us") => seconds(v as f64 / 1e6),
        (Value::Uint(v), "ms") => seconds(v as f64 / 1e3),
        (Value::Uint(v), "1/256 threads") => format!("{:.2}", v as f64 / 256.0),
        (value, _) => value.to_string(),
    }
}

fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value}B") } else { format!("{scaled:.1}{}", UNITS[unit]) }
}

fn seconds(value: f64) -> String {
    match value {
        0.0 => "0s".to_owned(),
        v if v < 1e-3 => format!("{:.1}us", v * 1e6),
        v if v < 1.0 => format!("{:.1}ms", v * 1e3),
        v if v < 86_400.0 => format!("{v:.2}s"),
        v => format!("{:.2}d", v / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> (v1::Zone, v1::Frame) {
        let zone = v1::Zone { name: "web1".into(), brand: "lx".into(), ..v1::Zone::default() };
        let frame = v1::Frame {
            cpu: Some(v1::Cpu { nsec_user: Some(1_500_000_000), nsec_sys: Some(0), ..v1::Cpu::default() }),
            memory: Some(v1::Memory { physcap: Some(u64::MAX), ..v1::Memory::default() }),
            net: vec![v1::Net { link: "net0".into(), rbytes64: Some(u64::MAX - 1), ..v1::Net::default() }],
            ..v1::Frame::default()
        };
        (zone, frame)
    }

    #[test]
    fn json_keeps_every_bit_and_leaves_out_the_unknown() {
        let (zone, frame) = frame();
        let json = json(&zone, &frame, 7, &Filter::default());
        assert_eq!(json["net"][0]["rbytes64"].as_u64(), Some(u64::MAX - 1));
        assert_eq!(json["cpu"]["nsec_sys"].as_u64(), Some(0));
        assert!(json["cpu"].get("nsec_waitrq").is_none());
    }

    #[test]
    fn text_speaks_in_peoples_units() {
        let (zone, frame) = frame();
        let text = text(&zone, &frame, &Filter::default());
        assert!(
            text.contains("nsec_user 1.50s") && text.contains("physcap none") && text.contains("link=net0"),
            "{text}"
        );
    }

    #[test]
    fn one_family_can_be_asked_for() {
        let (zone, frame) = frame();
        let text = text(&zone, &frame, &Filter { family: Some("net".into()) });
        assert!(text.contains("net0") && !text.contains("nsec_user"), "{text}");
    }
}
