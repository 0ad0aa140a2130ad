//! The rows of one segment of the log, by hour and table, on their way to Parquet; and what a query sees of a
//! segment that is not Parquet yet. Both are made here, so both say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use zonescope_proto::{FAMILIES, Family, Sink, Value, Visitor, v1, walk};

use super::builder::{At, TableBuilder};
use super::custom::CustomTables;
use super::layout::Hour;
use super::lost::Lost;
use super::minutes::{Minutes, Tally};
use super::places::Places;
use crate::schema::{COMPLETENESS, FRAMES, GAPS, Table, known_table};

/// The tables of all families, by their place in [`FAMILIES`].
static TABLES: LazyLock<Vec<Arc<Table>>> =
    LazyLock::new(|| FAMILIES.iter().map(|f| Arc::new(Table::of_family(f))).collect());

static FRAMES_TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::of_family(&FRAMES)));
static GAPS_TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::of_family(&GAPS)));
static COMPLETENESS_TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::of_family(&COMPLETENESS)));

/// Rows that become one file: of one table, one hour, one segment.
#[derive(Debug, Clone)]
pub struct Part {
    /// The table.
    pub table: Arc<Table>,
    /// The hour.
    pub hour: Hour,
    /// The rows, in the order in which they came.
    pub batch: RecordBatch,
}

/// Rows of one segment.
#[derive(Debug, Default)]
pub struct Buffers {
    hours: BTreeMap<Hour, HourBuffers>,
    /// Names of the tables that users made, in this segment and before.
    custom_tables: BTreeSet<String>,
    bytes: usize,
    rows: usize,
    frames: usize,
}

impl Buffers {
    /// Without rows, in a store that has these tables.
    pub fn among(tables: impl IntoIterator<Item = String>) -> Self {
        let custom_tables = tables.into_iter().filter(|name| known_table(name).is_none()).collect();
        Buffers { custom_tables, ..Buffers::default() }
    }

    /// Those of the next segment of the same store.
    #[must_use]
    pub fn next(&self) -> Self {
        Buffers::among(self.custom_tables.iter().cloned())
    }

    /// Adds every row of a frame, of which `bytes` came over the wire, because it was asked for or by itself.
    pub fn add(&mut self, frame: &v1::Frame, bytes: usize, recovered: bool) {
        let Some(header) = &frame.header else { return };
        let buffers = self.hours.entry(Hour::of(header.time)).or_default();
        let (at, bytes_of_place) = buffers.at(header);
        let mut rows = Rows { at, buffers, custom_tables: &mut self.custom_tables, bytes: bytes_of_place, rows: 0 };
        rows.frame(header, bytes, recovered);
        walk(frame, &mut rows);
        self.bytes += rows.bytes;
        self.rows += rows.rows;
        self.frames += 1;
    }

    /// Adds frames that will never come: a row of `gaps`, and what they make of their minutes.
    pub fn add_lost(&mut self, lost: &Lost) {
        let buffers = self.hours.entry(Hour::of(lost.first.time)).or_default();
        let (at, bytes_of_place) = buffers.at(&lost.first);
        let builder = buffers.gaps.get_or_insert_with(|| TableBuilder::new(Arc::clone(&GAPS_TABLE)));
        let before = builder.bytes();
        gap(builder, at, lost);
        self.bytes += builder.bytes() - before + bytes_of_place;
        self.rows += 1;
        for (minute, missing) in lost.minutes() {
            let buffers = self.hours.entry(Hour::of(minute)).or_default();
            let (at, bytes_of_place) = buffers.at(&lost.first);
            let at = At { time: minute.cast_signed(), ..at };
            self.bytes += bytes_of_place + buffers.minutes.add(at, Tally { missing, ..Tally::default() });
        }
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows of all tables.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Frames whose rows these are.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Files that the rows will become, about.
    pub fn parts(&self) -> usize {
        self.hours.values().map(HourBuffers::parts).sum()
    }

    /// The rows, by table and hour.
    ///
    /// # Errors
    /// Where rows do not fit their columns: a defect of ours.
    pub fn finish(self) -> Result<Vec<Part>, ArrowError> {
        let mut parts = Vec::new();
        for (hour, buffers) in self.hours {
            let HourBuffers { places, frames, gaps, minutes, families, custom } = buffers;
            let tables = frames.into_iter().chain(gaps).chain(families.into_iter().flatten());
            let tables = tables.map(|builder| builder.finish(&places));
            let minutes = (minutes.rows() > 0).then(|| minutes.finish(&COMPLETENESS_TABLE, &places));
            for built in tables.chain(minutes).chain(custom.finish(&places)?.into_iter().map(Ok)) {
                let (table, batch) = built?;
                parts.push(Part { table, hour, batch });
            }
        }
        Ok(parts)
    }
}

/// Rows of one hour.
#[derive(Debug, Default)]
struct HourBuffers {
    places: Places,
    frames: Option<TableBuilder>,
    gaps: Option<TableBuilder>,
    minutes: Minutes,
    families: Vec<Option<TableBuilder>>,
    custom: CustomTables,
}

impl HourBuffers {
    /// What the rows of a frame have in common, and the bytes that it takes to know that.
    fn at(&mut self, header: &v1::Header) -> (At, usize) {
        let host = if header.host.is_empty() { &header.host_id } else { &header.host };
        let (zone, zone_id) = header.zone.as_ref().map_or(("", 0), |z| (&z.name, z.id));
        let (place, bytes) = self.places.number(host, zone, zone_id);
        (At { place, time: header.time.cast_signed() }, bytes)
    }

    fn parts(&self) -> usize {
        let kept = [&self.frames, &self.gaps].into_iter().chain(&self.families);
        usize::from(self.minutes.rows() > 0) + kept.flatten().count() + self.custom.count()
    }

    fn family(&mut self, index: usize) -> &mut TableBuilder {
        if self.families.len() <= index {
            self.families.resize_with(index + 1, || None);
        }
        self.families[index].get_or_insert_with(|| TableBuilder::new(Arc::clone(&TABLES[index])))
    }
}

/// The row of the table `gaps`, in the order of [`GAPS`].
fn gap(builder: &mut TableBuilder, at: At, lost: &Lost) {
    let Lost { first, last, noticed, reason } = lost;
    builder.begin(at);
    let values = [
        Some(Value::Text(&first.host_id)),
        Some(Value::Uint(first.epoch)),
        Some(Value::Uint(first.sequence)),
        last.map(Value::Uint),
        lost.count().map(Value::Uint),
        Some(Value::Text(reason)),
        Some(Value::Uint(first.interval_ms.into())),
        Some(Value::Uint(*noticed)),
    ];
    for (index, value) in values.into_iter().enumerate() {
        builder.value(index, value);
    }
}

/// Takes the rows of one frame.
struct Rows<'a> {
    at: At,
    buffers: &'a mut HourBuffers,
    custom_tables: &'a mut BTreeSet<String>,
    bytes: usize,
    rows: usize,
}

impl Rows<'_> {
    /// The row of the table `frames`, in the order of [`FRAMES`], and what it makes of its minute.
    fn frame(&mut self, header: &v1::Header, bytes: usize, recovered: bool) {
        let zone = header.zone.as_ref();
        let text =
            |get: fn(&v1::Zone) -> &String| zone.map(|z| get(z).as_str()).filter(|t| !t.is_empty()).map(Value::Text);
        let values = [
            Some(Value::Text(&header.host_id)),
            text(|z| &z.brand),
            zone.map(|z| z.boot_time).filter(|t| *t != 0).map(Value::Uint),
            text(|z| &z.uuid),
            text(|z| &z.state),
            Some(Value::Uint(header.epoch)),
            Some(Value::Uint(header.sequence)),
            Some(Value::Uint(header.interval_ms.into())),
            Some(Value::Uint(bytes as u64)),
            Some(Value::Uint(recovered.into())),
        ];
        let builder = self.buffers.frames.get_or_insert_with(|| TableBuilder::new(Arc::clone(&FRAMES_TABLE)));
        let before = builder.bytes();
        builder.begin(self.at);
        for (index, value) in values.into_iter().enumerate() {
            builder.value(index, value);
        }
        self.bytes += builder.bytes() - before;
        self.rows += 1;
        let tally = Tally { received: 1, recovered: recovered.into(), missing: 0 };
        self.bytes += self.buffers.minutes.add(self.at, tally);
    }
}

impl Sink for Rows<'_> {
    #[inline]
    fn row<F: Family>(&mut self, row: &F) {
        let builder = self.buffers.family(F::SPEC.index);
        let before = builder.bytes();
        builder.begin(self.at);
        row.visit(builder);
        self.bytes += builder.bytes() - before;
        self.rows += 1;
    }

    fn custom(&mut self, row: &v1::Custom) {
        self.bytes += self.buffers.custom.add(self.at, row, self.custom_tables);
        self.rows += 1;
    }
}
