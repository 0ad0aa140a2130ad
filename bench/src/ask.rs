//! Questions to one engine in one process, as a dashboard asks them.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use serde_json::json;
use zonescope_collector_columnar::query::output::{Format, Output};
use zonescope_collector_columnar::query::{Answer, Engine};

/// Keeps an answer.
#[derive(Default)]
struct Kept {
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
}

impl Answer for Kept {
    fn begin(&mut self, schema: SchemaRef) -> io::Result<()> {
        *self = Kept { schema: Some(schema), batches: Vec::new() };
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.batches.push(batch.clone());
        Ok(())
    }

    fn can_begin_anew(&self) -> bool {
        true
    }
}

/// Answers every line of standard input, until its end, with a line: how many ns it took, and the answer as CSV.
pub(crate) fn ask(root: &Path, threads: usize) -> anyhow::Result<()> {
    let engine = Engine::open(root, threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    for question in io::stdin().lock().lines() {
        let question = question?;
        let mut kept = Kept::default();
        let began = Instant::now();
        runtime.block_on(engine.answer(&question, &mut kept))?;
        let ns = u64::try_from(began.elapsed().as_nanos())?;
        println!("{}", json!({ "ns": ns, "csv": csv(&kept)? }));
        io::stdout().flush()?;
    }
    Ok(())
}

fn csv(kept: &Kept) -> anyhow::Result<String> {
    let Some(schema) = &kept.schema else { return Ok(String::new()) };
    let mut text = Vec::new();
    let mut output = Output::new(&mut text, Format::Csv, schema.clone());
    kept.batches.iter().try_for_each(|batch| output.write(batch))?;
    output.finish()?;
    Ok(String::from_utf8(text)?)
}
