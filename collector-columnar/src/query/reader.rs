//! How files are read: where the question is worked on, and not on another thread.
//!
//! What DataFusion has for files hands each read to a thread for I/O and waits for it. Reads of ours are many and small, of
//! files on this host, most of them in the page cache: a read takes less than two changes of threads. Footers come with
//! their page indexes at once, and are remembered.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::DataFusionError;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::object_store::{ObjectMeta, ObjectStore};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

/// Opens the files of a store.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    store: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
}

impl Files {
    /// Of the store below `root`, whose footers are remembered in `footers`.
    pub fn new(root: &Path, store: Arc<dyn ObjectStore>, footers: Arc<FileMetadataCache>) -> Self {
        Files { root: root.to_owned(), store, footers }
    }
}

impl ParquetFileReaderFactory for Files {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        footer_guess: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let at = file.object_meta;
        let opened = File::open(self.root.join(at.location.as_ref())).map_err(DataFusionError::IoError)?;
        let (store, footers) = (Arc::clone(&self.store), Arc::clone(&self.footers));
        Ok(Box::new(OpenFile { file: opened, at, store, footers, footer_guess }))
    }
}

/// One of them.
struct OpenFile {
    file: File,
    at: ObjectMeta,
    store: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
    footer_guess: Option<usize>,
}

impl OpenFile {
    fn read(&self, range: &Range<u64>) -> std::result::Result<Bytes, ParquetError> {
        let external = |e: std::io::Error| ParquetError::External(Box::new(e));
        let beyond = || external(std::io::ErrorKind::UnexpectedEof.into());
        // The end of a range comes from the file, which may be damaged: no memory for what the file cannot have.
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= self.at.size).ok_or_else(beyond)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| beyond())?];
        self.file.read_exact_at(&mut bytes, range.start).map_err(external)?;
        Ok(bytes.into())
    }
}

impl AsyncFileReader for OpenFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, std::result::Result<Bytes, ParquetError>> {
        ready(self.read(&range)).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, std::result::Result<Vec<Bytes>, ParquetError>> {
        ready(ranges.iter().map(|range| self.read(range)).collect()).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, std::result::Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            DFParquetMetadata::new(&self.store, &self.at)
                .with_file_metadata_cache(Some(Arc::clone(&self.footers)))
                .with_metadata_size_hint(self.footer_guess)
                .with_page_index_policy(Some(PageIndexPolicy::Optional))
                .fetch_metadata()
                .await
                .map_err(|e| ParquetError::External(Box::new(e)))
        }
        .boxed()
    }
}
