//! Names to tables. Families are known from frame.proto; users' own tables from their files and the log; rates and
//! `use` are made of the others. A name is looked up when a query uses it, so a query costs only what it reads.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::completeness;
use super::rates::{LongRates, WideRates, long_schema, wide_schema};
use super::snapshot::Snapshot;
use super::stored::StoredTable;
use super::usage::{UsageTable, needed, usage_schema};
use crate::schema::{COMPLETENESS, RATES_SUFFIX, Table, VIEWS, known_table, known_tables};
use crate::store::layout::StoredFile;

/// So many of a user-defined table's newest files are looked at to find its columns.
const SCHEMA_FILES: usize = 32;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// A table on disk.
    Table(Arc<Table>),
    /// A table that is made of others; this is its schema, with units and help.
    View(SchemaRef),
}

/// The tables of a snapshot.
#[derive(Debug)]
pub struct Catalog {
    snapshot: Arc<Snapshot>,
}

impl Catalog {
    /// Of that snapshot.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Catalog { snapshot }
    }

    /// The tables, without views, in order: those that are known, and those that users made.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn tables(&self) -> std::io::Result<Vec<String>> {
        let mut tables: Vec<String> = known_tables().map(|f| f.table.to_owned()).collect();
        tables.extend(self.snapshot.tables()?);
        tables.sort_unstable();
        tables.dedup();
        Ok(tables)
    }

    /// The views, in order.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn views(&self) -> std::io::Result<Vec<String>> {
        let mut views: Vec<String> = VIEWS.map(str::to_owned).to_vec();
        for table in self.tables()? {
            if self.stored(&table)?.and_then(WideRates::new).is_some() {
                views.push(format!("{table}{RATES_SUFFIX}"));
            }
        }
        views.sort_unstable();
        Ok(views)
    }

    /// What a name stands for; `None` where it stands for nothing.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn describe(&self, name: &str) -> std::io::Result<Option<Relation>> {
        Ok(match name {
            "use" => Some(Relation::View(usage_schema())),
            "rates" => Some(Relation::View(long_schema())),
            _ => match (self.stored(name)?, name.strip_suffix(RATES_SUFFIX)) {
                (Some(table), _) => Some(Relation::Table(Arc::clone(table.table()))),
                (None, Some(base)) => {
                    self.stored(base)?.map(|base| Relation::View(Arc::new(wide_schema(base.table()))))
                }
                (None, None) => None,
            },
        })
    }

    fn stored(&self, name: &str) -> std::io::Result<Option<Arc<StoredTable>>> {
        let table = match known_table(name) {
            Some(family) => Some(Table::of_family(family)),
            None => self.custom(name)?,
        };
        Ok(table.map(|table| Arc::new(StoredTable::new(Arc::clone(&self.snapshot), Arc::new(table)))))
    }

    /// A user-defined table: the columns of its newest files, and of its rows in the log.
    fn custom(&self, name: &str) -> std::io::Result<Option<Table>> {
        let files = self.snapshot.files(name, |_| true)?;
        let mut schemas: Vec<Schema> = files.iter().rev().take(SCHEMA_FILES).filter_map(file_schema).collect();
        let in_log = self.snapshot.log_rows()?.iter().filter(|part| part.table.name == name);
        schemas.extend(in_log.map(|part| part.batch.schema().as_ref().clone()));
        Ok((!schemas.is_empty()).then(|| Table::of_files(name, &schemas)))
    }

    fn resolve(&self, name: &str) -> std::io::Result<Option<Arc<dyn TableProvider>>> {
        match name {
            "use" => {
                let tables = needed().filter_map(|(name, _)| self.stored(name).transpose());
                Ok(Some(Arc::new(UsageTable::new(tables.collect::<std::io::Result<_>>()?))))
            }
            "rates" => {
                let tables = self.tables()?;
                let bases = tables.iter().filter_map(|name| self.stored(name).transpose());
                Ok(Some(Arc::new(LongRates::new(bases.collect::<std::io::Result<_>>()?))))
            }
            _ => {
                if let Some(table) = self.stored(name)? {
                    if name == COMPLETENESS.table {
                        return completeness::view(table).map(Some).map_err(std::io::Error::other);
                    }
                    return Ok(Some(table));
                }
                let Some(base) = name.strip_suffix(RATES_SUFFIX) else { return Ok(None) };
                let rates = self.stored(base)?.and_then(WideRates::new);
                Ok(rates.map(|rates| Arc::new(rates) as Arc<dyn TableProvider>))
            }
        }
    }
}

/// The schema of a file, as we wrote it. `None` where it is damaged: reading it will say so.
fn file_schema(file: &StoredFile) -> Option<Schema> {
    let opened = std::fs::File::open(&file.path).ok()?;
    let metadata = ArrowReaderMetadata::load(&opened, Default::default()).ok()?;
    Some(metadata.schema().as_ref().clone())
}

#[async_trait]
impl SchemaProvider for Catalog {
    fn table_names(&self) -> Vec<String> {
        let names = self.tables().and_then(|tables| Ok([tables, self.views()?].concat()));
        names.unwrap_or_default()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.resolve(name).map_err(DataFusionError::IoError)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.resolve(name).is_ok_and(|table| table.is_some())
    }
}
