//! What the operator may choose: the section `[kstat]` of the configuration.
//!
//! ```toml
//! [kstat]
//! top_processes = 10
//!
//! [[kstat.custom]]
//! name  = "interrupts"
//! match = "cpu::sys:{intr,intrblk}"
//! kind  = "counter"
//! unit  = "interrupts"
//! ```

use serde::Deserialize;
use zonescope_proto::limits::MAX_TEXT_BYTES;
use zonescope_proto::{family_named, v1};

use super::limits::MAX_CUSTOM;
use super::selector::Selector;

/// Longest name of a table.
const LONGEST_NAME: usize = 48;

/// What concerns illumos.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KstatOptions {
    /// Processes reported of each zone by CPU time, and as many by memory.
    pub top_processes: usize,
    /// Users' own kstats.
    pub custom: Vec<CustomOptions>,
}

impl Default for KstatOptions {
    fn default() -> Self {
        KstatOptions { top_processes: 10, custom: Vec::new() }
    }
}

/// Kstats that become a table of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomOptions {
    /// The table.
    pub name: String,
    /// Which: module:instance:name:statistic.
    #[serde(rename = "match")]
    pub selector: String,
    /// `counter` or `gauge`: kstats do not tell.
    pub kind: String,
    /// Unit of the numbers.
    #[serde(default)]
    pub unit: String,
}

/// A value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {allowed}")]
pub struct BadOption {
    /// Where it stands: `kstat.custom[0].match`.
    pub key: String,
    /// What it was set to.
    pub value: String,
    /// What it may be set to.
    pub allowed: String,
}

/// A checked [`CustomOptions`].
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) selector: Selector,
    pub(super) kind: v1::Kind,
    pub(super) unit: String,
}

impl KstatOptions {
    /// Says what cannot be.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), BadOption> {
        self.checked().map(drop)
    }

    pub(super) fn checked(&self) -> Result<Vec<Checked>, BadOption> {
        if self.custom.len() > MAX_CUSTOM {
            let (value, allowed) = (format!("{} tables", self.custom.len()), format!("at most {MAX_CUSTOM}"));
            return Err(BadOption { key: "kstat.custom".to_owned(), value, allowed });
        }
        let names: Vec<&str> = self.custom.iter().map(|custom| custom.name.as_str()).collect();
        self.custom.iter().enumerate().map(|(at, custom)| custom.check(at, &names[..at])).collect()
    }
}

impl CustomOptions {
    fn check(&self, at: usize, before: &[&str]) -> Result<Checked, BadOption> {
        let wrong = |field: &str, value: &str, allowed: String| {
            Err(BadOption { key: format!("kstat.custom[{at}].{field}"), value: format!("{value:?}"), allowed })
        };
        if let Some(family) = family_named(&self.name) {
            return wrong("name", &self.name, format!("that is a table of zonescope's own: {}", family.about));
        }
        if !is_name(&self.name) {
            let allowed = format!("lower-case letters, digits and _, a letter first, at most {LONGEST_NAME}");
            return wrong("name", &self.name, allowed);
        }
        if before.contains(&self.name.as_str()) {
            return wrong("name", &self.name, "another one has that name: {a,b} in `match` takes both".to_owned());
        }
        if self.unit.len() > MAX_TEXT_BYTES {
            return wrong("unit", &self.unit, format!("at most {MAX_TEXT_BYTES} bytes"));
        }
        let kind = match self.kind.as_str() {
            "counter" => v1::Kind::Counter,
            "gauge" => v1::Kind::Gauge,
            _ => return wrong("kind", &self.kind, "counter or gauge".to_owned()),
        };
        match self.selector.parse() {
            Ok(selector) => Ok(Checked { name: self.name.clone(), selector, kind, unit: self.unit.clone() }),
            Err(error) => wrong("match", &self.selector, error.to_string()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    letters && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && name.len() <= LONGEST_NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, selector: &str, kind: &str) -> String {
        let custom = CustomOptions {
            name: name.into(),
            selector: selector.into(),
            kind: kind.into(),
            unit: "interrupts".into(),
        };
        let first = CustomOptions { name: "first".into(), ..custom.clone() };
        match (KstatOptions { custom: vec![first, custom], ..KstatOptions::default() }).check() {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_wrong_value_names_its_key_and_what_is_allowed() {
        assert_eq!(check("mine", "cpu::sys:intr", "counter"), "");
        for (name, selector, kind, expected) in [
            ("cpu", "a", "gauge", "kstat.custom[1].name = \"cpu\": that is a table of zonescope's own"),
            ("Mine", "a", "gauge", "kstat.custom[1].name = \"Mine\": lower-case letters"),
            ("first", "a", "gauge", "kstat.custom[0]"),
            ("mine", "a", "Zähler", "kind = \"Zähler\": counter or gauge"),
            ("mine", "a:b:c:d:e", "gauge", "kstat.custom[0].match = \"a:b:c:d:e\": 5 parts between colons"),
            ("mine", "/(/", "gauge", "the module `/(/` is no regular expression: unclosed group"),
        ] {
            let said = check(name, selector, kind);
            assert!(said.contains(expected) || name == "first" && said.contains("another one"), "{said}");
        }
    }
}
