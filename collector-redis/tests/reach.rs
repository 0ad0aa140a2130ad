//! Ways to reach Redis: TLS, passwords, Unix sockets, Sentinel; and what is refused on the way.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and runs openssl")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{Collector, Feed, Redis, ask, counted, program, wait_until};

fn run(command: &str, arguments: &[&str]) -> std::io::Result<std::process::Output> {
    Command::new(command).args(arguments).stdin(std::process::Stdio::null()).output()
}

/// Makes a certificate authority and a certificate for `name` in `directory`. False where there is no openssl.
fn certificates(directory: &Path, name: &str) -> bool {
    let at = |file: &str| directory.join(file).to_str().unwrap().to_owned();
    let new = |subject: &str, key: &str, more: &[&str]| {
        let mut arguments = vec!["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", key];
        arguments.extend(more);
        run("openssl", &arguments)
    };
    let Ok(made) = new("/CN=ca", &at("ca.key"), &["-x509", "-days", "2", "-out", &at("ca.pem")]) else { return false };
    assert!(made.status.success());
    new("/CN=redis", &at("server.key"), &["-out", &at("server.csr")]).unwrap();
    std::fs::write(directory.join("ext"), format!("subjectAltName={name}\n")).unwrap();
    let sign = ["x509", "-req", "-days", "2", "-CAcreateserial"];
    let files = [
        ["-in", &at("server.csr")],
        ["-CA", &at("ca.pem")],
        ["-CAkey", &at("ca.key")],
        ["-extfile", &at("ext")],
        ["-out", &at("server.pem")],
    ];
    let signed = run("openssl", &[sign.as_slice(), files.as_flattened()].concat()).unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    true
}

#[test]
fn tls_is_verified_by_authority_and_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let at = |file: &str| directory.path().join(file).to_str().unwrap().to_owned();
    if !certificates(directory.path(), "DNS:localhost") {
        return support::skipped("TLS", "openssl is not installed");
    }
    let tls_port = support::free_port().to_string();
    let arguments = [
        ["--tls-port", &tls_port],
        ["--tls-cert-file", &at("server.pem")],
        ["--tls-key-file", &at("server.key")],
        ["--tls-ca-cert-file", &at("ca.pem")],
        ["--tls-auth-clients", "no"],
    ];
    let Some(server) = Redis::start(arguments.as_flattened()) else { return };
    let mut feed = Feed::new("h");
    let (right, wrong_name) = (format!("rediss://localhost:{tls_port}"), format!("rediss://127.0.0.1:{tls_port}"));

    // The system's authorities know nothing of ours; and a name that is not in the certificate is not its owner's.
    for arguments in [vec!["--redis", &right], vec!["--redis", &wrong_name, "--tls-ca", &at("ca.pem")]] {
        let mut refused = Collector::run(&[&["--connect", &feed.endpoint()], arguments.as_slice()].concat());
        refused.wait_for("certificate");
        assert!(!refused.said().contains("connected to Redis"), "{}", refused.said());
    }
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &right, "--tls-ca", &at("ca.pem")]);
    feed.wait_for_collector();
    wait_until("a frame through TLS", || {
        feed.tick(1, 1);
        !counted(&mut server.client(), "h", "z000").is_empty()
    });
    assert_eq!(collector.end(), 0);
}

/// Without Redis: that is found while the configuration is read.
#[test]
fn a_private_key_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |file: &str| directory.path().join(file).to_str().unwrap().to_owned();
    std::fs::write(at("key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    std::fs::write(at("cert"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    std::fs::set_permissions(at("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = format!("redis = [\"rediss://127.0.0.1\"]\ntls_cert = {:?}\ntls_key = {:?}\n", at("cert"), at("key"));
    std::fs::write(at("redis.toml"), config).unwrap();
    let refused = run(program().to_str().unwrap(), &["run", "--check-config", "--config", &at("redis.toml")]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("tls_key") && said.contains("chmod 640"), "{said}");
}

/// No privilege, and nothing to read for who is the same user.
#[test]
fn it_needs_no_privilege_and_keeps_none() {
    let feed = Feed::new("h");
    let mut collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", "redis://127.0.0.1:1"]);
    collector.wait_for("receiving");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", collector.id())).unwrap();
    for task in tasks {
        let Ok(status) = std::fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
            // Only root can take from the bounding set; for anybody else no_new_privs closes the way there.
            if set != "CapBnd" || rustix::process::geteuid().is_root() {
                assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
            }
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", collector.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_ascii_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    collector.kill();
}

#[test]
fn passwords_come_from_files_and_show_nowhere() {
    let Some(server) = Redis::start(&["--requirepass", "hunter2"]) else { return };
    let file = server.directory.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    let mut feed = Feed::new("h");
    let arguments =
        ["--connect", &feed.endpoint(), "--redis", &server.url(), "--password-file", file.to_str().unwrap(), "-vv"];

    mode(0o644);
    let refused =
        run(program().to_str().unwrap(), &[&["run", "--check-config"], arguments.as_slice()].concat()).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 640"));

    let mut without = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    without.wait_for("refuses our user or password");
    without.kill();

    mode(0o600);
    let mut collector = Collector::run(&arguments);
    collector.wait_for("connected to Redis");
    feed.wait_for_collector();
    feed.tick(1, 1);
    let client = redis::Client::open(format!("redis://:hunter2@127.0.0.1:{}", server.port)).unwrap();
    let mut redis = client.get_connection().unwrap();
    wait_until("a frame", || counted(&mut redis, "h", "z000") == [1]);
    let seen = std::fs::read(format!("/proc/{}/cmdline", collector.id())).unwrap_or_default();
    assert!(!collector.said().contains("hunter2") && !String::from_utf8_lossy(&seen).contains("hunter2"));
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_unix_socket_and_a_database_of_ones_own() {
    let Some(server) = Redis::start(&["--unixsocket", "redis.sock"]) else { return };
    let socket = server.directory.path().join("redis.sock");
    let mut feed = Feed::new("h");
    let address = format!("unix://{}?db=3", socket.display());
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &address, "--prefix", "prod:zonescope"]);
    feed.wait_for_collector();
    feed.tick(1, 1);
    let mut redis = server.client();
    let _: String = ask(&mut redis, &["SELECT", "3"]);
    wait_until("a frame", || ask::<bool>(&mut redis, &["EXISTS", "prod:zonescope:{h/z000}:latest:cpu"]));
    assert_eq!(collector.end(), 0);
}

#[test]
fn a_new_master_is_found_through_sentinel() {
    let (Some(mut master), Some(replica)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let _: String = ask(&mut replica.client(), &["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    wait_until("the replica to follow", || {
        ask::<String>(&mut replica.client(), &["INFO", "replication"]).contains("master_link_status:up")
    });
    let directory = tempfile::tempdir().unwrap();
    let (config, port) = (directory.path().join("sentinel.conf"), support::free_port());
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {} 1\n\
         sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n",
        master.port
    );
    std::fs::write(&config, text).unwrap();
    let Some(sentinel) = Redis::start_as("redis-sentinel", port, &[config.to_str().unwrap()]) else { return };

    let mut feed = Feed::new("h");
    let arguments = ["--connect", &feed.endpoint(), "--sentinel", "mymaster", "--redis", &sentinel.url()];
    let collector = Collector::run(&arguments);
    feed.wait_for_collector();
    (1..=3).for_each(|n| feed.tick(2, n));
    wait_until("frames at the replica", || counted(&mut replica.client(), "h", "z001").last() == Some(&3));
    master.kill();
    (4..=6).for_each(|n| feed.tick(2, n));
    wait_until("the new master to have them all", || counted(&mut replica.client(), "h", "z001").last() == Some(&6));
    assert_eq!(counted(&mut replica.client(), "h", "z001"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(collector.end(), 0);
}

#[test]
fn top_shows_the_zones_that_are_in_redis() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut feed = Feed::new("h");
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--redis", &server.url()]);
    feed.wait_for_collector();
    let nothing = run(program().to_str().unwrap(), &["top", "--redis", &server.url(), "--seconds", "2"]).unwrap();
    assert!(nothing.stdout.is_empty());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("holds no zone that was seen lately"));
    (1..=3).for_each(|n| feed.tick(2, n * 1000));
    wait_until("frames", || counted(&mut server.client(), "h", "z001").len() == 3);
    let top = run(program().to_str().unwrap(), &["top", "--redis", &server.url(), "--seconds", "2"]).unwrap();
    let table = String::from_utf8_lossy(&top.stdout).into_owned();
    assert!(table.contains("ZONE") && table.contains("z000") && table.contains("joyent"), "{table}");
    assert_eq!((collector.end(), top.status.code()), (0, Some(0)));
}

#[test]
fn a_configuration_is_checked_without_redis() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("collector-redis.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(program().to_str().unwrap(), &["run", "--check-config", "--config", file.to_str().unwrap()]).unwrap()
    };
    assert_eq!(check("keep = \"2h\"\nredis = [\"redis://10.9.9.9\"]\n").status.code(), Some(0));
    let wrong = check("kepp = \"2h\"\n");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("kepp"));
    let completions = run(program().to_str().unwrap(), &["completions", "bash"]).unwrap();
    assert!(String::from_utf8_lossy(&completions.stdout).contains("--max-memory"));
}
