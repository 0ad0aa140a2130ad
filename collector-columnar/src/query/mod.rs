//! Questions in SQL about a store, one being written included.
//!
//! [`snapshot`] sees a consistent state, [`stored`] reads its tables ([`reader`]), [`rates`] and [`usage`] derive others
//! from them ([`steps`], [`frames`]), [`runs`] groups by zone, [`catalog`] finds them by name, [`output`] prints,
//! [`completeness`] says how much of what there was the answer was made of. This module puts them together and sees a
//! query through: where the store changes under it, it begins anew; where a file is damaged, it names the file and
//! answers from the rest.

pub mod catalog;
pub mod completeness;
pub mod derived;
pub mod frames;
pub mod hint;
pub mod output;
pub mod range;
pub mod rates;
pub mod reader;
pub mod runs;
pub mod scope;
pub mod snapshot;
pub mod steps;
pub mod stored;
pub mod usage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::StreamExt;

use self::catalog::Catalog;
use self::scope::Scope;
use self::snapshot::{Snapshot, Stale};
use self::stored::STORE_URL;
use crate::limits::{ATTEMPTS, FOOTERS_BYTES, HOLD_BACK_BYTES};
use crate::store::damage;

const CATALOG: &str = "zonescope";
const SCHEMA: &str = "public";

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The root is none.
    #[error("{} is no store: {reason}; give the folder that `run --root` was given", root.display())]
    NoStore {
        /// What was given.
        root: PathBuf,
        /// Why it is none.
        reason: String,
    },
    /// The question is wrong.
    #[error("{error}{}", if hint.is_empty() { String::new() } else { format!(": {hint}") })]
    Sql {
        /// What is wrong.
        error: String,
        /// What to do about it.
        hint: String,
    },
    /// The store cannot be read.
    #[error("cannot read the store: {0}")]
    Store(#[from] std::io::Error),
    /// A file turned out to be damaged when part of the answer was printed.
    #[error("{} is damaged, and {rows} rows were printed before that showed: they are right, the rest is missing", file.display())]
    Late {
        /// The file.
        file: PathBuf,
        /// Rows printed.
        rows: u64,
    },
    /// The answer could not be worked out.
    #[error("{0}")]
    Failed(String),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Output(std::io::Error),
}

/// A store, to be asked. Who asks more than once keeps it: footers of files that were read are remembered.
#[derive(Debug)]
pub struct Engine {
    root: PathBuf,
    threads: usize,
    runtime: Arc<RuntimeEnv>,
}

/// What takes an answer.
pub trait Answer {
    /// Begins, or begins anew: what was written before is void.
    ///
    /// # Errors
    /// Where it cannot be.
    fn begin(&mut self, schema: SchemaRef) -> std::io::Result<()>;

    /// Takes some rows.
    ///
    /// # Errors
    /// Where they cannot be written.
    fn rows(&mut self, batch: &RecordBatch) -> std::io::Result<()>;

    /// Whether [`Answer::begin`] can undo what was written.
    fn can_begin_anew(&self) -> bool;
}

/// How an attempt ended that has no answer.
enum Ended {
    /// The store changed, or a file is damaged: begin anew.
    Again,
    /// There is no point.
    For(QueryError),
}

impl Engine {
    /// Of the store at `root`, with so many threads.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn open(root: &Path, threads: usize) -> Result<Self, QueryError> {
        // Absolute, since the file system that DataFusion is given wants it so.
        let no_store = |e: std::io::Error| QueryError::NoStore { root: root.to_owned(), reason: e.to_string() };
        let absolute = root.canonicalize().map_err(no_store)?;
        if !absolute.is_dir() {
            return Err(no_store(std::io::ErrorKind::NotADirectory.into()));
        }
        let failed = |e: DataFusionError| QueryError::Failed(e.to_string());
        let runtime = RuntimeEnvBuilder::new().with_metadata_cache_limit(FOOTERS_BYTES).build_arc().map_err(failed)?;
        let files = LocalFileSystem::new_with_prefix(&absolute).map_err(|e| failed(e.into()))?;
        let url = ObjectStoreUrl::parse(STORE_URL).map_err(failed)?;
        runtime.register_object_store(url.as_ref(), Arc::new(files));
        Ok(Engine { root: absolute, threads: threads.max(1), runtime })
    }

    /// The store as it is now.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, QueryError> {
        Ok(Arc::new(Snapshot::take(&self.root, BTreeSet::new())?))
    }

    /// Answers a question; gives what it was about, `None` where about nothing that is stored. Damaged files are
    /// named in the log, and left out.
    ///
    /// # Errors
    /// Where the question is wrong, or the store cannot be read, or the answer cannot be written.
    pub async fn answer(&self, sql: &str, to: &mut dyn Answer) -> Result<Option<Scope>, QueryError> {
        let mut excluded = BTreeSet::new();
        for _ in 0..ATTEMPTS {
            let snapshot = Arc::new(Snapshot::take(&self.root, excluded.clone())?);
            let ended = self.attempt(&snapshot, sql, to).await;
            let damaged = snapshot.damaged();
            for file in &damaged {
                let why = damage::why(file).unwrap_or_default();
                tracing::warn!(file = %file.display(), "damaged, the answer is without its rows: {why}");
            }
            excluded.extend(damaged);
            match ended {
                Ok(scope) => return Ok(scope),
                Err(Ended::Again) => {}
                Err(Ended::For(error)) => return Err(error),
            }
        }
        Err(QueryError::Failed(format!("the store changed during each of {ATTEMPTS} attempts")))
    }

    async fn attempt(&self, snapshot: &Arc<Snapshot>, sql: &str, to: &mut dyn Answer) -> Result<Option<Scope>, Ended> {
        let context = self.context(snapshot).map_err(|e| Ended::For(QueryError::Failed(e.to_string())))?;
        // Only questions: nothing can be created, changed or configured.
        let allowed = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let begun = async {
            let (state, plan) = context.sql_with_options(sql, allowed).await?.into_parts();
            let plan = state.optimize(&plan)?;
            let scope = Scope::of(&plan);
            let plan = runs::by_runs(state.query_planner().create_physical_plan(&plan, &state).await?)?;
            Ok((scope, execute_stream(plan, state.task_ctx())?))
        };
        let (scope, stream) = begun.await.map_err(|e| judge(snapshot, &e, 0))?;
        let mut held = Held { to, batches: Some(Vec::new()), bytes: 0, rows: 0 };
        held.take(stream, snapshot).await?;
        Ok(scope)
    }

    /// A session that knows the tables of a snapshot.
    ///
    /// # Errors
    /// Where the root is none that DataFusion can read.
    pub fn context(&self, snapshot: &Arc<Snapshot>) -> Result<SessionContext, DataFusionError> {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.threads)
            .with_information_schema(true)
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_parquet_bloom_filter_pruning(true)
            .with_parquet_page_index_pruning(true);
        // Columns have the platform's names, and these have capitals.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        // Who asks for the highest does not mean the unknown. NULLs come last, whichever the direction.
        "nulls_last".clone_into(&mut config.options_mut().sql_parser.default_null_ordering);
        config.options_mut().execution.parquet.pushdown_filters = true;
        let context = SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime));
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(Catalog::new(Arc::clone(snapshot))))?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(context)
    }
}

/// An answer that is held back until it is complete, or too large for that.
struct Held<'a> {
    to: &'a mut dyn Answer,
    /// `None` once it is being passed on.
    batches: Option<Vec<RecordBatch>>,
    bytes: usize,
    rows: u64,
}

impl Held<'_> {
    async fn take(&mut self, mut stream: SendableRecordBatchStream, snapshot: &Arc<Snapshot>) -> Result<(), Ended> {
        let schema = stream.schema();
        if self.to.can_begin_anew() {
            self.pass_on(&schema)?;
        }
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|e| judge(snapshot, &e, if self.to.can_begin_anew() { 0 } else { self.rows }))?;
            match &mut self.batches {
                Some(batches) => {
                    self.bytes += batch.get_array_memory_size();
                    batches.push(batch);
                    if self.bytes > HOLD_BACK_BYTES {
                        self.pass_on(&schema)?;
                    }
                }
                None => self.print(&batch)?,
            }
        }
        if self.batches.is_some() { self.pass_on(&schema) } else { Ok(()) }
    }

    fn pass_on(&mut self, schema: &SchemaRef) -> Result<(), Ended> {
        self.to.begin(Arc::clone(schema)).map_err(|e| Ended::For(QueryError::Output(e)))?;
        let batches = self.batches.take().unwrap_or_default();
        batches.iter().try_for_each(|batch| self.print(batch))
    }

    fn print(&mut self, batch: &RecordBatch) -> Result<(), Ended> {
        self.rows += batch.num_rows() as u64;
        self.to.rows(batch).map_err(|e| Ended::For(QueryError::Output(e)))
    }
}

/// What an error means: that the store changed, that a file is damaged, or that the question is wrong. `printed` rows
/// cannot be taken back.
fn judge(snapshot: &Arc<Snapshot>, error: &DataFusionError, printed: u64) -> Ended {
    if let DataFusionError::IoError(inner) = error.find_root()
        && inner.get_ref().is_some_and(|e| e.is::<Stale>())
    {
        return Ended::Again;
    }
    let touched = if may_be_damage(error) { snapshot.touched() } else { BTreeSet::new() };
    let damaged = damage::find(&touched);
    if let (Some(file), true) = (damaged.first(), printed > 0) {
        return Ended::For(QueryError::Late { file: file.clone(), rows: printed });
    }
    if !damaged.is_empty() || (printed == 0 && damage::any_gone(&touched)) {
        damaged.iter().for_each(|file| snapshot.report_damaged(file));
        return Ended::Again;
    }
    let names = || {
        let catalog = Catalog::new(Arc::clone(snapshot));
        catalog.tables().and_then(|tables| Ok([tables, catalog.views()?].concat())).unwrap_or_default()
    };
    match error.find_root() {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => {
            Ended::For(QueryError::Sql { error: plainly(error), hint: hint::hint(error, &names()) })
        }
        _ => Ended::For(QueryError::Failed(plainly(error))),
    }
}

/// Whether it is worth the while to read every file that was touched.
fn may_be_damage(error: &DataFusionError) -> bool {
    use DataFusionError as E;
    match error.find_root() {
        E::SQL(..) | E::Plan(_) | E::SchemaError(..) | E::NotImplemented(_) | E::Configuration(_) => false,
        E::ResourcesExhausted(_) => false,
        E::ArrowError(error, _) => !matches!(
            error.as_ref(),
            ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
        ),
        _ => true,
    }
}

/// The message of an error, without the names of the layers that it came through.
fn plainly(error: &DataFusionError) -> String {
    error.find_root().message().to_string()
}
