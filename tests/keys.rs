//! Three commands switch encryption on, one lets a tenant in, and one sends somebody away: the real programs, as people use them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use zonescope_link::keys::Pair;
use zonescope_link::transport::{Credentials, Subscription};
use zonescope_proto::Topic;
use zonescope_tests::{Process, free_port, run};

const LONG: Duration = Duration::from_secs(60);
/// The collector that can be had without a compiler for an hour. Redis stays away: frames wait for it, and are counted.
const COLLECTOR: &str = "zonescope-collector-redis";
const GENERATOR: &str = "zonescope-generator";

/// Configurations of both programs, with directories of keys that are not there yet.
struct Place {
    directory: tempfile::TempDir,
    endpoint: String,
    tenant: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (endpoint, tenant) =
            (format!("tcp://127.0.0.1:{}", free_port()), format!("tcp://127.0.0.1:{}", free_port()));
        let here = directory.path().display();
        let generator = format!(
            "bind = \"{endpoint}\"\nrecovery_bind = \"tcp://127.0.0.1:0\"\ninterval_ms = 100\nsource = \"linux\"\n\
             host_id = \"h1\"\nkeys = \"{here}/keys/generator\"\n[dtrace]\nenabled = false\n\
             [[endpoint]]\nname = \"tenant\"\nbind = \"{tenant}\"\nrecovery_bind = \"tcp://127.0.0.1:0\"\nzones = [\"no-such-*\"]\n"
        );
        let collector = format!(
            "connect = [\"{endpoint}\"]\nkeys = \"{here}/keys/collector\"\nredis = [\"redis://127.0.0.1:{}\"]\n",
            free_port()
        );
        let place = Place { directory, endpoint, tenant };
        std::fs::write(place.config(GENERATOR), generator).unwrap();
        std::fs::write(place.config(COLLECTOR), collector).unwrap();
        place
    }

    fn config(&self, program: &str) -> PathBuf {
        self.directory.path().join(format!("{program}.toml"))
    }

    /// Runs one command, which succeeds; gives what it printed.
    fn done(&self, program: &str, arguments: &[&str]) -> String {
        let config = self.config(program);
        let output = run(program, &[arguments, &["--config", config.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn start(&self, program: &str) -> Process {
        Process::start(program, &["run", "--config", self.config(program).to_str().unwrap()])
    }

    fn secret(&self, program: &str) -> String {
        let path = self.directory.path().join("keys").join(program).join("secret");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

/// What `program` counted at its end: `name=N`.
fn counted(said: &str, name: &str) -> u64 {
    let line = said.lines().rfind(|line| line.contains("received") && line.contains("duplicates=")).unwrap();
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}="))).unwrap();
    value.parse().unwrap()
}

/// Whoever comes like that hears nothing; gives what it heard otherwise.
fn heard(endpoint: &str, credentials: &Credentials) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let everything = [String::new()];
    runtime.block_on(async {
        let mut topics = Vec::new();
        let listen = async {
            let Ok(mut subscription) = Subscription::connect(endpoint, &everything, credentials).await else { return };
            while let Ok(Some((topic, _))) = subscription.receive().await {
                topics.push(Topic::parse(&topic).unwrap().zone);
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), listen).await;
        topics
    })
}

/// Secrets are nowhere but in their files.
fn assert_nowhere(secrets: &[String], process: &Process) {
    let proc = Path::new("/proc").join(process.id().to_string());
    let mut seen = process.said();
    for file in ["cmdline", "environ"] {
        seen += &String::from_utf8_lossy(&std::fs::read(proc.join(file)).unwrap());
    }
    for secret in secrets {
        assert!(secret.len() == 40 && !seen.contains(secret.as_str()));
    }
}

#[test]
fn three_commands_switch_encryption_on_and_one_sends_away() {
    let place = Place::new();
    // The README's three.
    let ours = place.done(GENERATOR, &["keys", "new"]);
    let said = place.done(COLLECTOR, &["keys", "authorize", &place.endpoint, ours.trim()]);
    let theirs = said.split('\'').nth(1).unwrap().to_owned();
    place.done(GENERATOR, &["keys", "authorize", &theirs, "--name", "store"]);

    let mut generator = place.start(GENERATOR);
    generator.wait_for("publishing", LONG);
    let mut collector = place.start(COLLECTOR);
    collector.wait_for("connected", LONG);
    let stranger = Arc::new(Pair::generate());
    let server = ours.trim().parse().unwrap();
    assert!(heard(&place.endpoint, &Credentials::None).is_empty(), "in plain");
    assert!(heard(&place.endpoint, &Credentials::Curve { pair: Arc::clone(&stranger), server }).is_empty());
    let secrets = [place.secret("generator"), place.secret("collector")];
    assert_nowhere(&secrets, &generator);
    assert_nowhere(&secrets, &collector);

    // Sent away at once, kept out, and let in again: nothing is lost.
    place.done(GENERATOR, &["keys", "revoke", "store"]);
    generator.signal(Signal::SIGHUP);
    collector.wait_for("connection lost", LONG);
    place.done(GENERATOR, &["keys", "authorize", &theirs, "--name", "store"]);
    generator.signal(Signal::SIGHUP);
    let connected = || collector.said().matches("connected").count();
    zonescope_tests::wait_until("the collector to be let in again", LONG, || connected() >= 2);
    std::thread::sleep(Duration::from_secs(3));

    let log = collector.log.clone();
    collector.signal(Signal::SIGTERM);
    zonescope_tests::wait_until("the collector to count", LONG, || {
        std::fs::read_to_string(&log).unwrap().contains("duplicates=")
    });
    let said = collector.said();
    assert!(counted(&said, "frames") > 20 && counted(&said, "bad") == 0, "{said}");
    assert_eq!((counted(&said, "gaps"), counted(&said, "missing")), (0, 0), "{said}");
    assert_nowhere(&secrets, &generator);
}

/// What the doctor of the generator says of its keys, and its exit code.
fn diagnosis(place: &Place) -> (Option<i32>, Vec<(String, String)>) {
    let config = place.config(GENERATOR);
    let output = run(GENERATOR, &["doctor", "--format", "json", "--config", config.to_str().unwrap()]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let keys = said["checks"].as_array().unwrap().iter().filter(|finding| finding["check"] == "keys");
    (output.status.code(), keys.map(|finding| (text(finding, "verdict"), text(finding, "found"))).collect())
}

#[test]
fn doctor_tells_a_generator_that_was_started_before_its_key_from_one_that_is_encrypted() {
    let place = Place::new();
    let mut plain = place.start(GENERATOR);
    plain.wait_for("publishing these zones alone", LONG);
    place.done(GENERATOR, &["keys", "new"]);
    let (code, keys) = diagnosis(&place);
    assert!(code == Some(1) && keys.iter().any(|(_, found)| found.contains("before there was a key")), "{keys:?}");
    assert_eq!(plain.end(), 0);

    let mut encrypted = place.start(GENERATOR);
    encrypted.wait_for("publishing these zones alone", LONG);
    let (code, keys) = diagnosis(&place);
    assert!(code == Some(0) && keys.len() == 2, "{keys:?}");
    assert!(
        keys.iter().all(|(verdict, found)| verdict == "warn" && found.contains("nobody may subscribe")),
        "{keys:?}"
    );
}

#[test]
fn a_key_of_a_tenants_endpoint_opens_no_other() {
    let place = Place::new();
    let server = place.done(GENERATOR, &["keys", "new"]).trim().parse().unwrap();
    let tenant = Arc::new(Pair::generate());
    let key = tenant.public().to_string();
    place.done(GENERATOR, &["keys", "authorize", &key, "--name", "t1", "--endpoint", "tenant"]);
    let shown: Value = serde_json::from_str(&place.done(GENERATOR, &["keys", "show", "--format", "json"])).unwrap();
    assert_eq!(
        (shown["authorized"][0]["endpoint"].as_str(), shown["authorized"][0]["key"].as_str()),
        (Some("tenant"), Some(key.as_str()))
    );

    let mut generator = place.start(GENERATOR);
    generator.wait_for("publishing these zones alone", LONG);
    let credentials = Credentials::Curve { pair: tenant, server };
    let topics = heard(&place.tenant, &credentials);
    assert!(topics.len() > 5 && topics.iter().all(String::is_empty), "host frames alone: {topics:?}");
    assert!(heard(&place.endpoint, &credentials).is_empty(), "not where everything is published");

    place.done(GENERATOR, &["keys", "revoke", &key]);
    generator.signal(Signal::SIGHUP);
    generator.wait_for("keys again", LONG);
    assert!(heard(&place.tenant, &credentials).is_empty(), "revoked");
}

#[test]
fn a_secret_that_others_can_read_stops_everything_and_says_the_chmod() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.done(GENERATOR, &["keys", "new"]);
    let config = place.config(GENERATOR);
    let typed = ["keys", "authorize", "no-key", "--name", "x", "--config", config.to_str().unwrap()];
    assert_eq!(run(GENERATOR, &typed).status.code(), Some(2), "a mistake of who types");
    let secret = place.directory.path().join("keys/generator/secret");
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    for arguments in [&["run"][..], &["run", "--check-config"], &["keys", "show"]] {
        let output = run(GENERATOR, &[arguments, &["--config", config.to_str().unwrap()]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(&format!("chmod 600 {}", secret.display())), "{said}");
    }
    let (code, keys) = diagnosis(&place);
    assert!(
        code == Some(1) && keys.iter().all(|(verdict, found)| verdict == "fail" && found.contains("chmod 600")),
        "{keys:?}"
    );
}
