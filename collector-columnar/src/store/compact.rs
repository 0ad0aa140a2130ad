//! Many small files of an hour become one. A flush a minute leaves sixty files an hour and table; a question about a
//! day would open more than a thousand. Merged they are also smaller, since each series is in one piece.
//!
//! Rows are merged, not sorted, file by file as they are: memory is a row group of each. The merged file is named by
//! the range of its segments, and supersedes them the moment it appears; then they are removed. Only files of
//! segments older than any in the log take part (see `store` for why), and only neighbours: a range stands for all
//! files within it. A damaged file stays as it is, and its neighbours on either side are merged apart.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::encoding::Packing;
use super::layout::{Hour, Segments, StoredFile, list_hours, list_log, list_part, list_tables, split_superseded};
use super::writer::ParquetWriter;
use super::{Place, StoreError, damage, ns};
use crate::limits::{HOUR_GRACE, MERGE_FILES, SMALL_FILES};
use crate::schema::{Table, known_table};

const STORE_URL: &str = "zonescope://store/";

/// Files of one table and hour that are to become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The table.
    pub table: String,
    /// The hour.
    pub hour: Hour,
    /// The files, at least two, neighbours.
    pub files: Vec<StoredFile>,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Merged; so many bytes became so many.
    Merged {
        /// Bytes of the files before.
        before: u64,
        /// Bytes of the merged file.
        after: u64,
    },
    /// Nothing was changed: these files are damaged.
    Damaged(BTreeSet<PathBuf>),
}

/// What there is to merge: hours that are over, and hours of very many files. `everything` does not wait for hours to
/// end. Files known to be `damaged` are left alone.
///
/// # Errors
/// Where the store cannot be read.
pub fn jobs(place: &Place, now: u64, everything: bool, damaged: &BTreeSet<PathBuf>) -> Result<Vec<Job>, StoreError> {
    let root = &place.root;
    let reading = || StoreError::io("read", root);
    // Listed before the files: a segment that is flushed meanwhile only waits for the next time.
    let oldest_in_log = list_log(root).map_err(reading())?.first().copied();
    let mut jobs = Vec::new();
    for table in list_tables(root).map_err(reading())? {
        for hour in list_hours(root, &table).map_err(reading())? {
            let (mut files, _) = split_superseded(list_part(root, &table, hour).map_err(reading())?);
            files.retain(|f| oldest_in_log.is_none_or(|oldest| f.segments.last < oldest));
            let is_over = hour.end().saturating_add_unsigned(ns(HOUR_GRACE)) < now.cast_signed();
            if !(everything || is_over || files.len() >= SMALL_FILES) {
                continue;
            }
            for run in files.split(|f| damaged.contains(&f.path)).flat_map(|run| run.chunks(MERGE_FILES)) {
                if run.len() > 1 {
                    jobs.push(Job { table: table.clone(), hour, files: run.to_vec() });
                }
            }
        }
    }
    Ok(jobs)
}

/// Merges the files of a job.
///
/// # Errors
/// Where the disk refuses; then everything is as it was.
pub async fn merge(place: &Place, job: &Job) -> Result<Outcome, StoreError> {
    let merged = match read_schemas(job) {
        Some((table, rows)) => write(place, job, &table, rows).await,
        None => Err(MergeError::Read("a footer cannot be read".to_owned())),
    };
    let path = match merged {
        Ok(path) => path,
        Err(MergeError::Write(error)) => return Err(error),
        Err(MergeError::Read(why)) => {
            let damaged = damage::find(&job.files.iter().map(|f| f.path.clone()).collect());
            if damaged.is_empty() {
                return Err(StoreError::Merge { table: job.table.clone(), why });
            }
            return Ok(Outcome::Damaged(damaged));
        }
    };
    let fs = place.fs.as_ref();
    let folder = path.parent().unwrap_or(&place.root);
    fs.sync_dir(folder).map_err(StoreError::io("sync", folder))?;
    for file in &job.files {
        fs.remove_file(&file.path).map_err(StoreError::io("remove", &file.path))?;
    }
    fs.sync_dir(folder).map_err(StoreError::io("sync", folder))?;
    let after = std::fs::metadata(&path).map_or(0, |m| m.len());
    Ok(Outcome::Merged { before: job.files.iter().map(|f| f.bytes).sum(), after })
}

enum MergeError {
    Read(String),
    Write(StoreError),
}

impl From<DataFusionError> for MergeError {
    fn from(error: DataFusionError) -> Self {
        MergeError::Read(error.to_string())
    }
}

/// The table that the files make together, and how many rows they have. `None` where a footer is damaged.
fn read_schemas(job: &Job) -> Option<(Table, usize)> {
    let mut schemas: Vec<Schema> = Vec::new();
    let mut rows = 0;
    for file in &job.files {
        let metadata = ArrowReaderMetadata::load(&File::open(&file.path).ok()?, Default::default()).ok()?;
        schemas.push(metadata.schema().as_ref().clone());
        rows += usize::try_from(metadata.metadata().file_metadata().num_rows()).ok()?;
    }
    let table = known_table(&job.table).map(Table::of_family);
    Some((table.unwrap_or_else(|| Table::of_files(&job.table, &schemas)), rows))
}

async fn write(place: &Place, job: &Job, table: &Table, rows: usize) -> Result<PathBuf, MergeError> {
    let context = SessionContext::new();
    let files = LocalFileSystem::new_with_prefix(&place.root).map_err(DataFusionError::from)?;
    context.register_object_store(ObjectStoreUrl::parse(STORE_URL)?.as_ref(), Arc::new(files));
    let mut stream = plan(place, job, table)?.execute(0, context.task_ctx())?;

    let segments = Segments {
        first: job.files.first().map_or(0, |f| f.segments.first),
        last: job.files.last().map_or(0, |f| f.segments.last),
    };
    let mut writer =
        ParquetWriter::create(place, table, job.hour, segments, Packing::Tight).map_err(MergeError::Write)?;
    let mut written = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        written += batch.num_rows();
        let batch = batch.with_schema(Arc::clone(&table.schema)).map_err(DataFusionError::from)?;
        writer.write(&batch).map_err(MergeError::Write)?;
    }
    if written != rows {
        return Err(MergeError::Read(format!("{rows} rows went in and {written} came out")));
    }
    writer.finish().map_err(MergeError::Write)
}

/// One sorted stream of the rows of all files.
fn plan(place: &Place, job: &Job, table: &Table) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let schema = crate::query::stored::bare(&table.schema);
    let order = table
        .sort_columns()
        .into_iter()
        .map(|i| PhysicalSortExpr::new_default(Arc::new(Column::new(schema.field(i).name(), i))));
    let order = LexOrdering::new(order).ok_or_else(|| DataFusionError::Plan("a table is sorted".to_owned()))?;
    let group = |file: &StoredFile| {
        let relative = file.path.strip_prefix(&place.root).ok()?.to_str()?;
        Some(FileGroup::new(vec![PartitionedFile::new(relative, file.bytes)]))
    };
    let source = Arc::new(ParquetSource::new(Arc::clone(&schema)));
    let builder = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, source)
        .with_file_groups(job.files.iter().filter_map(group).collect());
    // Files of users' tables may have been sorted by fewer labels, or in another order of them.
    if known_table(&job.table).is_none() {
        let sorted = SortExec::new(order.clone(), DataSourceExec::from_data_source(builder.build()));
        let sorted = Arc::new(sorted.with_preserve_partitioning(true));
        return Ok(Arc::new(SortPreservingMergeExec::new(order, sorted)));
    }
    let read = DataSourceExec::from_data_source(builder.with_output_ordering(vec![order.clone()]).build());
    Ok(Arc::new(SortPreservingMergeExec::new(order, read)))
}
