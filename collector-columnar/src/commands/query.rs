//! `query`: an answer on standard output.

use std::io::{self, IsTerminal, StdoutLock, Write};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::stdout::unless_nobody_reads;

use super::{runtime, stdout, threads};
use crate::cli::QueryArguments;
use crate::config;
use crate::query::output::{Format, Output};
use crate::query::scope::Scope;
use crate::query::{Answer, Engine, QueryError};

/// Answers a question.
///
/// # Errors
/// Where it is wrong, or cannot be answered.
pub fn query(arguments: &QueryArguments) -> anyhow::Result<()> {
    let began = Instant::now();
    let root = config::root(arguments.store.root.as_deref())?;
    let threads = threads(arguments.store.threads);
    let engine = Engine::open(&root, threads)?;
    let runtime = runtime(threads)?;
    let mut printer = Printer { format: arguments.format, output: None };
    let answered = runtime.block_on(engine.answer(&arguments.sql, &mut printer));
    let scope = printer.finish(answered, began)?;
    match scope.filter(|_| arguments.completeness || io::stderr().is_terminal()) {
        Some(scope) => {
            let report = runtime.block_on(engine.completeness(&scope, SystemClock.now_ns()))?;
            note(&match arguments.format {
                Format::Json => format!("{}\n", serde_json::to_string(&report)?),
                Format::Table | Format::Csv => report.for_people(),
            })
        }
        None => Ok(()),
    }
}

/// Beside the answer: programs read it on standard output, and it must stay the answer alone.
fn note(text: &str) -> anyhow::Result<()> {
    Ok(unless_nobody_reads(io::stderr().write_all(text.as_bytes()))?)
}

/// Prints an answer.
struct Printer {
    format: Format,
    output: Option<Output<io::BufWriter<StdoutLock<'static>>>>,
}

impl Printer {
    /// Ends the answer; says on a terminal what it cost. Gives what it was about, if somebody read it.
    fn finish(self, answered: Result<Option<Scope>, QueryError>, began: Instant) -> anyhow::Result<Option<Scope>> {
        let finished = answered.and_then(|scope| {
            let rows = self.output.map_or(Ok(0), Output::finish).map_err(QueryError::Output)?;
            Ok((scope, rows))
        });
        let (scope, rows) = match finished {
            // Whoever reads our output may stop: `| head` is no failure.
            Err(QueryError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            other => other?,
        };
        if io::stderr().is_terminal() {
            let s = if rows == 1 { "" } else { "s" };
            note(&format!("{rows} row{s}, {:.3} s\n", began.elapsed().as_secs_f64()))?;
        }
        Ok(scope)
    }
}

impl Answer for Printer {
    fn begin(&mut self, schema: SchemaRef) -> io::Result<()> {
        self.output = Some(Output::new(stdout(), self.format, schema));
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.output.as_mut().map_or(Ok(()), |output| output.write(batch))
    }

    fn can_begin_anew(&self) -> bool {
        false
    }
}
