//! Asking a generator for what was missed: one request at a time, over a connection that is made when it is needed and
//! closed when it is not. Every request ends, with an answer or with a failure.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use zonescope_proto::recovery::decode_reply;
use zonescope_proto::{FORMAT_VERSION, Message, v1};

use crate::LinkError;
use crate::backoff::Backoff;
use crate::order::Fetch;
use crate::transport::{Credentials, Inquiry};

/// Making a connection may take so long.
const CONNECT: Duration = Duration::from_secs(5);

/// An answer may take so long. One that comes later is not recognised, and what it held is asked for again.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection that is not needed for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Asks one generator.
pub struct Fetcher {
    /// `tcp://ADDRESS`; the port comes with each request.
    address: String,
    credentials: Credentials,
    connection: Option<(u16, Inquiry)>,
    backoff: Backoff,
}

impl Fetcher {
    /// Not connected yet.
    pub fn new(address: String, credentials: Credentials) -> Self {
        Fetcher { address, credentials, connection: None, backoff: Backoff::recover() }
    }

    /// The next request; a connection that is not needed is closed meanwhile. `None` where nobody asks any more.
    pub async fn next(&mut self, requests: &mut mpsc::Receiver<Fetch>) -> Option<Fetch> {
        match tokio::time::timeout(IDLE, requests.recv()).await {
            Ok(request) => request,
            Err(_) => {
                self.connection = None;
                requests.recv().await
            }
        }
    }

    /// Sends a request. `None` where it was not answered; then the time has passed after which it may be sent again.
    pub async fn ask(&mut self, fetch: &Fetch) -> Option<v1::RecoveryReply> {
        match self.attempt(fetch).await {
            Ok(reply) => {
                self.backoff.reset();
                Some(reply)
            }
            Err(error) => {
                tracing::debug!("missed frames: {error}");
                self.connection = None;
                tokio::time::sleep(self.backoff.wait()).await;
                None
            }
        }
    }

    async fn attempt(&mut self, fetch: &Fetch) -> Result<v1::RecoveryReply, LinkError> {
        let endpoint = format!("{}:{}", self.address, fetch.port);
        let failed = |why: &str| LinkError::Connection { endpoint: endpoint.clone(), reason: why.to_owned() };
        let inquiry = match &mut self.connection {
            Some((port, inquiry)) if *port == fetch.port => inquiry,
            connection => {
                let made = tokio::time::timeout(CONNECT, Inquiry::connect(&endpoint, &self.credentials)).await;
                let inquiry = made.map_err(|_| failed("nobody answers"))??;
                &mut connection.insert((fetch.port, inquiry)).1
            }
        };
        inquiry.send(encode(fetch)).await?;
        let answer = async {
            loop {
                let Some(bytes) = inquiry.receive().await? else { continue };
                match decode_reply(bytes) {
                    Ok(reply) if reply.id == fetch.id => return Ok(reply),
                    // Of a request that was given up.
                    Ok(_) => {}
                    Err(error) => return Err(failed(&error.to_string())),
                }
            }
        };
        tokio::time::timeout(ANSWER, answer).await.map_err(|_| failed("no answer in time"))?
    }
}

fn encode(fetch: &Fetch) -> Bytes {
    let range = fetch
        .ranges
        .iter()
        .map(|(zone, first, last)| v1::Range { zone: zone.to_string(), first: *first, last: *last })
        .collect();
    let request = v1::RecoveryRequest {
        version: FORMAT_VERSION,
        id: fetch.id,
        host_id: fetch.host_id.clone(),
        epoch: fetch.epoch,
        range,
    };
    request.encode_to_vec().into()
}
