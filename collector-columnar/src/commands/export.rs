//! `export`: an answer in a file, which appears whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use zonescope_link::exit::Usage;

use super::{runtime, threads};
use crate::cli::ExportArguments;
use crate::config;
use crate::query::output::{Format, Output};
use crate::query::{Answer, Engine};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Parquet, zstd
    Parquet,
    /// Comma-separated, RFC 4180
    Csv,
    /// One JSON object a line
    Json,
}

impl FileFormat {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" | "pq" => Some(FileFormat::Parquet),
            "csv" => Some(FileFormat::Csv),
            "json" | "jsonl" | "ndjson" => Some(FileFormat::Json),
            _ => None,
        }
    }
}

/// Writes an answer to a file.
///
/// # Errors
/// Where the question is wrong, or the file cannot be written.
pub fn export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let to = &arguments.to;
    let format = arguments.format.or_else(|| FileFormat::of(to)).ok_or_else(|| {
        Usage(format!("how shall {} be written? Name it .parquet, .csv or .json, or give --format", to.display()))
    })?;
    let sql = match (&arguments.sql, &arguments.table) {
        (Some(sql), _) => sql.clone(),
        (None, table) => format!("select * from \"{}\"", table.as_deref().unwrap_or_default().replace('"', "\"\"")),
    };
    let root = config::root(arguments.store.root.as_deref())?;
    let threads = threads(arguments.store.threads);
    let engine = Engine::open(&root, threads)?;

    let mut file = ExportFile::create(to, format).with_context(|| format!("cannot write {}", to.display()))?;
    runtime(threads)?.block_on(engine.answer(&sql, &mut file))?;
    file.finish(to).with_context(|| format!("cannot write {}", to.display()))
}

/// A file being written beside the one that it will be.
struct ExportFile {
    temporary: PathBuf,
    file: File,
    format: FileFormat,
    writer: Option<Writer>,
}

enum Writer {
    Text(Output<BufWriter<File>>),
    Parquet(Box<ArrowWriter<File>>),
}

impl ExportFile {
    fn create(to: &Path, format: FileFormat) -> io::Result<Self> {
        let name = to.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
        let temporary = to.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = File::create(&temporary)?;
        Ok(ExportFile { temporary, file, format, writer: None })
    }

    fn finish(mut self, to: &Path) -> anyhow::Result<()> {
        match self.writer.take() {
            Some(Writer::Text(output)) => drop(output.finish()?),
            Some(Writer::Parquet(writer)) => drop(writer.close()?),
            None => {}
        }
        self.file.sync_all()?;
        Ok(std::fs::rename(&self.temporary, to)?)
    }
}

impl Drop for ExportFile {
    fn drop(&mut self) {
        // Not there any more if all went well.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl Answer for ExportFile {
    fn begin(&mut self, schema: SchemaRef) -> io::Result<()> {
        // Whatever a writer still holds goes first, so that it cannot come after what is written now.
        self.writer = None;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        let file = self.file.try_clone()?;
        self.writer = Some(match self.format {
            FileFormat::Csv => Writer::Text(Output::new(BufWriter::new(file), Format::Csv, schema)),
            FileFormat::Json => Writer::Text(Output::new(BufWriter::new(file), Format::Json, schema)),
            FileFormat::Parquet => {
                let level = ZstdLevel::try_new(3).map_err(plain)?;
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
                Writer::Parquet(Box::new(ArrowWriter::try_new(file, schema, Some(properties)).map_err(plain)?))
            }
        });
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match &mut self.writer {
            Some(Writer::Text(output)) => output.write(batch),
            Some(Writer::Parquet(writer)) => writer.write(batch).map_err(plain),
            None => Ok(()),
        }
    }

    fn can_begin_anew(&self) -> bool {
        true
    }
}

fn plain(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
