//! A table on disk and in the log, as DataFusion sees it.
//!
//! Hours that the WHERE excludes are not even listed. Within a file DataFusion skips row groups and pages by their
//! statistics, and row groups by the bloom filter. A column that a file lacks is NULL.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::range::TimeRange;
use super::reader::Files;
use super::snapshot::Snapshot;
use crate::schema::Table;
use crate::store::layout::StoredFile;
use crate::store::sort::sorted;

/// Under which address DataFusion knows the root.
pub const STORE_URL: &str = "zonescope://store/";

/// Footers are read with so many bytes at once: one read for nearly all of ours.
const FOOTER_GUESS_BYTES: usize = 64 << 10;

/// A table of a snapshot.
#[derive(Debug)]
pub struct StoredTable {
    snapshot: Arc<Snapshot>,
    table: Arc<Table>,
    schema: SchemaRef,
}

impl StoredTable {
    /// A table, of which `table` says what it looks like.
    pub fn new(snapshot: Arc<Snapshot>, table: Arc<Table>) -> Self {
        let schema = as_read(&table.schema);
        StoredTable { snapshot, table, schema }
    }

    /// What it looks like.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The files to read, less those whose end shows that they are damaged.
    fn files(&self, range: TimeRange) -> Result<Vec<StoredFile>> {
        let mut files = self.snapshot.files(&self.table.name, |hour| range.touches(hour)).map_err(external)?;
        files.retain(|file| {
            let whole = ends_well(&file.path).unwrap_or(true);
            if !whole {
                self.snapshot.report_damaged(&file.path);
            }
            self.snapshot.touch(&file.path);
            whole
        });
        Ok(files)
    }

    fn scan_files(
        &self,
        files: &[StoredFile],
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let root = self.snapshot.root();
        let files = files.iter().filter_map(|file| {
            let relative = file.path.strip_prefix(root).ok()?.to_str()?;
            let mut file_to_read = PartitionedFile::new(relative, file.bytes);
            // By this and the size a footer that is remembered is known to be the file's.
            file_to_read.object_meta.last_modified = file.modified.into();
            Some(file_to_read)
        });
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        let runtime = state.runtime_env();
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let reader = Files::new(root, runtime.object_store(&url)?, footers);
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_metadata_size_hint(FOOTER_GUESS_BYTES)
            .with_parquet_file_reader_factory(Arc::new(reader));
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(FileGroup::new(files.collect()).split_files(state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The rows that are in the log only, in series as those of a file are.
    fn log_batches(&self, range: TimeRange) -> Result<Vec<RecordBatch>> {
        let parts = self.snapshot.log_rows().map_err(external)?;
        let ours = parts.iter().filter(|p| p.table.name == self.table.name && range.touches(p.hour));
        ours.map(|part| conform(&sorted(&part.table, &part.batch)?, &self.schema)).collect()
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let range = TimeRange::of(filters);
        // The log was opened before, files are listed now: see `snapshot`.
        let files = self.files(range)?;
        let batches = self.log_batches(range)?;
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !files.is_empty() {
            plans.push(self.scan_files(&files, state, projection)?);
        }
        if !batches.is_empty() {
            plans.push(MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?);
        }
        match plans.len() {
            0 => {
                let schema = match projection {
                    Some(projection) => Arc::new(self.schema.project(projection)?),
                    None => self.schema(),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(plans.swap_remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

/// The schema without what it says of its fields: DataFusion compares that, and it differs between versions of ours.
pub fn bare(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|f| f.as_ref().clone().with_metadata([].into())).collect::<Vec<_>>(),
    ))
}

/// The schema of a table in memory: texts as views, of which a name that comes again costs 16 bytes and no copy.
pub fn as_read(schema: &Schema) -> SchemaRef {
    let viewed = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => field.as_ref().clone().with_data_type(DataType::Utf8View),
        _ => field.as_ref().clone(),
    };
    bare(&Schema::new(schema.fields().iter().map(viewed).collect::<Vec<_>>()))
}

/// The same rows in the columns of `schema`.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns = schema.fields().iter().map(column).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Whether a file ends as Parquet does: a length that fits the file, and the magic.
fn ends_well(path: &Path) -> std::io::Result<bool> {
    const TAIL: u64 = 8;
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length <= TAIL {
        return Ok(false);
    }
    let mut tail = [0u8; TAIL as usize];
    file.seek(SeekFrom::End(-TAIL.cast_signed()))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    Ok(&magic == b"PAR1" && u64::from(u32::from_le_bytes([a, b, c, d])) < length - TAIL)
}

fn external(error: std::io::Error) -> DataFusionError {
    DataFusionError::IoError(error)
}
