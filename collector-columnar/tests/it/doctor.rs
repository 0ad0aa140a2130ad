//! `doctor` of the real program.

use std::path::Path;

use serde_json::Value;
use zonescope_collector_columnar::store::lock::Lock;

#[allow(clippy::disallowed_methods, reason = "the program under test is a process")]
fn doctor(root: &Path) -> (Option<i32>, Vec<Value>) {
    let config = root.with_extension("toml");
    std::fs::write(&config, "keep = \"90d\"").unwrap();
    // Port 1 is nobody's.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_zonescope-collector-columnar"))
        .args(["doctor", "--format", "json", "--connect", "tcp://127.0.0.1:1", "--config"])
        .arg(config)
        .env("ZONESCOPE_ROOT", root)
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), said["checks"].as_array().unwrap().clone())
}

fn verdict<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str) {
    let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
    (finding["verdict"].as_str().unwrap(), finding["found"].as_str().unwrap())
}

#[test]
fn it_sees_a_generator_that_is_away_room_and_who_writes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let (code, findings) = doctor(&root);
    assert_eq!(code, Some(1), "{findings:#?}");
    let (peer, found) = verdict(&findings, "peer");
    assert!(peer == "fail" && found.contains("nobody answers"), "{found}");
    assert_eq!((verdict(&findings, "directory").0, verdict(&findings, "collector").0), ("ok", "warn"));
    assert_eq!(verdict(&findings, "retention"), ("ok", "no more than 2160 hours"));
    assert!(!root.exists(), "looking changes nothing");

    std::fs::create_dir(&root).unwrap();
    let _lock = Lock::take(&root).unwrap();
    let (_, findings) = doctor(&root);
    let ours = format!("the process {} writes to", std::process::id());
    assert!(verdict(&findings, "collector").1.starts_with(&ours), "{findings:#?}");
}
