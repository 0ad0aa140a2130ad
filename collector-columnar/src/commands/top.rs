//! `top`: who hurts most, live, straight from the generators.

use std::time::Duration;

use zonescope_link::exit::Usage;
use zonescope_link::shutdown::Shutdown;
use zonescope_link::top::Top;
use zonescope_link::{Subscriber, SubscriberOptions};

use crate::cli::TopArguments;
use crate::config;

/// How often the table is drawn.
const EVERY: Duration = Duration::from_secs(1);

/// Shows a table each second, until told to end.
///
/// # Errors
/// Where an endpoint is none.
pub fn top(arguments: &TopArguments) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(watch(arguments))
}

async fn watch(arguments: &TopArguments) -> anyhow::Result<()> {
    let shutdown = Shutdown::install()?;
    let (keyring, curve) = config::keys(arguments.config.as_deref())?;
    let endpoints = keyring.endpoints(&arguments.connect, curve).map_err(Usage::from)?;
    let options = SubscriberOptions { endpoints, ..SubscriberOptions::default() };
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
            _ = draw.tick() => if !top.is_empty() && !top.print(arguments.rows)? { return Ok(()) },
            () = &mut end => return Ok(()),
            () = shutdown.requested() => return Ok(()),
        }
    }
}
