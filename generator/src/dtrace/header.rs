//! The header of a user's program: what its aggregations mean.
//!
//! ```d
//! /*
//!  * zonescope
//!  *   name:     nfs_ops
//!  *   keys:     zone, op
//!  *   values:   calls, size
//!  *   unit:     operations, bytes
//!  *   kind:     delta
//!  *   interval: 1s
//!  */
//! ```
//!
//! `name` is the table, `keys` are its labels in the order of the aggregation's keys, `values` its columns in the order
//! of `printa(@calls, @size)`. docs/DTRACE.md tells the whole of it to users.

use zonescope_proto::v1;

use super::limits::{MAX_KEYS, MAX_VALUES};

/// The key that names the row's zone.
pub const ZONE_KEY: &str = "zone";
/// The key that names the row's process, where DTrace knows no zones.
pub const PID_KEY: &str = "pid";
/// The key that is a stack; always the last one.
pub const STACK_KEY: &str = "stack";

/// Tables that the product fills itself.
const LONGEST_NAME: usize = 48;

/// One value of each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSpec {
    /// Its column.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// What may be done with it.
    pub kind: v1::Kind,
}

/// What a user's program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The table that it fills, and the name of its distributions.
    pub name: String,
    /// What the keys of its aggregations are.
    pub keys: Vec<String>,
    /// What it prints for each of them.
    pub values: Vec<ValueSpec>,
    /// How often it prints, seconds.
    pub interval_s: u32,
}

/// Something is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct HeaderError {
    /// From 1.
    pub line: usize,
    /// What, and what is allowed.
    pub text: String,
}

impl Header {
    /// Reads the header of the program `text`.
    ///
    /// # Errors
    /// Where there is none, or something in it is wrong: with the line.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        refuse_destructive(text)?;
        let (start, fields) = fields(text)?;
        let field = |name: &str| fields.iter().find(|field| field.name == name);
        let missing = |name: &str| HeaderError { line: start, text: format!("the header has no `{name}:`") };
        let name = field("name").ok_or_else(|| missing("name"))?;
        identifier(&name.value, name.line)?;
        if let Some(family) = zonescope_proto::family_named(&name.value) {
            return Err(name.wrong(format!("`{}` is a table of zonescope's own: {}", name.value, family.about)));
        }
        let keys = field("keys").map_or(Ok(Vec::new()), |keys| keys.names(MAX_KEYS))?;
        if let (Some(line), Some(at)) = (field("keys"), keys.iter().position(|key| key == STACK_KEY))
            && at + 1 != keys.len()
        {
            return Err(line.wrong("a `stack` must be the last key".to_owned()));
        }
        let values = field("values").map_or(Ok(vec!["value".to_owned()]), |values| values.names(MAX_VALUES))?;
        let specs = value_specs(values, field("unit"), field("kind").ok_or_else(|| missing("kind"))?)?;
        let interval_s = interval(field("interval").ok_or_else(|| missing("interval"))?)?;
        Ok(Header { name: name.value.clone(), keys, values: specs, interval_s })
    }
}

#[derive(Debug)]
struct Field {
    line: usize,
    name: String,
    value: String,
}

impl Field {
    fn wrong(&self, text: String) -> HeaderError {
        HeaderError { line: self.line, text }
    }

    fn list(&self) -> Vec<String> {
        self.value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    fn names(&self, most: usize) -> Result<Vec<String>, HeaderError> {
        let names = self.list();
        if names.len() > most {
            return Err(self.wrong(format!("{} {}, and {most} are allowed", names.len(), self.name)));
        }
        for (at, name) in names.iter().enumerate() {
            identifier(name, self.line)?;
            if names[..at].contains(name) {
                return Err(self.wrong(format!("`{name}` stands twice in `{}:`", self.name)));
            }
        }
        Ok(names)
    }
}

/// The lines of the comment that begins with the word `zonescope`, and where it begins.
fn fields(text: &str) -> Result<(usize, Vec<Field>), HeaderError> {
    const KNOWN: [&str; 6] = ["name", "keys", "values", "unit", "kind", "interval"];
    let bare = |line: &str| {
        line.trim().trim_start_matches("/*").trim_end_matches("*/").trim().trim_start_matches('*').trim().to_owned()
    };
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let start = lines.find(|(_, line)| bare(line) == "zonescope").ok_or_else(|| HeaderError {
        line: 1,
        text: "no header: a comment whose first line is `zonescope`, then name:, keys:, unit:, kind:, interval:"
            .to_owned(),
    })?;
    let mut fields: Vec<Field> = Vec::new();
    for (line, raw) in lines {
        if let Some((name, value)) = bare(raw).split_once(':') {
            let field = Field { line, name: name.trim().to_owned(), value: value.trim().to_owned() };
            if !KNOWN.contains(&field.name.as_str()) {
                return Err(field.wrong(format!("`{}:` is none of {}", field.name, KNOWN.join(", "))));
            }
            if fields.iter().any(|other| other.name == field.name) {
                return Err(field.wrong(format!("`{}:` stands twice", field.name)));
            }
            fields.push(field);
        }
        if raw.contains("*/") {
            break;
        }
    }
    Ok((start.0, fields))
}

fn identifier(name: &str, line: usize) -> Result<(), HeaderError> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if letters && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let text = format!("`{name}` is no name: lower-case letters, digits and _, a letter first, up to {LONGEST_NAME}");
    Err(HeaderError { line, text })
}

fn value_specs(names: Vec<String>, unit: Option<&Field>, kind: &Field) -> Result<Vec<ValueSpec>, HeaderError> {
    let (units, kinds) = (unit.map(Field::list).unwrap_or_default(), kind.list());
    for (field, list) in [(unit, &units), (Some(kind), &kinds)] {
        if let Some(field) = field.filter(|_| list.len() > 1 && list.len() != names.len()) {
            return Err(field.wrong(format!("{} for {} values: give one, or one for each", list.len(), names.len())));
        }
    }
    let at = |list: &[String], at: usize| list.get(at).or(list.first()).cloned().unwrap_or_default();
    let spec = |(index, name): (usize, String)| {
        let kind = match at(&kinds, index).as_str() {
            "delta" => v1::Kind::Delta,
            "gauge" => v1::Kind::Gauge,
            "counter" => v1::Kind::Counter,
            "state" => v1::Kind::State,
            other => return Err(kind.wrong(format!("`{other}` is no kind: delta, gauge, counter or state"))),
        };
        Ok(ValueSpec { name, unit: at(&units, index), kind })
    };
    names.into_iter().enumerate().map(spec).collect()
}

fn interval(field: &Field) -> Result<u32, HeaderError> {
    let seconds = field.value.strip_suffix("sec").or(field.value.strip_suffix('s')).unwrap_or(&field.value);
    match seconds.trim().parse() {
        Ok(seconds @ 1..=60) => Ok(seconds),
        _ => Err(field.wrong(format!("`{}` is no interval: 1s to 60s", field.value))),
    }
}

/// A program that may change the system has no place in a monitor. This guards against accidents only: who may write
/// into the directory is root anyway.
fn refuse_destructive(text: &str) -> Result<(), HeaderError> {
    let destructive = |line: &str| {
        let words: Vec<&str> = line.trim_start_matches(['#', ' ', '\t']).split_ascii_whitespace().collect();
        line.trim_start().starts_with('#') && words.starts_with(&["pragma"]) && words[1..].contains(&"destructive")
    };
    match text.lines().position(destructive) {
        Some(at) => Err(HeaderError { line: at + 1, text: "destructive programs are not run".to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#!/usr/sbin/dtrace -s\n/*\n * zonescope\n *   name:     nfs_ops\n *   keys:     zone, op\n *   values:   calls, size\n *   unit:     operations, bytes\n *   kind:     delta\n *   interval: 5s\n */\nBEGIN{}";

    #[test]
    fn a_header_says_what_the_columns_are() {
        let header = Header::parse(GOOD).unwrap();
        assert_eq!(
            (header.name.as_str(), header.keys.join(","), header.interval_s),
            ("nfs_ops", "zone,op".to_owned(), 5)
        );
        let value =
            |name: &str, unit: &str| ValueSpec { name: name.to_owned(), unit: unit.to_owned(), kind: v1::Kind::Delta };
        assert_eq!(header.values, [value("calls", "operations"), value("size", "bytes")]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (from, to, line, text) in [
            ("nfs_ops", "NFS ops", 4, "no name"),
            ("nfs_ops", "cpu", 4, "own"),
            ("zone, op", "zone, zone", 5, "twice"),
            ("zone, op", "stack, zone", 5, "last key"),
            ("operations, bytes", "a, b, c", 7, "give one"),
            ("delta", "rate", 8, "delta, gauge, counter or state"),
            ("5s", "5h", 9, "1s to 60s"),
            ("kind:", "sort:", 8, "none of"),
            (" *   interval: 5s\n", "", 3, "no `interval:`"),
            ("zonescope", "zoneskope", 1, "no header"),
            ("BEGIN{}", "#pragma D option destructive", 11, "destructive"),
        ] {
            let error = Header::parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.line == line && error.text.contains(text), "{from} -> {to}: {error}");
        }
    }
}
