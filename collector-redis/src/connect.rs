//! Reaching Redis: one server over TCP, TLS or a Unix socket, the master that a Sentinel names, or a cluster. Everything else
//! sees a [`Connection`].
//!
//! There is no reconnecting below us: a connection that comes back by itself would hide that the outcome of what was under way
//! is not known. Who holds a connection drops it after trouble, waits ([`between_attempts`]), and makes another.
//! Only a cluster's client learns by itself where slots are and replaces connections to single nodes; each request that met such
//! a change fails, and is ours to repeat.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, TlsCertificates, Value, cmd, from_redis_value,
};
use zonescope_link::backoff::Backoff;

use crate::limits::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};
use crate::secret::Secret;
use crate::trouble::Trouble;

/// The oldest version that has all we use: XADD with MINID, ZADD with GT.
const OLDEST: (u32, u32) = (6, 2);

/// How long to wait before Redis is asked again. A server that is restarted is back at once; one that loads its file, or
/// a fail-over, takes seconds; and however long it takes, nobody should wait longer than ten seconds after it.
pub fn between_attempts() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub enum Topology {
    /// One server.
    Single(ConnectionInfo),
    /// Whatever server these Sentinels call the master of that name.
    Sentinel(Vec<ConnectionInfo>, String),
    /// A cluster, known by some of its nodes.
    Cluster(Vec<ConnectionInfo>),
}

/// Who we are to Redis, and how it shows us who it is.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// ACL user; the default one where there is none.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Secret>,
    /// Password of the Sentinels themselves.
    pub sentinel_password: Option<Secret>,
    /// Whom to trust: certificates in PEM. The system's own list where there is none.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and key in PEM.
    pub client: Option<(Vec<u8>, Secret)>,
}

/// Everything that is needed to connect.
#[derive(Debug, Clone)]
pub struct Target {
    topology: Topology,
    credentials: Credentials,
}

/// A connection. Clones share it; requests that are under way at once share its round trips.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To a cluster's nodes.
    Cluster(ClusterConnection),
}

/// Reads an address. A password in it would show in `ps`, in shell histories and in logs: refused.
///
/// # Errors
/// What is allowed.
pub fn address(text: &str) -> Result<ConnectionInfo, String> {
    const ALLOWED: &str = "redis://HOST:PORT/DB, rediss://HOST:PORT (TLS) or unix:///PATH";
    let wrong = |why: &str| format!("{why}: {ALLOWED}");
    let url = redis::parse_redis_url(text).ok_or_else(|| wrong("no address of a Redis server"))?;
    if url.password().is_some()
        || !url.username().is_empty()
        || url.query_pairs().any(|(k, _)| k == "pass" || k == "user")
    {
        return Err("users and passwords do not belong in addresses: see `username` and `password_file`".to_owned());
    }
    if url.fragment().is_some() {
        return Err(wrong("certificates are always verified; trust your own with `tls_ca`"));
    }
    text.into_connection_info().map_err(|e| wrong(&e.to_string()))
}

impl Target {
    /// Checks that the parts go together.
    ///
    /// # Errors
    /// What does not.
    pub fn new(topology: Topology, credentials: Credentials) -> Result<Self, String> {
        if let Topology::Cluster(nodes) = &topology
            && nodes.iter().any(|n| matches!(n.addr(), ConnectionAddr::Unix(_)))
        {
            return Err("the nodes of a cluster know each other by address and port, not by Unix sockets".to_owned());
        }
        let target = Target { topology, credentials };
        // Nothing connects here; certificates and addresses are read.
        match &target.topology {
            Topology::Single(server) => target.client(server.clone()).map(drop),
            Topology::Sentinel(sentinels, name) => target.sentinel(sentinels, name).map(drop),
            Topology::Cluster(nodes) => target.cluster(nodes).build().map(drop),
        }
        .map_err(|e| e.to_string())?;
        Ok(target)
    }

    /// For people: no secrets.
    pub fn describe(&self) -> String {
        let list = |servers: &[ConnectionInfo]| servers.iter().map(one).collect::<Vec<_>>().join(",");
        match &self.topology {
            Topology::Single(server) => one(server),
            Topology::Sentinel(sentinels, name) => format!("master {name} of sentinels {}", list(sentinels)),
            Topology::Cluster(nodes) => format!("cluster {}", list(nodes)),
        }
    }

    /// Connects, and looks whether Redis is one that we can use.
    ///
    /// # Errors
    /// Says what is wrong.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        // TLS needs to be told once whose arithmetic to use; a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await;
        let connection = connected.map_err(|_| Trouble::NoAnswer(CONNECT_TIMEOUT))??;
        tokio::time::timeout(CONNECT_TIMEOUT, connection.check())
            .await
            .map_err(|_| Trouble::NoAnswer(CONNECT_TIMEOUT))??;
        Ok(connection)
    }

    async fn open(&self) -> Result<Connection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        Ok(match &self.topology {
            Topology::Single(server) => {
                let client = self.client(server.clone())?;
                Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Topology::Sentinel(sentinels, name) => {
                let mut client = self.sentinel(sentinels, name)?;
                Connection::Single(client.get_async_connection_with_config(&config).await?)
            }
            Topology::Cluster(nodes) => Connection::Cluster(self.cluster(nodes).build()?.get_async_connection().await?),
        })
    }

    fn client(&self, server: ConnectionInfo) -> Result<Client, RedisError> {
        let settings = self.login(server.redis_settings().clone());
        let server = server.set_redis_settings(settings);
        match (server.addr(), self.certificates()) {
            (ConnectionAddr::TcpTls { .. }, Some(certificates)) => Client::build_with_tls(server, certificates),
            _ => Client::open(server),
        }
    }

    fn login(&self, mut settings: RedisConnectionInfo) -> RedisConnectionInfo {
        if let Some(username) = &self.credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.credentials.password {
            settings = settings.set_password(password.reveal());
        }
        settings
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let Credentials { ca, client, .. } = &self.credentials;
        if ca.is_none() && client.is_none() {
            return None;
        }
        let client = client.clone();
        Some(TlsCertificates {
            client_tls: client.map(|(client_cert, key)| ClientTlsConfig {
                client_cert,
                client_key: key.reveal().as_bytes().to_vec(),
            }),
            root_cert: ca.clone(),
        })
    }

    fn sentinel(
        &self,
        sentinels: &[ConnectionInfo],
        name: &str,
    ) -> Result<redis::sentinel::SentinelClient, RedisError> {
        let addresses: Vec<ConnectionAddr> = sentinels.iter().map(|s| s.addr().clone()).collect();
        let tls = addresses.iter().any(|a| matches!(a, ConnectionAddr::TcpTls { .. }));
        let db = sentinels.first().map_or(0, |s| s.redis_settings().db());
        let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?;
        builder = builder.set_client_to_redis_db(db);
        if let Some(username) = &self.credentials.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &self.credentials.password {
            builder = builder.set_client_to_redis_password(password.reveal());
        }
        if let Some(password) = &self.credentials.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password.reveal());
        }
        if tls {
            builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
            if let Some(certificates) = self.certificates() {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
        }
        builder.build()
    }

    fn cluster(&self, nodes: &[ConnectionInfo]) -> ClusterClientBuilder {
        let mut builder = ClusterClientBuilder::new(nodes.to_vec())
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(RESPONSE_TIMEOUT)
            .overall_response_timeout(Some(RESPONSE_TIMEOUT))
            // All trying again is ours: after a node has been away, what it still holds must be looked at first.
            .retries(0);
        if let Some(username) = &self.credentials.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.credentials.password {
            builder = builder.password(password.reveal());
        }
        match self.certificates() {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        }
    }
}

fn one(server: &ConnectionInfo) -> String {
    match server.addr() {
        ConnectionAddr::TcpTls { .. } => format!("{} (TLS)", server.addr()),
        address => address.to_string(),
    }
}

impl Connection {
    /// Whether it is to a cluster, where some nodes can be in trouble and others not.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Connection::Cluster(_))
    }

    /// One command.
    ///
    /// # Errors
    /// What went wrong, errors of the server included.
    pub async fn command(&self, command: &Cmd) -> Result<Value, Trouble> {
        let value = match self.clone() {
            Connection::Single(mut connection) => connection.req_packed_command(command).await,
            Connection::Cluster(mut connection) => connection.req_packed_command(command).await,
        };
        Ok(value?.extract_error()?)
    }

    /// Several commands whose keys have one tag, in one go. Gives the answer to each, errors of the server among them.
    ///
    /// # Errors
    /// Where there are no answers.
    pub async fn pipeline(&self, pipe: &Pipeline) -> Result<Vec<Value>, Trouble> {
        let answers = match self.clone() {
            Connection::Single(mut connection) => connection.req_packed_commands(pipe, 0, pipe.len()).await,
            Connection::Cluster(mut connection) => connection.req_packed_commands(pipe, 0, pipe.len()).await,
        };
        Ok(answers?)
    }

    /// What every server answers to INFO with this section.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn info(&self, section: &str) -> Result<Vec<String>, Trouble> {
        let mut info = cmd("INFO");
        info.arg(section);
        let value = match self.clone() {
            Connection::Single(mut connection) => connection.req_packed_command(&info).await?,
            Connection::Cluster(mut connection) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(info, masters).await?
            }
        };
        let texts = match value.extract_error()? {
            Value::Map(by_node) => by_node.into_iter().map(|(_, text)| text).collect(),
            Value::Array(by_node) => by_node
                .into_iter()
                .map(|value| match value {
                    Value::Array(mut pair) => pair.pop().unwrap_or(Value::Nil),
                    other => other,
                })
                .collect(),
            text => vec![text],
        };
        Ok(texts.into_iter().filter_map(|text| from_redis_value(text).ok()).collect())
    }

    /// Whether it lets us in, and is new enough. A cluster of which a node is away is no reason to stay away: zones on other nodes
    /// can be written.
    async fn check(&self) -> Result<(), Trouble> {
        let servers = match self.info("server").await {
            Ok(servers) => servers,
            Err(_) if self.is_cluster() => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        for server in servers {
            let version = field(&server, "redis_version").unwrap_or_default();
            let mut numbers = version.split('.').filter_map(|n| n.parse().ok());
            let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            if number < OLDEST {
                return Err(Trouble::TooOld(version.to_owned()));
            }
        }
        Ok(())
    }
}

/// The value of `NAME:VALUE` in what INFO answers.
pub fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_no_secrets_and_no_way_around_verification() {
        for right in
            ["redis://127.0.0.1", "redis://[::1]:7000/2", "rediss://redis.example:6380", "unix:///run/redis.sock"]
        {
            assert!(address(right).is_ok(), "{right}");
        }
        for wrong in [
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "redis://:hunter2@127.0.0.1",
            "redis://me@127.0.0.1",
            "unix:///run/redis.sock?pass=hunter2",
            "rediss://redis.example#insecure",
        ] {
            let why = address(wrong).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn info_is_read_line_by_line() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_version_x:1\r\n";
        assert_eq!(field(info, "redis_version"), Some("7.0.15"));
        assert_eq!(field(info, "maxmemory"), None);
    }
}
