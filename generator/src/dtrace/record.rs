//! The line protocol of the built-in programs.
//!
//! A record is one line: record separator, mark, then fields after unit separators, the last of them a full stop:
//!
//! ```text
//! ␞<mark>␟oncpu␟<samples>␟<zone>␟<core>␟<pid>␟<tid>␟<execname>␟.
//! ␞<mark>␟ticks␟<samples of one CPU>␟.
//! ␞<mark>␟event␟<event>␟<count>␟<bytes or nothing>␟<zone>␟<detail>␟.
//! ␞<mark>␟dist␟<name>␟<unit>␟<zone>␟<label=value>␟...␟        then the table as libdtrace prints it, then  ␟.
//! ␞<mark>␟end␟.                                             the interval is whole
//! ␞<mark>␟alive␟.                                           nothing but that somebody still writes
//! ```
//!
//! A zone is its name, or `#` and a pid where DTrace knows no zones.
//!
//! What a tenant chooses (the name of a program) may hold any byte but NUL and slash, newlines and separators included.
//! So it stands last, where splitting by a known number of fields keeps it whole; a record without its full stop goes
//! on in the next line; and the mark is drawn anew at each start ([`super::mark`]), 12 characters long, so that no name
//! (15 characters in either kernel) can both end a record and forge another one.

use zonescope_proto::ZoneName;

use super::gather::{Owner, Row};
use super::limits::{MAX_LINE_BYTES, MAX_RECORD_LINES};
use super::table::{Table, is_head};

/// Unit separator, between fields.
const US: char = '\u{1f}';
/// The end of every record.
const STOP: &str = "\u{1f}.";

/// What a line brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// A row.
    Row(Row),
    /// The interval is whole.
    End,
    /// Nothing that we understand.
    Noise,
}

/// Reads records, line by line.
#[derive(Debug)]
pub struct Records {
    prefix: String,
    /// A record that goes on in the next line.
    open: Option<(String, usize)>,
    /// A distribution whose table is being read.
    table: Option<(Row, Table)>,
    /// Records that were cut off by the next one, and rows of tables that were left out.
    pub lost: u64,
}

impl Records {
    /// Reads records that bear `mark`.
    pub fn new(mark: &str) -> Self {
        Records { prefix: format!("\u{1e}{mark}{US}"), open: None, table: None, lost: 0 }
    }

    /// Whether a line is the beginning of a record.
    pub fn is_record(&self, line: &str) -> bool {
        line.starts_with(&self.prefix)
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) -> Said {
        if let Some(body) = line.strip_prefix(self.prefix.as_str()) {
            self.lost += u64::from(self.open.take().is_some()) + u64::from(self.table.take().is_some());
            return self.body(body.to_owned(), 1);
        }
        if let Some((body, lines)) = self.open.take() {
            return self.body(format!("{body}\n{line}"), lines + 1);
        }
        if line.trim_end() == STOP && self.table.is_some() {
            return self.close();
        }
        let expected =
            line.trim().is_empty() || self.table.as_mut().is_some_and(|(_, table)| is_head(line) || table.row(line));
        if expected {
            return Said::Nothing;
        }
        self.table = None;
        Said::Noise
    }

    fn body(&mut self, body: String, lines: usize) -> Said {
        if body.starts_with("dist\u{1f}") && body.ends_with(US) {
            let Some(row) = distribution(&body) else { return Said::Noise };
            self.table = Some((row, Table::default()));
            return Said::Nothing;
        }
        let Some(fields) = body.strip_suffix(STOP) else {
            if lines >= MAX_RECORD_LINES || body.len() > MAX_LINE_BYTES {
                return Said::Noise;
            }
            self.open = Some((body, lines));
            return Said::Nothing;
        };
        match fields.split_once(US).unwrap_or((fields, "")) {
            ("end", _) => Said::End,
            ("alive", _) => Said::Nothing,
            ("ticks", count) => count.parse().map_or(Said::Noise, |count| Said::Row(Row::Ticks(count))),
            ("oncpu", rest) => oncpu(rest).map_or(Said::Noise, Said::Row),
            ("event", rest) => event(rest).map_or(Said::Noise, Said::Row),
            _ => Said::Noise,
        }
    }

    fn close(&mut self) -> Said {
        let Some((mut row, table)) = self.table.take() else { return Said::Noise };
        let (read, lost) = table.finish();
        self.lost += lost;
        if let Row::Distribution { buckets, .. } = &mut row {
            *buckets = read;
        }
        Said::Row(row)
    }
}

fn owner(field: &str) -> Option<Owner> {
    match field.strip_prefix('#') {
        Some(pid) => pid.parse().ok().map(Owner::Process),
        None => ZoneName::new(field).ok().map(Owner::Zone),
    }
}

fn oncpu(rest: &str) -> Option<Row> {
    let mut fields = rest.splitn(6, US);
    let mut next = || fields.next();
    Some(Row::OnCpu {
        samples: next()?.parse().ok()?,
        owner: owner(next()?)?,
        core: next()?.parse().ok()?,
        pid: next()?.parse().ok()?,
        tid: next()?.parse().ok()?,
        execname: next()?.to_owned(),
    })
}

fn event(rest: &str) -> Option<Row> {
    let mut fields = rest.splitn(5, US);
    let mut next = || fields.next();
    Some(Row::Event {
        event: next()?.to_owned(),
        count: next()?.parse().ok()?,
        bytes: Some(next()?).filter(|bytes| !bytes.is_empty()).map(str::parse).transpose().ok()?,
        owner: owner(next()?)?,
        detail: next()?.to_owned(),
    })
}

fn distribution(body: &str) -> Option<Row> {
    let mut fields = body.strip_suffix(US)?.split(US).skip(1);
    let (name, unit) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let owner = owner(fields.next()?)?;
    let labels = fields
        .map(|field| field.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())))
        .collect::<Option<Vec<_>>>()?;
    Some(Row::Distribution { name, unit, owner, labels, buckets: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtrace::table::Bucket;

    const MARK: &str = "0123456789ab";

    fn read(text: &str) -> Vec<Said> {
        let mut records = Records::new(MARK);
        let text = text.replace('>', "\u{1e}0123456789ab").replace('^', "\u{1f}");
        text.lines().map(|line| records.line(line)).filter(|said| *said != Said::Nothing).collect()
    }

    fn zone(name: &str) -> Owner {
        Owner::Zone(ZoneName::new(name).unwrap())
    }

    #[test]
    fn every_kind_of_record_is_read() {
        let said = read(
            ">^oncpu^7^web1^3^42^1^postgres^.\n\n>^ticks^97^.\n>^event^io^5^4096^#12^sd1^.\n>^event^maj_fault^2^^global^^.\n>^alive^.\n>^end^.",
        );
        let on_cpu =
            Row::OnCpu { samples: 7, owner: zone("web1"), core: 3, pid: 42, tid: 1, execname: "postgres".to_owned() };
        let io = Row::Event {
            event: "io".to_owned(),
            count: 5,
            bytes: Some(4096),
            owner: Owner::Process(12),
            detail: "sd1".to_owned(),
        };
        let fault = Row::Event {
            event: "maj_fault".to_owned(),
            count: 2,
            bytes: None,
            owner: zone("global"),
            detail: String::new(),
        };
        assert_eq!(said, [Said::Row(on_cpu), Said::Row(Row::Ticks(97)), Said::Row(io), Said::Row(fault), Said::End]);
    }

    #[test]
    fn a_distribution_is_its_head_its_table_and_a_full_stop() {
        let said = read(
            ">^dist^vfs_latency^ns^db^fs=zfs^op=read^\n           value  ------------- Distribution ------------- count    \n             512 |                                         0        \n            1024 |@@@@                                     3        \n            2048 |                                         0        \n^.",
        );
        let row = Row::Distribution {
            name: "vfs_latency".to_owned(),
            unit: "ns".to_owned(),
            owner: zone("db"),
            labels: vec![("fs".to_owned(), "zfs".to_owned()), ("op".to_owned(), "read".to_owned())],
            buckets: vec![Bucket { lower: 1024, upper: 2048, count: 3 }],
        };
        assert_eq!(said, [Said::Row(row)]);
    }

    #[test]
    fn a_name_may_hold_newlines_and_separators() {
        let [Said::Row(Row::OnCpu { execname, .. })] = &read(">^oncpu^7^web1^3^42^1^a\nb^c\n^^.")[..] else { panic!() };
        assert_eq!(execname, "a\nb\u{1f}c\n\u{1f}");
    }

    #[test]
    fn a_name_without_the_mark_cannot_forge_a_record() {
        let said = read(">^oncpu^7^web1^3^42^1^x\n\u{1e}^ticks^9^.\n>^end^.");
        let [Said::Row(Row::OnCpu { execname, .. }), Said::End] = &said[..] else { panic!("{said:?}") };
        assert_eq!(execname, "x\n\u{1e}\u{1f}ticks\u{1f}9");
    }

    #[test]
    fn a_broken_record_costs_itself_only() {
        assert_eq!(
            read(">^oncpu^seven^web1^3^42^1^x^.\n>^nonsense^.\nfree text\n>^dist^a^ns^z^op=r^\nnot a table\n>^end^."),
            [Said::Noise, Said::Noise, Said::Noise, Said::Noise, Said::End]
        );
    }
}
