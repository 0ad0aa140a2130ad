//! `query`: an answer on standard output.

use std::io::{self, IsTerminal, StdoutLock};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::{runtime, stdout, threads, unless_nobody_reads_it};
use crate::cli::QueryArguments;
use crate::config;
use crate::query::output::{Format, Output};
use crate::query::{Answer, Engine};

/// Answers a question.
///
/// # Errors
/// Where it is wrong, or cannot be answered.
pub fn query(arguments: &QueryArguments) -> anyhow::Result<()> {
    let began = Instant::now();
    let root = config::root(arguments.store.root.as_deref())?;
    let threads = threads(arguments.store.threads);
    let engine = Engine::open(&root, threads)?;
    let mut printer = Printer { format: arguments.format, output: None };
    let answered = runtime(threads)?.block_on(engine.answer(&arguments.sql, &mut printer));
    let rows = printer.finish(answered)?;
    report(rows, began);
    Ok(())
}

/// For people only: programs read standard output, and logs should not fill with this.
#[allow(
    clippy::print_stderr,
    reason = "a terminal is told what the answer cost; the answer itself is on standard output"
)]
fn report(rows: u64, began: Instant) {
    if io::stderr().is_terminal() {
        let s = if rows == 1 { "" } else { "s" };
        eprintln!("{rows} row{s}, {:.3} s", began.elapsed().as_secs_f64());
    }
}

/// Prints an answer.
struct Printer {
    format: Format,
    output: Option<Output<io::BufWriter<StdoutLock<'static>>>>,
}

impl Printer {
    fn finish(self, answered: Result<(), crate::query::QueryError>) -> anyhow::Result<u64> {
        unless_nobody_reads_it(answered)?;
        match self.output.map(Output::finish) {
            Some(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            Some(rows) => Ok(rows?),
            None => Ok(0),
        }
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
