//! The columnar collector: what it writes is its owner's and its group's, whatever umask it was started with, and it keeps no privilege.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use zonescope_tests::{Process, free_endpoint, root, wait_until};

const LONG: Duration = Duration::from_secs(300);

/// Every kind of file below `path`, as its extension (`/` for a folder, the root included) and its mode.
fn modes(path: &Path) -> BTreeSet<(String, u32)> {
    let metadata = fs::metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() {
        return BTreeSet::from([(path.extension().unwrap_or_default().to_string_lossy().into_owned(), mode)]);
    }
    let inside = fs::read_dir(path).unwrap().flat_map(|entry| modes(&entry.unwrap().path()));
    inside.chain([("/".to_owned(), mode)]).collect()
}

/// One test, since the umask is the whole process's.
#[test]
fn the_store_is_its_owner_s_and_its_group_s_and_the_collector_keeps_no_privilege() {
    let capture = format!(
        "recorded:{}",
        root().join("generator/fixtures/series/global-20130813T1645.packets.jsonl.zst").display()
    );
    for mask in [0, 0o022] {
        umask(Mode::from_bits_truncate(mask));
        let directory = tempfile::tempdir().unwrap();
        let (data, endpoint) = (directory.path().join("data"), free_endpoint());
        let arguments = ["run", "--connect", &endpoint, "--root", data.to_str().unwrap()];
        let mut collector = Process::start("zonescope-collector-columnar", &arguments);
        let mut generator = Process::start(
            "zonescope-generator",
            &["run", "--bind", &endpoint, "--source", &capture, "--speed", "max"],
        );
        generator.wait_for("has been played", LONG);
        assert_eq!(generator.ended(LONG), 0);
        collector.wait_for("receiving", LONG);

        let status = fs::read_to_string(format!("/proc/{}/status", collector.id())).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");

        let of = |data: &Path, kind: &str| -> BTreeSet<u32> {
            modes(data).into_iter().filter(|(name, _)| name == kind).map(|(_, mode)| mode).collect()
        };
        wait_until("the log", LONG, || modes(&data).len() > 1);
        let written: BTreeSet<u32> = modes(&data).into_iter().filter(|(kind, _)| kind != "/").map(|(_, m)| m).collect();
        assert_eq!(written, BTreeSet::from([0o640]), "umask {mask:03o}: {:?}", modes(&data));
        assert_eq!(collector.end(), 0);
        assert_eq!(of(&data, "parquet"), BTreeSet::from([0o640]), "umask {mask:03o}");
        assert_eq!(of(&data, "/"), BTreeSet::from([0o750]), "umask {mask:03o}");
    }
}
