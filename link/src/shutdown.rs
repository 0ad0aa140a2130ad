//! Leaving in order: SIGTERM and SIGINT ask, everyone flushes and leaves. SIGHUP asks to read the configuration again.

use tokio::sync::watch;

/// Knows whether the process has been asked to end. Cheap to clone; every task has its own.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
    sender: std::sync::Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown::manual()
    }
}

impl Shutdown {
    /// Ends only when [`Shutdown::request`] is called.
    pub fn manual() -> Self {
        let (sender, requested) = watch::channel(false);
        Shutdown { requested, sender: std::sync::Arc::new(sender) }
    }

    /// Ends on SIGTERM or SIGINT as well. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Where the signals cannot be caught.
    pub fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Shutdown::manual();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let ours = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => tracing::info!("SIGTERM: leaving"),
                _ = int.recv() => tracing::info!("SIGINT: leaving"),
            }
            ours.request();
        });
        Ok(shutdown)
    }

    /// Asks everyone to end.
    pub fn request(&self) {
        self.sender.send_replace(true);
    }

    /// Whether the end has been asked for.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Resolves when the end has been asked for.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // The sender lives in `self`, so this cannot fail; were it to, ending is the right answer.
        let _ = requested.wait_for(|asked| *asked).await;
    }
}

/// Each SIGHUP the process receives.
#[derive(Debug)]
pub struct Reload(tokio::signal::unix::Signal);

impl Reload {
    /// From now on SIGHUP no longer ends the process. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Where the signal cannot be caught.
    pub fn install() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Reload(signal(SignalKind::hangup())?))
    }

    /// Resolves at the next SIGHUP.
    pub async fn requested(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
