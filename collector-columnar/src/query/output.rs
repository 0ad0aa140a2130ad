//! Results for people and for programs. In every format NULL is something else than 0 and than an empty text, and a u64
//! is exact.
//!
//! | format | NULL | empty text |
//! |---|---|---|
//! | table | `NULL` | nothing |
//! | csv | nothing | `""` |
//! | json | `null` | `""` |

use std::io::{self, Write};

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// Comma-separated, RFC 4180.
    Csv,
    /// One JSON object a line.
    Json,
}

/// A table's columns are as wide as its first rows need; so many of these are looked at.
const MEASURED_ROWS: usize = 1000;

/// Writes a result, batch by batch.
pub struct Output<W: Write> {
    to: W,
    format: Format,
    schema: SchemaRef,
    widths: Option<Vec<usize>>,
    line_width: usize,
    rows: u64,
}

impl<W: Write> Output<W> {
    /// Of rows that look like `schema`.
    pub fn new(to: W, format: Format, schema: SchemaRef) -> Self {
        Output { to, format, schema, widths: None, line_width: usize::MAX, rows: 0 }
    }

    /// The same, the lines of a table cut at so many characters.
    #[must_use]
    pub fn cut_at(self, line_width: usize) -> Self {
        Output { line_width, ..self }
    }

    /// Writes some rows.
    ///
    /// # Errors
    /// Where they cannot be written: of kind `BrokenPipe` where nobody reads any more.
    pub fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.rows += batch.num_rows() as u64;
        match self.format {
            Format::Table => self.table(batch),
            Format::Csv => self.csv(batch),
            Format::Json => self.json(batch),
        }
    }

    /// Ends; an empty result still has its head. Gives the number of rows.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        if self.widths.is_none() && self.format != Format::Json {
            self.write(&RecordBatch::new_empty(self.schema.clone()))?;
        }
        self.to.flush()?;
        Ok(self.rows)
    }

    fn names(&self) -> Vec<String> {
        self.schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    fn table(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let options = FormatOptions::new().with_null("NULL");
        let columns = formatters(batch, &options)?;
        let rows: Vec<Vec<String>> = (0..batch.num_rows())
            .map(|row| columns.iter().map(|c| one_line(&c.value(row).to_string())).collect())
            .collect();
        let right: Vec<bool> = self.schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
        if self.widths.is_none() {
            let names = self.names();
            let width =
                |i: usize| rows.iter().take(MEASURED_ROWS).chain([&names]).map(|row| row[i].chars().count()).max();
            let widths: Vec<usize> = (0..names.len()).map(|i| width(i).unwrap_or(0)).collect();
            self.line(&names, &widths, &right)?;
            let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
            self.line(&rule, &widths, &right)?;
            self.widths = Some(widths);
        }
        let widths = self.widths.clone().unwrap_or_default();
        rows.iter().try_for_each(|row| self.line(row, &widths, &right))
    }

    fn line(&mut self, cells: &[String], widths: &[usize], right: &[bool]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if *right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.extend([before, cell, after, "  "]);
        }
        let line = line.trim_end();
        if line.chars().count() <= self.line_width {
            return writeln!(self.to, "{line}");
        }
        let cut: String = line.chars().take(self.line_width.saturating_sub(1)).collect();
        writeln!(self.to, "{cut}…")
    }

    fn csv(&mut self, batch: &RecordBatch) -> io::Result<()> {
        if self.widths.is_none() {
            let names: Vec<String> = self.names().iter().map(|n| quoted(n, false)).collect();
            writeln!(self.to, "{}", names.join(","))?;
            self.widths = Some(Vec::new());
        }
        let options = FormatOptions::new();
        let columns = formatters(batch, &options)?;
        for row in 0..batch.num_rows() {
            let cell = |(column, values): (&ArrayFormatter<'_>, &ArrayRef)| match values.is_null(row) {
                true => String::new(),
                false => quoted(&column.value(row).to_string(), is_text(values.data_type())),
            };
            let cells: Vec<String> = columns.iter().zip(batch.columns()).map(cell).collect();
            writeln!(self.to, "{}", cells.join(","))?;
        }
        Ok(())
    }

    fn json(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let builder = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, arrow_json::writer::LineDelimited>(&mut self.to);
        writer.write(batch).and_then(|()| writer.finish()).map_err(plain_io)
    }
}

fn formatters<'a>(batch: &'a RecordBatch, options: &'a FormatOptions<'a>) -> io::Result<Vec<ArrayFormatter<'a>>> {
    batch
        .columns()
        .iter()
        .map(|c| ArrayFormatter::try_new(c.as_ref(), options))
        .collect::<Result<_, _>>()
        .map_err(plain_io)
}

/// The error of the file or pipe itself, where there is one within.
fn plain_io(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// A field of CSV. An empty text is quoted, so that it is no NULL.
fn quoted(text: &str, is_text: bool) -> String {
    if text.contains(['"', ',', '\n', '\r']) || (is_text && text.is_empty()) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A table has a row a line, whatever a process is called; and no escape sequence reaches the terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}
