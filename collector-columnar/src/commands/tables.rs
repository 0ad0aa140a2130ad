//! `tables`: what can be asked about.

use std::fs::File;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Schema};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::statistics::Statistics;
use terminal_size::terminal_size_of;
use zonescope_link::stdout::{say, unless_nobody_reads};

use super::stdout;
use crate::cli::TablesArguments;
use crate::config;
use crate::query::catalog::{Catalog, Relation};
use crate::query::output::{Format, Output};
use crate::query::snapshot::Snapshot;
use crate::query::{Engine, QueryError, hint};
use crate::schema::TIME;
use crate::store::layout::StoredFile;

/// Lists all tables and views, or describes one.
///
/// # Errors
/// Where there is no such store or table.
pub fn tables(arguments: &TablesArguments) -> anyhow::Result<()> {
    let root = config::root(arguments.store.root.as_deref())?;
    let snapshot = Engine::open(&root, 1)?.snapshot()?;
    let catalog = Catalog::new(Arc::clone(&snapshot));
    let Some(name) = &arguments.name else {
        // On a terminal a line is a line; whoever wants all of it names the table, or reads JSON.
        let width = terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| usize::from(width.0));
        return print(&list(&catalog, &snapshot)?, arguments.format, width);
    };
    let schema = match catalog.describe(name)? {
        Some(Relation::Table(table)) => Arc::clone(&table.schema),
        Some(Relation::View(schema)) => schema,
        None => {
            let names = [catalog.tables()?, catalog.views()?].concat();
            let hint = hint::did_you_mean(name, &names);
            return Err(QueryError::Sql { error: format!("there is no table or view {name}"), hint }.into());
        }
    };
    if arguments.format == Format::Table {
        say(&format!("{}\n", about(&catalog, name)?))?;
    }
    print(&columns(&schema)?, arguments.format, usize::MAX)
}

fn print(answer: &RecordBatch, format: Format, line_width: usize) -> anyhow::Result<()> {
    let mut output = Output::new(stdout(), format, answer.schema()).cut_at(line_width);
    Ok(unless_nobody_reads(output.write(answer).and_then(|()| output.finish().map(|_| ())))?)
}

/// What a table or view says, in a sentence.
fn about(catalog: &Catalog, name: &str) -> std::io::Result<String> {
    Ok(match (name, catalog.describe(name)?) {
        (_, Some(Relation::Table(table))) => table.about.clone(),
        ("use", _) => "Utilization, saturation and errors of each resource, zone and tick.".to_owned(),
        ("rates", _) => "Every counter of every table, per second, a row each.".to_owned(),
        (other, _) => format!("The table {}, its counters per second.", other.trim_end_matches("_rates")),
    })
}

/// What is stored of one table.
#[derive(Debug, Default)]
struct Extent {
    rows: u64,
    files: u64,
    bytes: u64,
    times: Option<(i64, i64)>,
}

impl Extent {
    fn of(name: &str, snapshot: &Snapshot) -> std::io::Result<Self> {
        let mut extent = Extent::default();
        for file in snapshot.files(name, |_| true)? {
            extent.files += 1;
            extent.bytes += file.bytes;
            if let Some((rows, times)) = footer(&file) {
                extent.rows += rows;
                times.into_iter().for_each(|t| extent.widen(t));
            } else {
                tracing::warn!(file = %file.path.display(), "damaged: its rows are not counted");
            }
        }
        for part in snapshot.log_rows()?.iter().filter(|p| p.table.name == name) {
            use datafusion::arrow::array::AsArray;
            use datafusion::arrow::compute::{max, min};
            let times = part.batch.column(TIME).as_primitive::<datafusion::arrow::datatypes::TimestampNanosecondType>();
            extent.rows += part.batch.num_rows() as u64;
            min(times).zip(max(times)).into_iter().for_each(|t| extent.widen(t));
        }
        Ok(extent)
    }

    fn widen(&mut self, (from, to): (i64, i64)) {
        self.times = Some(self.times.map_or((from, to), |(a, b)| (a.min(from), b.max(to))));
    }
}

/// Rows and range of time of a file, as its footer has them. `None` where it is damaged.
fn footer(file: &StoredFile) -> Option<(u64, Option<(i64, i64)>)> {
    let metadata = ArrowReaderMetadata::load(&File::open(&file.path).ok()?, Default::default()).ok()?;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok()?;
    let times = metadata.metadata().row_groups().iter().filter_map(|group| match group.column(TIME).statistics()? {
        Statistics::Int64(times) => times.min_opt().copied().zip(times.max_opt().copied()),
        _ => None,
    });
    Some((rows, times.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))))
}

/// All tables that have rows, and all views.
fn list(catalog: &Catalog, snapshot: &Snapshot) -> anyhow::Result<RecordBatch> {
    let mut rows: Vec<(String, Option<Extent>, String)> = Vec::new();
    for name in catalog.tables()? {
        let (extent, about) = (Extent::of(&name, snapshot)?, about(catalog, &name)?);
        rows.push((name, Some(extent), about));
    }
    for name in catalog.views()? {
        let about = about(catalog, &name)?;
        rows.push((name, None, about));
    }
    let number = |get: fn(&Extent) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, extent, _)| extent.as_ref().map(get)).collect::<UInt64Array>())
    };
    let time = |get: fn(&(i64, i64)) -> i64| -> ArrayRef {
        let times = rows.iter().map(|(_, extent, _)| extent.as_ref()?.times.as_ref().map(get));
        Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
    };
    let text = |get: fn(&(String, Option<Extent>, String)) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(get)))
    };
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("name", text(|r| &r.0), false),
        ("kind", text(|r| if r.1.is_some() { "table" } else { "view" }), false),
        ("rows", number(|e| e.rows), true),
        ("files", number(|e| e.files), true),
        ("bytes", number(|e| e.bytes), true),
        ("from", time(|t| t.0), true),
        ("to", time(|t| t.1), true),
        ("about", text(|r| &r.2), false),
    ])?)
}

/// The columns of one table or view.
fn columns(schema: &Schema) -> anyhow::Result<RecordBatch> {
    let texts = |key: &str| -> ArrayRef {
        let text = |f: &Arc<datafusion::arrow::datatypes::Field>| f.metadata().get(key).cloned().unwrap_or_default();
        Arc::new(StringArray::from_iter_values(schema.fields().iter().map(text)))
    };
    let names = StringArray::from_iter_values(schema.fields().iter().map(|f| f.name()));
    let types = StringArray::from_iter_values(schema.fields().iter().map(|f| type_name(f.data_type())));
    let nullable: BooleanArray = schema.fields().iter().map(|f| Some(f.is_nullable())).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", Arc::new(names)),
        ("type", Arc::new(types)),
        ("null", Arc::new(nullable)),
        ("kind", texts("kind")),
        ("unit", texts("unit")),
        ("help", texts("help")),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn type_name(ty: &DataType) -> &'static str {
    match ty {
        DataType::UInt64 => "u64",
        DataType::Int64 => "i64",
        DataType::Float64 => "f64",
        DataType::Timestamp(..) => "timestamp",
        _ => "text",
    }
}
