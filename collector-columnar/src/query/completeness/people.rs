//! A report in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Incomplete, Moment, Report};
use crate::schema::GAPS;

/// Lines for people about where frames are missing; the sum is over all.
const LISTED: usize = 10;

impl Report {
    /// For people: one line where all is well, else what is missing where.
    pub fn for_people(&self) -> String {
        let mut text = String::new();
        let Report { expected, received, recovered, missing, from, to, .. } = self;
        let span = span(from, to);
        let of = format!("{} of {} frames", grouped(*received), grouped(*expected));
        let asked = if *recovered > 0 { format!(", {} of them recovered", grouped(*recovered)) } else { String::new() };
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let whose = format!("{} zone{} on {} host{}", self.zones, s(self.zones), self.hosts, s(self.hosts));
        let _ = match (*expected, *missing) {
            (0, _) => writeln!(text, "nothing is on record {span}: no frames came, and none are known to be missing"),
            (_, 0) => writeln!(text, "complete: {of}{asked}; {whose}, {span}"),
            _ => {
                let share = 100.0 * (*received as f64 / *expected as f64);
                // Not all is never 100 %.
                let share = (share * 100.0).floor() / 100.0;
                writeln!(text, "INCOMPLETE: {of} ({share:.2} %){asked}, {} missing; {whose}, {span}", grouped(*missing))
            }
        };
        self.list(&mut text);
        for Moment { host, time } in &self.died {
            let _ = writeln!(
                text,
                "  {host}: its generator died about {}: how many frames went with it nobody knows",
                short(time)
            );
        }
        for Moment { host, time } in &self.silent {
            let _ = writeln!(text, "  {host}: nothing since {}: is its generator down, or the collector?", short(time));
        }
        text
    }

    /// Where frames are missing: what zones of a host have in common in one line.
    fn list(&self, text: &mut String) {
        type Alike<'a> = (&'a str, &'a str, &'a str, &'a BTreeSet<String>);
        let mut alike: Vec<(Alike<'_>, Vec<&Incomplete>)> = Vec::new();
        for zone in &self.incomplete {
            let key: Alike<'_> = (&zone.host, &zone.from, &zone.to, &zone.reasons);
            match alike.iter_mut().find(|(k, _)| *k == key) {
                Some((_, zones)) => zones.push(zone),
                None => alike.push((key, vec![zone])),
            }
        }
        for ((host, from, to, reasons), zones) in alike.iter().take(LISTED) {
            let whose = match zones.as_slice() {
                [one] if one.zone.is_empty() => "its announcements".to_owned(),
                [one] => one.zone.clone(),
                many => format!("{} zones", many.iter().filter(|z| !z.zone.is_empty()).count()),
            };
            let missing = grouped(zones.iter().map(|z| z.missing).fold(0, u64::saturating_add));
            let why = reasons.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  {host}, {whose}: {missing} missing {}: {why}", span(from, to));
        }
        if alike.len() > LISTED {
            let _ = writeln!(text, "  and more: see the table {}", GAPS.table);
        }
    }
}

/// `2025-11-21 08:00 to 09:00 UTC`
fn span(from: &str, to: &str) -> String {
    let (from, to) = (short(from), short(to));
    let same_day = from.get(..10) == to.get(..10);
    format!("{from} to {} UTC", if same_day { to.get(11..).unwrap_or(&to) } else { &to })
}

/// An RFC 3339 time to the minute.
fn short(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// 21,600
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Report {
        let (from, to) = ("2025-11-21T08:00:00Z".to_owned(), "2025-11-21T09:00:00Z".to_owned());
        Report { from, to, hosts: 1, zones: 6, expected: 21_600, received: 21_600, ..Report::default() }
    }

    #[test]
    fn all_is_well_in_one_line() {
        let text = whole().for_people();
        assert_eq!(text, "complete: 21,600 of 21,600 frames; 6 zones on 1 host, 2025-11-21 08:00 to 09:00 UTC\n");
    }

    #[test]
    fn not_all_is_never_a_hundred_percent() {
        let report = Report { received: 999_999_999, expected: 1_000_000_000, missing: 1, ..whole() };
        let text = report.for_people();
        assert!(text.starts_with("INCOMPLETE: 999,999,999 of 1,000,000,000 frames (99.99 %), 1 missing"), "{text}");
    }
}
