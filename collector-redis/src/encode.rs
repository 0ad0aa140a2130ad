//! A zone's frames as one transaction: MULTI, everything, EXEC. Readers see a tick whole or not at all, and the position
//! changes together with the values.
//!
//! A batch may hold several frames of a zone (after an outage it will): each goes to history and is announced, only the
//! last becomes the latest state.
//!
//! Hashes are written field by field while a table's fields stay the same, so that neither the key nor its expiry has to
//! be made again; where they change, or are not known, the hash is replaced within the transaction.

use std::borrow::Cow;
use std::sync::Arc;

use redis::{Cmd, Pipeline, RedisWrite, ToRedisArgs, cmd};
use zonescope_proto::{FAMILIES, v1};

use crate::derive::Past;
use crate::keys::Keys;
use crate::limits::CUSTOM_TABLES;
use crate::minute::Minute;
use crate::rows::{self, Row};
use crate::style::Style;
use crate::usage;
use crate::zone::{EntryId, Lost, Position, Stored, Table};

/// The transaction of one zone.
pub struct Transaction<'a> {
    style: &'a Style,
    tag: Arc<str>,
    stored: Stored,
    /// History is kept from here, ms before the newest frame. Shorter than `style.keep_ms` where memory is short.
    keep_ms: u64,
    now_ms: u64,
    pipe: Pipeline,
    announcements: Vec<Cmd>,
    /// Where the position has moved.
    moved: bool,
    /// Of the frame that becomes the latest state.
    header: Option<v1::Header>,
    /// Custom rows left out, the zone having too many tables.
    pub left_out: u64,
}

/// A table of the latest state, as it grows row by row.
struct Latest {
    table: Cow<'static, str>,
    shape: Vec<u64>,
    hset: Cmd,
}

/// What is to be known of a frame to write it.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    /// Where its entries begin.
    pub id: EntryId,
    /// So many frames before it never came, and nobody has said why.
    pub missing: u64,
    /// It came only when asked for.
    pub recovered: bool,
    /// It becomes the latest state.
    pub latest: bool,
}

/// Where one frame is written.
struct Place<'f> {
    header: &'f v1::Header,
    id: EntryId,
    /// Rows of each table so far.
    rows: Vec<(Cow<'static, str>, u64)>,
    latest: Option<Vec<Latest>>,
}

impl<'a> Transaction<'a> {
    /// Begins one. `keep_ms` is how long history is kept just now, `now_ms` the time on our clock.
    pub fn new(style: &'a Style, tag: Arc<str>, mut stored: Stored, keep_ms: u64, now_ms: u64) -> Self {
        stored.seen_ms = now_ms;
        let mut pipe = redis::pipe();
        pipe.add_command(cmd("MULTI"));
        let announcements = Vec::new();
        Transaction {
            style,
            tag,
            stored,
            keep_ms,
            now_ms,
            pipe,
            announcements,
            moved: false,
            header: None,
            left_out: 0,
        }
    }

    /// Begins history anew: what is there lies in a future that is no more.
    pub fn restart(&mut self) {
        let mut del = cmd("DEL");
        del.arg(self.style.keys.of(&self.tag, "gaps")).arg(self.style.keys.of(&self.tag, "completeness"));
        self.stored.minute = Minute::default();
        for (table, state) in &mut self.stored.tables {
            del.arg(self.style.keys.history(&self.tag, table));
            state.refresh_history_ms = 0;
        }
        self.pipe.add_command(del);
    }

    /// Writes a frame.
    pub fn frame(&mut self, past: &mut Past, frame: v1::Frame, writing: Writing) {
        let Some(header) = frame.header.clone() else { return };
        let Writing { id, missing, recovered, latest } = writing;
        if missing > 0 {
            let (first, last) = (header.sequence - missing, header.sequence - 1);
            self.lost(Lost { epoch: header.epoch, first, last, reason: "unknown" });
        }

        let mut place = Place { header: &header, id, rows: Vec::new(), latest: latest.then(Vec::new) };
        let mut step = past.step(&frame);
        rows::each(&frame, |row| {
            let rates = step.rates(row);
            self.row(&mut place, row, &rates);
        });
        if let Some(row) = usage::row(&step.usage(&frame)) {
            self.row(&mut place, &row, &[]);
        }
        step.finish(frame);

        if let Some(tables) = place.latest.take() {
            self.latest(tables);
        }
        self.stored.frames += 1;
        self.stored.recovered += u64::from(recovered);
        self.stored.interval_ms = header.interval_ms;
        if let Some(ended) = self.stored.minute.frame(id.ms, recovered) {
            self.completeness(ended);
        }
        self.stored.advance(Position { epoch: header.epoch, sequence: header.sequence, id });
        self.moved = true;
        self.announce(&header, id);
        if latest {
            self.header = Some(header);
        }
    }

    /// Puts on record that frames will never come. Gives how many of them are news.
    pub fn lost(&mut self, lost: Lost) -> u64 {
        let news = self.stored.news(lost);
        let Some(last) = self.stored.position.filter(|_| news > 0) else { return 0 };
        let from = lost.last + 1 - news;
        self.stored.missing += news;
        self.moved = true;
        let interval_ms = self.stored.interval_ms;
        for ended in self.stored.minute.gap(last.id.ms + u64::from(interval_ms), interval_ms, news) {
            self.completeness(ended);
        }
        self.stored.advance(Position { epoch: lost.epoch, sequence: lost.last, ..last });
        let gaps = self.style.keys.of(&self.tag, "gaps");
        let id = last.id.of_gap(from);
        let mut xadd = self.xadd(&gaps, id, id.of_row(0), true);
        xadd.arg("missing").arg(news).arg("from").arg(from).arg("to").arg(lost.last);
        xadd.arg("epoch").arg(lost.epoch).arg("reason").arg(lost.reason);
        self.pipe.add_command(xadd);
        self.style.expire(&mut self.pipe, &gaps);
        news
    }

    /// A minute that has ended becomes an entry.
    fn completeness(&mut self, minute: Minute) {
        let key = self.style.keys.of(&self.tag, "completeness");
        let id = EntryId { ms: minute.start_ms, row: 0 };
        let mut xadd = self.xadd(&key, id, id.of_row(0), true);
        xadd.arg("expected").arg(minute.expected()).arg("received").arg(minute.received);
        xadd.arg("recovered").arg(minute.recovered).arg("missing").arg(minute.missing);
        self.pipe.add_command(xadd);
        self.style.expire(&mut self.pipe, &key);
    }

    /// What Redis will hold once this is done.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The commands, and what Redis holds once they are done. The last answer is that of EXEC.
    pub fn finish(mut self) -> (Pipeline, Stored) {
        if self.moved {
            self.zone();
        }
        if self.style.due(&mut self.stored.refresh_ms, self.now_ms) {
            self.forget_tables();
            let tables = self.style.keys.of(&self.tag, "tables");
            if !self.stored.tables.is_empty() {
                let mut sadd = cmd("SADD");
                sadd.arg(&tables);
                for table in self.stored.tables.keys() {
                    sadd.arg(table.as_bytes());
                }
                self.pipe.add_command(sadd);
                self.style.expire(&mut self.pipe, &tables);
            }
            let zone = self.style.keys.of(&self.tag, "zone");
            self.style.expire(&mut self.pipe, &zone);
        }
        for announcement in self.announcements {
            self.pipe.add_command(announcement);
        }
        self.pipe.add_command(cmd("EXEC"));
        (self.pipe, self.stored)
    }

    /// Tables that have not come for as long as their history would live are no tables of the zone any more.
    fn forget_tables(&mut self) {
        let Transaction { style, tag, stored, now_ms, pipe, .. } = self;
        let oldest = now_ms.saturating_sub(style.lives().0);
        stored.tables.retain(|name, table| {
            let keep = table.seen_ms >= oldest;
            if !keep {
                pipe.cmd("SREM").arg(style.keys.of(tag, "tables")).arg(name.as_bytes());
            }
            keep
        });
    }

    fn row(&mut self, place: &mut Place<'_>, row: &Row<'_>, rates: &[(&str, f64)]) {
        if !self.knows_or_takes(&row.table) {
            self.left_out += 1;
            return;
        }
        if let Some(latest) = &mut place.latest {
            let table = latest_of(latest, &row.table, &self.style.keys, &self.tag);
            if row.many {
                table.shape.push(rows::hash(&row.name));
                table.hset.arg(row.name.as_bytes()).arg(row.json(rates));
            } else {
                for cell in &row.cells {
                    table.shape.push(cell.id);
                    table.hset.arg(cell.name).arg(&cell.data);
                }
                for (name, rate) in rates {
                    table.shape.push(rows::hash(name));
                    table.hset.arg(Rate(name)).arg(Double(*rate));
                }
            }
        }
        self.entry(place, row, if self.style.history_rates { rates } else { &[] });
    }

    /// The row as an entry of its table's history.
    fn entry(&mut self, place: &mut Place<'_>, row: &Row<'_>, rates: &[(&str, f64)]) {
        if self.style.no_history.iter().any(|t| *t == row.table) {
            return;
        }
        let number = match place.rows.iter_mut().rev().find(|(table, _)| *table == row.table) {
            Some((_, count)) => {
                *count += 1;
                *count - 1
            }
            None => {
                place.rows.push((row.table.clone(), 1));
                0
            }
        };
        let key = self.style.keys.history(&self.tag, &row.table);
        // Trimming once a table and tick is enough.
        let mut xadd = self.xadd(&key, place.id, place.id.of_row(number), number == 0);
        if place.id.ms != place.header.time / 1_000_000 {
            xadd.arg("time").arg(place.header.time / 1_000_000);
        }
        for cell in &row.cells {
            xadd.arg(cell.name).arg(&cell.data);
        }
        for (name, rate) in rates {
            xadd.arg(Rate(name)).arg(Double(*rate));
        }
        self.pipe.add_command(xadd);
        let due = self
            .stored
            .tables
            .get_mut(&row.table)
            .is_some_and(|table| self.style.due(&mut table.refresh_history_ms, self.now_ms));
        if due {
            self.style.expire(&mut self.pipe, &key);
        }
    }

    fn xadd(&self, key: &str, id: EntryId, entry: String, trim: bool) -> Cmd {
        let mut xadd = Cmd::with_capacity(96, 1024);
        xadd.arg("XADD").arg(key);
        if trim {
            xadd.arg("MINID").arg("~").arg(id.ms.saturating_sub(self.keep_ms));
        }
        xadd.arg(entry);
        xadd
    }

    /// Makes the tables of this frame the latest state, and removes those that it lacks.
    fn latest(&mut self, tables: Vec<Latest>) {
        let Transaction { style, tag, stored, now_ms, pipe, .. } = self;
        for (name, table) in &mut stored.tables {
            if table.latest && !tables.iter().any(|t| t.table == *name) {
                pipe.cmd("DEL").arg(style.keys.latest(tag, name));
                *table = Table { latest: false, shape: None, ..*table };
            }
        }
        for Latest { table: name, mut shape, hset } in tables {
            let Some(table) = stored.tables.get_mut(&name) else { continue };
            let key = style.keys.latest(tag, &name);
            shape.sort_unstable();
            let shape = Some(rows::hash(&shape));
            if table.shape != shape {
                pipe.cmd("DEL").arg(&key);
                table.refresh_latest_ms = 0;
            }
            pipe.add_command(hset);
            if style.due(&mut table.refresh_latest_ms, *now_ms) {
                style.expire(pipe, &key);
            }
            (table.shape, table.latest) = (shape, true);
        }
    }

    /// Who the zone is, where we are, and how complete what we have is.
    fn zone(&mut self) {
        let Some(Position { epoch, sequence, id }) = self.stored.position else { return };
        let mut hset = cmd("HSET");
        hset.arg(self.style.keys.of(&self.tag, "zone"));
        if let Some(header) = &self.header {
            let none = v1::Zone::default();
            let zone = header.zone.as_ref().unwrap_or(&none);
            hset.arg("host").arg(&header.host).arg("host_id").arg(&header.host_id);
            hset.arg("zone").arg(&zone.name).arg("zone_id").arg(zone.id).arg("brand").arg(&zone.brand);
            hset.arg("boot_time").arg(zone.boot_time).arg("uuid").arg(&zone.uuid).arg("state").arg(&zone.state);
            hset.arg("interval_ms").arg(header.interval_ms).arg("time").arg(header.time / 1_000_000);
        }
        hset.arg("epoch").arg(epoch).arg("sequence").arg(sequence).arg("id").arg(id.of_row(0));
        let Stored { frames, recovered, missing, minute, .. } = &self.stored;
        hset.arg("frames").arg(*frames).arg("recovered").arg(*recovered).arg("missing").arg(*missing);
        hset.arg("minute").arg(minute.start_ms).arg("minute_received").arg(minute.received);
        hset.arg("minute_recovered").arg(minute.recovered).arg("minute_missing").arg(minute.missing);
        if !self.stored.former.is_empty() {
            let former: Vec<String> = self.stored.former.iter().map(u64::to_string).collect();
            hset.arg("former_epochs").arg(former.join(" "));
        }
        self.pipe.add_command(hset);
    }

    /// Tells whoever listens that there is a new tick.
    fn announce(&mut self, header: &v1::Header, id: EntryId) {
        let message = serde_json::json!({
            "host_id": header.host_id,
            "host": header.host,
            "zone": header.zone.as_ref().map_or("", |z| z.name.as_str()),
            "time": header.time / 1_000_000,
            "id": id.of_row(0),
            "epoch": header.epoch,
            "sequence": header.sequence,
        });
        let mut publish = cmd("PUBLISH");
        publish.arg(self.style.keys.of(&self.tag, "tick")).arg(message.to_string());
        self.announcements.push(publish);
    }

    /// Whether the zone has the table, or may have one more.
    #[allow(clippy::ptr_arg, reason = "a name of ours is borrowed for ever, and costs nothing to keep")]
    fn knows_or_takes(&mut self, table: &Cow<'static, str>) -> bool {
        if let Some(table) = self.stored.tables.get_mut(table) {
            table.seen_ms = self.now_ms;
            return true;
        }
        if self.stored.tables.len() > FAMILIES.len() + CUSTOM_TABLES {
            return false;
        }
        self.stored.tables.insert(table.clone(), Table { seen_ms: self.now_ms, ..Table::default() });
        // The set of tables wants it.
        self.stored.refresh_ms = 0;
        true
    }
}

#[allow(clippy::ptr_arg, reason = "a name of ours is borrowed for ever, and costs nothing to keep")]
fn latest_of<'l>(latest: &'l mut Vec<Latest>, table: &Cow<'static, str>, keys: &Keys, tag: &str) -> &'l mut Latest {
    let place = latest.iter().rposition(|l| l.table == *table).unwrap_or_else(|| {
        let mut hset = Cmd::with_capacity(96, 1024);
        hset.arg("HSET").arg(keys.latest(tag, table));
        latest.push(Latest { table: table.clone(), shape: Vec::new(), hset });
        latest.len() - 1
    });
    &mut latest[place]
}

/// The name of a rate: `NAME/s`.
struct Rate<'a>(&'a str);

impl ToRedisArgs for Rate<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(format_args!("{}/s", self.0));
    }
}

/// A number as we write numbers everywhere.
struct Double(f64);

impl ToRedisArgs for Double {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self.0);
    }
}
