//! Frames, put together again from the rows of tables: what was one frame when it came is one frame again, as far as
//! its rows were asked for.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use zonescope_proto::{FamilySpec, Value, add_row, v1};

use crate::schema::{COMMON, FRAMES, HOST, TIME, ZONE, ZONE_ID, known_table};

/// The rows of one table, one after another.
struct Cursor {
    family: &'static FamilySpec,
    /// Of each field of the family: its column, where it is needed.
    columns: Vec<Option<usize>>,
    rows: SendableRecordBatchStream,
    batch: Option<RecordBatch>,
    row: usize,
}

/// What belongs into one frame.
type Moment<'a> = (&'a str, &'a str, i64);

impl Cursor {
    fn new(table: &str, needed: &[&str], rows: SendableRecordBatchStream) -> Result<Self> {
        let family = known_table(table).ok_or_else(|| exec_datafusion_err!("no family {table}"))?;
        let place = |name| needed.iter().position(|n| *n == name).map(|i| COMMON.len() + i);
        let columns = family.fields.iter().map(|f| place(f.name)).collect();
        Ok(Cursor { family, columns, rows, batch: None, row: 0 })
    }

    /// Goes to the next row; over the end of a batch to the next batch.
    async fn advance(&mut self) -> Result<()> {
        self.row += 1;
        while self.batch.as_ref().is_none_or(|b| self.row >= b.num_rows()) {
            self.batch = self.rows.next().await.transpose()?;
            self.row = 0;
            if self.batch.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn moment(&self) -> Option<Moment<'_>> {
        let batch = self.batch.as_ref()?;
        let text = |i: usize| batch.column(i).as_string_view().value(self.row);
        Some((text(HOST), text(ZONE), batch.column(TIME).as_primitive::<TimestampNanosecondType>().value(self.row)))
    }

    fn zone_id(&self) -> u64 {
        self.batch.as_ref().map_or(0, |b| b.column(ZONE_ID).as_primitive::<UInt64Type>().value(self.row))
    }

    fn value(&self, column: usize) -> Option<Value<'_>> {
        let array = self.batch.as_ref()?.column(column);
        let row = self.row;
        array.is_valid(row).then(|| match array.data_type() {
            DataType::UInt64 => Some(Value::Uint(array.as_primitive::<UInt64Type>().value(row))),
            DataType::Int64 => Some(Value::Int(array.as_primitive::<Int64Type>().value(row))),
            DataType::Float64 => Some(Value::Double(array.as_primitive::<Float64Type>().value(row))),
            DataType::Utf8View => Some(Value::Text(array.as_string_view().value(row))),
            _ => None,
        })?
    }

    /// Adds the row to a frame.
    fn add_to(&self, frame: &mut v1::Frame) {
        let values: Vec<Option<Value<'_>>> = self.columns.iter().map(|c| self.value((*c)?)).collect();
        if std::ptr::eq(self.family, &FRAMES) {
            let boot_time = self.columns.iter().flatten().find_map(|c| self.value(*c));
            if let (Some(zone), Some(Value::Uint(boot_time))) = (zone_of(frame), boot_time) {
                zone.boot_time = boot_time;
            }
        } else {
            add_row(frame, self.family.index, &values);
        }
    }
}

fn zone_of(frame: &mut v1::Frame) -> Option<&mut v1::Zone> {
    frame.header.as_mut()?.zone.as_mut()
}

/// The tables side by side.
pub struct Frames {
    cursors: Vec<Cursor>,
    started: bool,
}

impl Frames {
    /// Of tables with these columns after the common ones, each in the order of host, zone and time.
    ///
    /// # Errors
    /// Where there is no such table.
    pub fn new<'a>(
        tables: impl IntoIterator<Item = (&'a str, &'a [&'a str], SendableRecordBatchStream)>,
    ) -> Result<Self> {
        let cursors = tables.into_iter().map(|(table, columns, rows)| Cursor::new(table, columns, rows));
        Ok(Frames { cursors: cursors.collect::<Result<_>>()?, started: false })
    }

    /// The next frame of a zone: all rows of the earliest moment.
    ///
    /// # Errors
    /// Where a table cannot be read.
    pub async fn next(&mut self) -> Result<Option<v1::Frame>> {
        if !self.started {
            self.started = true;
            for cursor in &mut self.cursors {
                cursor.advance().await?;
            }
        }
        loop {
            let first = self.cursors.iter().filter_map(|c| Some((c.moment()?, c.zone_id()))).min_by_key(|f| f.0);
            let Some(((host, zone, time), zone_id)) = first else { return Ok(None) };
            let (host, zone) = (host.to_owned(), zone.to_owned());
            let mut frame = v1::Frame { header: Some(header(&host, &zone, zone_id, time)), ..v1::Frame::default() };
            for cursor in &mut self.cursors {
                while cursor.moment() == Some((&host, &zone, time)) {
                    cursor.add_to(&mut frame);
                    cursor.advance().await?;
                }
            }
            // The host's own frame only announces.
            if !zone.is_empty() {
                return Ok(Some(frame));
            }
        }
    }
}

fn header(host: &str, zone: &str, zone_id: u64, time: i64) -> v1::Header {
    let zone = v1::Zone { name: zone.to_owned(), id: zone_id, ..v1::Zone::default() };
    v1::Header {
        host: host.to_owned(),
        host_id: host.to_owned(),
        zone: Some(zone),
        time: time.cast_unsigned(),
        ..v1::Header::default()
    }
}
