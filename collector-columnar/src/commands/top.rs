//! `top`: who hurts most, live, straight from the generators.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use zonescope_link::exit::Usage;
use zonescope_link::shutdown::Shutdown;
use zonescope_link::top::Top;
use zonescope_link::{Subscriber, SubscriberOptions};

use super::unless_nobody_reads;
use crate::cli::TopArguments;
use crate::config;

/// How often the table is drawn.
const EVERY: Duration = Duration::from_secs(1);
/// To the upper left, and everything below gone.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows a table each second, until told to end.
///
/// # Errors
/// Where an endpoint is none.
pub fn top(arguments: &TopArguments) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(watch(arguments))
}

async fn watch(arguments: &TopArguments) -> anyhow::Result<()> {
    let shutdown = Shutdown::install()?;
    let endpoints = arguments.connect.clone();
    let (keys, curve) = config::keys(arguments.config.as_deref())?;
    let credentials = keys.credentials(&endpoints, curve).map_err(|error| Usage(error.to_string()))?;
    let options = SubscriberOptions { endpoints, credentials, ..SubscriberOptions::default() };
    let mut subscriber = Subscriber::connect(options).await?;
    let end = async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut draw = tokio::time::interval(EVERY);
    let mut top = Top::default();
    loop {
        tokio::select! {
            received = subscriber.recv() => top.observe(*received.frame),
            _ = draw.tick() => if !top.is_empty() && !print(&top, arguments.rows)? { return Ok(()) },
            () = &mut end => return Ok(()),
            () = shutdown.requested() => return Ok(()),
        }
    }
}

/// On a terminal in place, else one table after another. False where nobody reads any more.
fn print(top: &Top, rows: usize) -> io::Result<bool> {
    let terminal = io::stdout().is_terminal();
    let clear = if terminal { CLEAR } else { "" };
    let mut out = io::stdout().lock();
    let written = write!(out, "{clear}{}", top.render(rows, terminal)).and_then(|()| out.flush());
    let read = written.is_ok();
    unless_nobody_reads(written).map(|()| read)
}
