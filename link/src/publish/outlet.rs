//! An outlet: a place where frames leave, and where those that were missed are handed out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::LinkError;
use crate::recover::server::Server;
use crate::recover::{Bounds, Kept};
use crate::scope::{Scope, View};
use crate::transport::{Admission, Publication, Refused};

/// Another place to publish: some zones, for those who may see them.
#[derive(Debug, Clone)]
pub struct ScopedOptions {
    /// Where to listen.
    pub bind: String,
    /// Whom to let in.
    pub admission: Admission,
    /// What to speak of.
    pub scope: Scope,
    /// Where to hand out what subscribers missed: the first of these addresses that can be bound.
    pub recovery: Vec<String>,
    /// How much to do for those who ask.
    pub bounds: Bounds,
}

/// A socket that publishes, and once frames are kept the server beside it.
pub(super) struct Outlet {
    pub(super) view: Arc<View>,
    pub(super) socket: Publication,
    admission: Admission,
    server: Option<Server>,
}

impl Outlet {
    /// Listens on `endpoint`.
    pub(super) async fn bind(endpoint: &str, admission: Admission, scope: Scope) -> Result<Self, LinkError> {
        let socket = Publication::bind(endpoint, &admission).await?;
        Ok(Outlet { view: Arc::new(View { scope, recovery_port: 0 }), admission, socket, server: None })
    }

    /// From now on hands out what is `kept`, on `endpoint`.
    pub(super) async fn serve(&mut self, endpoint: &str, kept: &Arc<Kept>, bounds: Bounds) -> Result<(), LinkError> {
        let scope = self.view.scope.clone();
        let server = Server::bind(endpoint, &self.admission, scope, Arc::clone(kept), bounds).await?;
        self.view = Arc::clone(server.view());
        self.server = Some(server);
        Ok(())
    }

    /// The same on the first of `endpoints` that can be bound.
    pub(super) async fn serve_first(
        &mut self,
        endpoints: &[String],
        kept: &Arc<Kept>,
        bounds: Bounds,
    ) -> Result<(), LinkError> {
        let mut endpoints = endpoints.iter().peekable();
        while let Some(endpoint) = endpoints.next() {
            match self.serve(endpoint, kept, bounds).await {
                Err(LinkError::Bind { reason, .. }) if endpoints.peek().is_some() => {
                    tracing::warn!("cannot serve recovery on {endpoint}: {reason}; taking another port");
                }
                served => return served,
            }
        }
        Ok(())
    }

    /// Where it listens.
    pub(super) fn endpoint(&self) -> &str {
        self.socket.endpoint()
    }

    /// Where missed frames can be asked for.
    pub(super) fn recovery_endpoint(&self) -> Option<&str> {
        self.server.as_ref().map(Server::endpoint)
    }

    /// Requests for missed frames that were answered.
    pub(super) fn answered(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| server.tallies().answered.load(Relaxed))
    }

    /// What was turned away, of those who subscribe and of those who ask.
    pub(super) fn refused(&self) -> Refused {
        self.socket.refusals().counts() + self.server.as_ref().map(Server::refused).unwrap_or_default()
    }
}
