//! docs/METRICS.md: the reference of every statistic, written from frame.proto. A test keeps it current.

use std::fmt::Write as _;

use crate::families::{FAMILIES, FamilySpec, Field};

/// The whole document.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for family in FAMILIES {
        let _ = writeln!(out, "| [{0}](#{0}) | {1} |", family.table, family.about);
    }
    for family in FAMILIES {
        section(&mut out, family);
    }
    out
}

const HEAD: &str = "\
# Metrics

Every statistic that zonescope knows, by family. A family is a table in SQL and a set of keys in Redis.
This page is written from `proto/frame.proto`: change that, then run `cargo test -p zonescope-proto` with
`UPDATE=1`.

Kinds: a **label** names the row; a **gauge** is a value at the tick; a **counter** grows since its creation (see the
view `rates`); a **delta** was counted within the tick; a **state** describes the row and changes rarely.
Every table also has the columns `host`, `zone`, `zone_id` and `time`. NULL means that the platform does not say, and
is not zero.

| family | what it says |
|---|---|
";

fn section(out: &mut String, family: &FamilySpec) {
    let rows = if family.many { "Many rows a zone and tick." } else { "One row a zone and tick." };
    let _ = writeln!(out, "\n## {}\n\n{} {rows}\n", family.table, family.about);
    let _ = writeln!(out, "| name | kind | unit | what it says | illumos | Linux |\n|---|---|---|---|---|---|");
    for field in family.fields {
        let Field { name, kind, unit, help, kstat, linux, bits, .. } = field;
        let width = if *bits == 64 { String::new() } else { format!(", {bits} bits") };
        let _ =
            writeln!(out, "| {name} | {}{width} | {unit} | {help} | {} | {} |", kind.name(), code(kstat), code(linux));
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}
