//! `doctor` of the real program on this host, with a generator that runs and without one.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and starts processes")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A configuration whose ports are free.
fn configure(directory: &Path, more: &str) -> (u16, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = directory.join("generator.toml");
    let text = format!("bind = \"tcp://127.0.0.1:{port}\"\ninterval_ms = 100\nhost_id = \"h1\"\n{more}\n");
    std::fs::write(&config, text).unwrap();
    (port, config.to_string_lossy().into_owned())
}

fn doctor(config: &str) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zonescope-generator"));
    let output = command.args(["doctor", "--format", "json", "--config", config]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), said["checks"].as_array().unwrap().clone())
}

fn verdict<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str) {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| unreachable!("{check} in {findings:#?}"));
    (finding["verdict"].as_str().unwrap(), finding["found"].as_str().unwrap())
}

#[test]
fn a_generator_that_runs_is_recognised_and_one_that_does_not_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let (_, config) = configure(directory.path(), "[dtrace]\nenabled = false");
    let (code, findings) = doctor(&config);
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(verdict(&findings, "clock").0, "ok");
    assert!(verdict(&findings, "linux").1.contains("families of"), "{findings:#?}");
    assert!(verdict(&findings, "dtrace").1.contains("switched off"));
    assert_eq!(verdict(&findings, "port").0, "warn");

    let mut command = Command::new(env!("CARGO_BIN_EXE_zonescope-generator"));
    let running =
        command.args(["run", "--config", &config]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _running = Ends(running);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (code, findings) = doctor(&config);
        let (verdict, found) = verdict(&findings, "port");
        if verdict == "ok" {
            assert!(code == Some(0) && found.contains("is ours") && found.contains("(h1)"), "{findings:#?}");
            break;
        }
        assert!(Instant::now() < until, "{findings:#?}");
    }
}

#[test]
fn what_cannot_work_fails_with_code_1_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let more = format!("[ring]\nspool = {spool:?}\nspool_bytes = {}\n[dtrace]\npath = \"/bin/false\"", i64::MAX);
    let (port, config) = configure(directory.path(), &more);
    let _somebody = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (code, findings) = doctor(&config);
    assert_eq!(code, Some(1), "{findings:#?}");
    assert_eq!(verdict(&findings, "port").0, "fail");
    assert_eq!(verdict(&findings, "disk").0, "fail");
    assert_eq!(verdict(&findings, "dtrace").0, "warn");
    assert!(!spool.exists(), "looking changes nothing");
    for finding in findings.iter().filter(|finding| finding["verdict"] != "ok") {
        assert!(!finding["next"].as_str().unwrap().is_empty(), "{finding}");
    }
}
