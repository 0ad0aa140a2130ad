//! The linux source, on systems laid out as directory trees: what comes out is compared with a golden text.
//!
//! `ZONESCOPE_BLESS=1 cargo test -p zonescope-generator --test linux` writes the golden texts anew: read the
//! difference before it is committed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail loudly")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use zonescope_generator::linux::{self, Linux, Live, Options, Record, Recorded, Recorder};
use zonescope_generator::source::{Sample, Source, Tick};
use zonescope_link::clock::Clock;
use zonescope_proto::{Family, Sink, ZoneName, v1, walk};

const TICK: Tick = Tick { time_ns: 1_760_000_100_000_000_000, interval_ns: 1_000_000_000 };

/// A clock that stands 5 ms after the tick.
struct Standing;

impl Clock for Standing {
    fn now_ns(&self) -> u64 {
        TICK.time_ns + 5_000_000
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/linux").join(name)
}

/// Lays a `.tree` out as the directories and files that it lists; see fixtures/linux/README.md.
fn unpack(name: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture(&format!("{name}.tree"))).unwrap();
    for entry in text.split_inclusive('\n').collect::<Vec<_>>().chunk_by(|_, next| !next.starts_with("==> ")) {
        let Some(head) = entry[0].strip_prefix("==> ") else { continue };
        let (path, target) = head
            .trim_end_matches('\n')
            .split_once(" -> ")
            .map_or((head.trim_end_matches('\n'), None), |(p, t)| (p, Some(t)));
        let file = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        match target {
            Some(target) => symlink(target, file).unwrap(),
            None => fs::write(file, entry[1..].concat()).unwrap(),
        }
    }
    root
}

fn live(root: &TempDir) -> Live {
    Live::new(root.path().to_str().unwrap(), Arc::new(Standing))
}

fn sample<F: linux::Files>(linux: &mut Linux<F>) -> Sample {
    let mut sample = Sample::default();
    linux.sample(TICK, &mut sample).unwrap();
    sample
}

fn of_tree(name: &str) -> Sample {
    sample(&mut Linux::with(live(&unpack(name)), Options::default()))
}

/// Writes every row as a line.
struct Lines(String);

impl Sink for Lines {
    fn row<F: Family>(&mut self, row: &F) {
        write!(self.0, "  {}", F::SPEC.table).unwrap();
        row.visit(&mut |index: usize, value: Option<zonescope_proto::Value<'_>>| {
            if let Some(value) = value {
                write!(self.0, " {}={value}", F::SPEC.fields[index].name).unwrap();
            }
        });
        self.0.push('\n');
    }

    fn custom(&mut self, _row: &v1::Custom) {}
}

/// The sample as text, less what differs from run to run.
fn shown(sample: &Sample) -> String {
    let mut lines = Lines(String::new());
    for zone in sample.zones.values() {
        writeln!(lines.0, "{} ({}) {}", zone.zone.name, zone.zone.brand, zone.zone.uuid).unwrap();
        walk(&zone.frame, &mut lines);
    }
    for row in &sample.collect {
        let v1::Collect { family, success, rows, errors, drops, error, .. } = row;
        let numbers = [success, rows, errors, drops].map(|n| n.unwrap().to_string()).join(" ");
        writeln!(lines.0, "{family}: {numbers} {}", error.as_deref().unwrap_or("")).unwrap();
    }
    lines.0
}

fn compare(name: &str) {
    let (found, golden) = (shown(&of_tree(name)), fixture(&format!("{name}.golden")));
    if std::env::var_os("ZONESCOPE_BLESS").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}.golden, line {}", number + 1);
    }
    assert_eq!(found.len(), expected.len(), "{name}.golden: one is longer");
}

#[test]
fn a_v2_system_reads_as_it_always_did() {
    compare("v2-systemd");
}

#[test]
fn a_v1_system_reads_as_it_always_did() {
    compare("v1-docker");
}

#[test]
fn a_hybrid_system_reads_as_it_always_did() {
    compare("hybrid");
}

fn brands(sample: &Sample) -> Vec<(&str, &str)> {
    sample.zones.values().map(|z| (z.zone.name.as_str(), z.zone.brand.as_str())).collect()
}

#[test]
fn zones_have_the_names_that_people_gave_them() {
    let sample = of_tree("v2-systemd");
    let zones = brands(&sample);
    for expected in [
        ("global", "host"),
        ("web", "docker"),
        ("77aa0a9be2d3", "docker"),
        ("queue", "podman"),
        ("blog", "podman"),
        ("shop-0", "pod"),
        ("shop-0.app", "containerd"),
        ("web-1", "libvirt"),
        ("alpine", "lxc"),
        ("nginx.service", "service"),
        ("nginx.service@user-1000", "service"),
        ("system.slice", "slice"),
        ("session-3.scope", "session"),
        ("batch_nightly", "cgroup"),
    ] {
        assert!(zones.contains(&expected), "{expected:?} is missing among {zones:?}");
    }
    for hidden in ["conmon", "monitor", "mount", "44ff", "inner", "cron", "vcpu"] {
        assert!(!zones.iter().any(|(name, _)| name.contains(hidden)), "{hidden} is no zone: {zones:?}");
    }
}

fn frame<'a>(sample: &'a Sample, zone: &str) -> &'a v1::Frame {
    &sample.zones[&ZoneName::new(zone).unwrap()].frame
}

#[test]
fn a_process_of_an_inner_group_belongs_to_the_container_and_is_reported_once() {
    let sample = of_tree("v2-systemd");
    let pids = |zone: &str| frame(&sample, zone).process.iter().map(|p| p.pid).collect::<Vec<_>>();
    assert_eq!(pids("web"), [2001, 2002]);
    assert_eq!(pids("web-1"), [2301]);
    assert_eq!(pids("system.slice"), [0u64; 0]);
    // The kernel's own and conmon, in no zone of their own.
    assert_eq!(pids("machine.slice"), [2202]);
    let mut all: Vec<u64> = sample.zones.values().flat_map(|z| z.frame.process.iter().map(|p| p.pid)).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    assert_eq!(frame(&sample, "web").process[1].execname, "my (odd) app");
    // But counted by every zone around it.
    assert_eq!(frame(&sample, "machine.slice").pids.unwrap().processes, Some(3));
    assert_eq!(frame(&sample, "kubepods.slice").pids.unwrap().processes, Some(2));
}

#[test]
fn only_a_network_of_its_own_has_rows() {
    let sample = of_tree("v2-systemd");
    let links = |zone: &str| frame(&sample, zone).net.iter().map(|n| n.link.as_str()).collect::<Vec<_>>();
    assert_eq!(links("global"), ["lo", "eth0", "docker0"]);
    assert_eq!(links("web"), ["lo", "eth0"]);
    assert_eq!(links("nginx.service"), [""; 0]);
    assert_eq!((links("shop-0"), links("shop-0.app")), (vec!["lo", "eth0"], vec![]));
    let speeds: Vec<_> = frame(&sample, "web").net.iter().map(|n| n.ifspeed).collect();
    assert_eq!(speeds, [None, Some(10_000_000_000)]);
    assert!(frame(&sample, "nginx.service").tcp.is_none());
}

#[test]
fn what_a_system_lacks_is_absent_and_no_error() {
    let sample = of_tree("v1-docker");
    let legacy = frame(&sample, "legacy");
    assert!(legacy.pressure.is_none());
    let memory = legacy.memory.unwrap();
    assert_eq!(
        (memory.physcap, memory.memory_high, memory.slab, memory.oom_kill),
        (Some(268_435_456), None, None, None)
    );
    assert_eq!(frame(&sample, "old").memory.unwrap().physcap, Some(u64::MAX));
    assert_eq!(legacy.cpu.unwrap().quota_usec, Some(50_000));
    assert_eq!(frame(&sample, "old").cpu.unwrap().quota_usec, None);
    assert!(frame(&sample, "crond.service").cpu.is_none());
    assert_eq!(frame(&sample, "crond.service").pids.unwrap().processes, Some(1));
    assert!(sample.collect.iter().all(|c| c.success == Some(1)), "{:?}", sample.collect);
}

#[test]
fn nonsense_in_one_file_is_an_error_of_its_family_alone() {
    let root = unpack("v2-systemd");
    let nginx = root.path().join("sys/fs/cgroup/system.slice/nginx.service");
    fs::write(nginx.join("cpu.stat"), "user_usec x\nsystem_usec 7\n").unwrap();
    fs::write(nginx.join("memory.current"), [0xff, 0, 7]).unwrap();
    fs::remove_file(nginx.join("pids.current")).unwrap();
    fs::remove_file(nginx.join("io.stat")).unwrap();
    fs::create_dir(nginx.join("io.stat")).unwrap();
    let mut linux = Linux::with(live(&root), Options::default());
    let (first, second) = (sample(&mut linux), sample(&mut linux));
    let cpu = frame(&first, "nginx.service").cpu.unwrap();
    assert_eq!((cpu.nsec_user, cpu.nsec_sys), (None, Some(7000)));
    let of = |sample: &Sample, family: &str| sample.collect.iter().find(|c| c.family == family).cloned().unwrap();
    for family in ["cpu", "core", "memory", "disk"] {
        assert_eq!((of(&first, family).success, of(&second, family).errors), (Some(0), Some(2)), "{family}");
    }
    assert!(of(&first, "cpu").error.unwrap().contains("nginx.service/cpu.stat"));
    for family in ["zones", "process", "pids", "pressure", "net", "tcp", "udp", "ip", "arc", "zpool"] {
        assert_eq!(of(&first, family).success, Some(1), "{family}");
    }
}

#[test]
fn a_zone_comes_and_goes_with_its_cgroup() {
    let root = unpack("v2-systemd");
    let batch = root.path().join("sys/fs/cgroup/batch");
    let mut linux = Linux::with(live(&root), Options::default());
    let weekly = ZoneName::new("batch_weekly").unwrap();
    assert!(!sample(&mut linux).zones.contains_key(&weekly));
    fs::create_dir(batch.join("weekly")).unwrap();
    fs::write(batch.join("weekly/cpu.stat"), "user_usec 1\nsystem_usec 2\n").unwrap();
    let with = sample(&mut linux);
    assert_eq!(with.zones[&weekly].frame.cpu.unwrap().nsec_sys, Some(2000));
    fs::remove_dir_all(batch.join("weekly")).unwrap();
    assert!(!sample(&mut linux).zones.contains_key(&weekly));
}

#[test]
fn a_recording_gives_the_same_sample_and_holds_no_secret() {
    let root = unpack("v2-systemd");
    let mut recorder = Linux::with(Recorder::new(live(&root)), Options::default());
    let recorded = shown(&sample(&mut recorder));
    let line = serde_json::to_string(&recorder.files().take()).unwrap();
    assert!(!line.contains("hunter2"), "the recording holds a secret of a container");
    let record: Record = serde_json::from_str(&line).unwrap();
    assert!(line.starts_with(r#"{"zonescope":"linux","version":1,"#));
    assert_eq!(record.tick(), TICK);

    let mut replay = Linux::with(Recorded::default(), Options::default());
    replay.files().play(record);
    assert_eq!(shown(&sample(&mut replay)), recorded);
    assert_eq!(linux::identity(replay.files()).name, "node1");
}

#[test]
fn the_host_is_who_its_files_say() {
    let root = unpack("v2-systemd");
    let identity = linux::identity(&mut live(&root));
    assert_eq!((identity.id.as_str(), identity.name.as_str()), ("0f1e2d3c4b5a69788796a5b4c3d2e1f0", "node1"));
    assert_eq!(identity.boot_time_ns, 1_760_000_000_000_000_000);
    fs::remove_file(root.path().join("etc/machine-id")).unwrap();
    assert_eq!(linux::identity(&mut live(&root)).id, "host-node1");
}

#[test]
fn an_empty_root_is_a_sample_of_errors_and_no_panic() {
    let root = tempfile::tempdir().unwrap();
    let sample = sample(&mut Linux::with(live(&root), Options::default()));
    assert_eq!(brands(&sample), [("global", "host")]);
    assert!(sample.collect.iter().any(|c| c.family == "zones" && c.success == Some(0)));
}

#[test]
fn namesakes_are_told_apart_and_the_elder_keeps_the_name() {
    let mut record = recorded("v2-systemd");
    let (docker, podman) =
        ("/var/lib/docker/containers/", "/home/ada/.local/share/containers/storage/overlay-containers/containers.json");
    assert!(record.files.keys().any(|path| path.starts_with(docker)));
    for content in record.files.iter_mut().filter(|(path, _)| *path == podman).map(|(_, content)| content) {
        let linux::Bytes::Text(text) = &mut content.text else { panic!("{podman} is text") };
        *text = text.replace("blog", "web");
    }
    let inode = |record: &mut Record, part: &str, inode: u64| {
        let group = record.nodes.iter_mut().find(|(path, _)| path.starts_with("/sys/fs/cgroup") && path.contains(part));
        group.unwrap().1.inode = inode;
    };
    for (docker_inode, podman_inode, brand, other) in
        [(7, 8, "docker", "web@22dd0a9be2d3"), (8, 7, "podman", "web@4f1c0a9be2d3")]
    {
        inode(&mut record, "docker-4f1c", docker_inode);
        inode(&mut record, "libpod-22dd", podman_inode);
        let mut linux = Linux::with(Recorded::default(), Options::default());
        linux.files().play(record.clone());
        let sample = sample(&mut linux);
        assert_eq!(sample.zones[&ZoneName::new("web").unwrap()].zone.brand, brand);
        assert!(sample.zones.contains_key(&ZoneName::new(other).unwrap()), "{:?}", brands(&sample));
    }
}

/// One tick of a tree as a record.
fn recorded(name: &str) -> Record {
    let root = unpack(name);
    let mut recorder = Linux::with(Recorder::new(live(&root)), Options::default());
    sample(&mut recorder);
    recorder.files().take()
}

/// What the kernel might print, and what it would not.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "[0-9]{1,21}",
        Just("max".to_owned()),
        "-?[0-9]{0,3}[.:/=][0-9]{0,22}",
        "(cpu|Tcp:|some|full|total=|254:0|\\(|\\)|Read|rbytes=|intr)[0-9]{0,3}",
    ];
    let line = prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "));
    let text = prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n").into_bytes());
    prop_oneof![text, prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever any file holds, or if it is gone: a sample, with the host in it.
    #[test]
    fn no_bytes_in_any_file_disturb_the_others(changes in prop::collection::vec((any::<prop::sample::Index>(), content()), 1..60), tree in 0..3usize) {
        static RECORDS: std::sync::LazyLock<[Record; 3]> =
            std::sync::LazyLock::new(|| ["v2-systemd", "v1-docker", "hybrid"].map(recorded));
        let mut record = RECORDS[tree].clone();
        let paths: Vec<String> = record.files.keys().cloned().collect();
        for (index, bytes) in changes {
            let path = index.get(&paths);
            if bytes.is_empty() {
                record.files.remove(path);
            } else if let Some(content) = record.files.get_mut(path) {
                content.text = linux::Bytes::from(bytes.as_slice());
            }
        }
        let mut linux = Linux::with(Recorded::default(), Options::default());
        linux.files().play(record.clone());
        let first = sample(&mut linux);
        linux.files().play(record);
        let second = sample(&mut linux);
        prop_assert!(first.zones.contains_key(&ZoneName::global()));
        prop_assert_eq!(first.zones.len(), second.zones.len());
    }
}

/// A v2 system of which nothing is known but its groups: path and inode.
fn groups(groups: &[(&str, u64)]) -> Record {
    let mount = "/sys/fs/cgroup";
    let mut record = Record::default();
    let mounts = linux::Bytes::from(format!("31 23 0:26 / {mount} rw - cgroup2 cgroup2 rw\n").as_bytes());
    record.files.insert("/proc/self/mountinfo".to_owned(), linux::Content { at: 0, text: mounts });
    record.lists.insert("/proc".to_owned(), Vec::new());
    for (path, inode) in groups {
        let (parent, name) = path.rsplit_once('/').unwrap();
        record.lists.entry(format!("{mount}{parent}")).or_default().push(format!("{name}/"));
        record.lists.entry(format!("{mount}{path}")).or_default();
        record.nodes.insert(format!("{mount}{path}"), linux::Node { inode: *inode, links: 3, bytes: 0 });
    }
    record
}

fn play(linux: &mut Linux<Recorded>, record: Record) -> Sample {
    linux.files().play(record);
    sample(linux)
}

#[test]
fn a_service_that_is_started_again_is_another_instance_of_the_same_zone() {
    let mut linux = Linux::with(Recorded::default(), Options::default());
    let web = ZoneName::new("web.service").unwrap();
    let id = |sample: &Sample| sample.zones[&web].zone.id;
    assert_eq!(id(&play(&mut linux, groups(&[("/web.service", 70)]))), 70);
    let again = play(&mut linux, groups(&[("/web.service", 90)]));
    assert_eq!((id(&again), again.zones.len()), (90, 2));
}

#[test]
fn zones_beyond_the_limit_are_counted_and_the_rest_goes_on() {
    let paths: Vec<(String, u64)> = (0..4100).map(|i| (format!("/job{i}.service"), 1000 + i)).collect();
    let paths: Vec<(&str, u64)> = paths.iter().map(|(path, inode)| (path.as_str(), *inode)).collect();
    let sample = play(&mut Linux::with(Recorded::default(), Options::default()), groups(&paths));
    assert_eq!(sample.zones.len(), 4096 + 1);
    let zones = sample.collect.iter().find(|row| row.family == "zones").unwrap();
    assert_eq!((zones.rows, zones.drops), (Some(4097), Some(4)));
    // The youngest are left out.
    assert!(!sample.zones.contains_key(&ZoneName::new("job4099.service").unwrap()));
}

#[test]
fn a_process_that_is_moved_is_found_in_its_new_zone() {
    const LATEST: usize = 16;
    let root = unpack("v2-systemd");
    let mut linux = Linux::with(live(&root), Options::default());
    let has = |sample: &Sample, zone: &str| frame(sample, zone).process.iter().any(|p| p.pid == 801);
    assert!(has(&sample(&mut linux), "nginx.service"));
    fs::write(root.path().join("proc/801/cgroup"), "0::/batch/nightly\n").unwrap();
    let moved = (0..LATEST).any(|_| has(&sample(&mut linux), "batch_nightly"));
    assert!(moved, "not within {LATEST} ticks");
}
