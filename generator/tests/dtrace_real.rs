//! The runner and its programs with a real DTrace, against loads of known shape.
//!
//! Finds dtrace as `$ZONESCOPE_DTRACE` or in `$PATH`; ci/dtrace-on-linux puts one on a Debian. Where there is none, or we
//! are not root, the tests say SKIPPED and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests fail loudly")]
#![allow(clippy::disallowed_methods, reason = "tests start processes of their own")]
#![cfg(unix)]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports, reason = "most loads are known on Linux only"))]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use zonescope_generator::dtrace::program::{Builtin, ILLUMOS, builtin};
use zonescope_generator::dtrace::{Dtrace, DtraceOptions, ZoneOfPid, check};
use zonescope_generator::source::{Sample, Source as _, Tick};
use zonescope_proto::{ZoneName, v1};

/// One dtrace at a time: a known load stays known, and two cores are not overrun.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn dtrace() -> Option<PathBuf> {
    let found = match std::env::var_os("ZONESCOPE_DTRACE") {
        Some(path) => Some(PathBuf::from(path)),
        None => DtraceOptions::default().find_dtrace(),
    };
    let reason = match &found {
        None => "no dtrace in $ZONESCOPE_DTRACE, /usr/sbin or $PATH; ci/dtrace-on-linux installs one",
        Some(_) if !rustix::process::geteuid().is_root() => "not root",
        Some(_) => return found,
    };
    eprintln!("SKIPPED: {reason}");
    None
}

fn options(path: &Path, programs: &[&str]) -> DtraceOptions {
    DtraceOptions {
        path: Some(path.to_owned()),
        programs: Some(programs.iter().map(ToString::to_string).collect::<BTreeSet<_>>()),
        user_dir: PathBuf::from("/nowhere"),
        ..DtraceOptions::default()
    }
}

fn tick(dtrace: &mut Dtrace) -> Sample {
    let mut sample = Sample::default();
    dtrace.sample(Tick { time_ns: 0, interval_ns: 1_000_000_000 }, &mut sample).unwrap();
    sample
}

fn is_running(sample: &Sample) -> bool {
    let rows = sample.zones.get(&ZoneName::global()).map(|zone| &zone.frame.dtrace);
    rows.is_some_and(|rows| !rows.is_empty() && rows.iter().all(|row| row.state.as_deref() == Some("running")))
}

/// Runs `programs`, then `load` once they run, then ends them; everything that the ticks saw from the load on.
fn watch(options: DtraceOptions, load: impl FnOnce()) -> Vec<Sample> {
    watch_until(options, load, |_| true)
}

/// The same, for as long as the load is not `done`; three seconds at least.
fn watch_until(options: DtraceOptions, load: impl FnOnce(), done: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
    let mut dtrace = Dtrace::start(options);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let sample = tick(&mut dtrace);
        if is_running(&sample) {
            break;
        }
        assert!(Instant::now() < end, "not running: {:?}", sample.collect);
        std::thread::sleep(Duration::from_millis(100));
    }
    load();
    let mut samples = Vec::new();
    while samples.len() < 3 || !done(&samples) {
        std::thread::sleep(Duration::from_secs(1));
        samples.push(tick(&mut dtrace));
        assert!(samples.len() < 60, "the load does not come to its end");
    }
    dtrace.shutdown(Duration::from_secs(20));
    samples.push(tick(&mut dtrace));
    samples
}

fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

/// The load's zone: processes whose name is `comm` are in `load`.
fn zone_of(comm: &'static str) -> ZoneOfPid {
    ZoneOfPid::new(move |pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == comm).then(|| ZoneName::lossy("load"))
    })
}

fn distributions<'a>(samples: &'a [Sample], zone: &ZoneName, name: &str) -> Vec<&'a v1::Distribution> {
    let frames = samples.iter().filter_map(|sample| sample.zones.get(zone));
    frames.flat_map(|zone| &zone.frame.distribution).filter(|row| row.name == name).collect()
}

/// All buckets of some distributions, added up.
fn buckets<'a>(rows: impl IntoIterator<Item = &'a v1::Distribution>) -> BTreeMap<(i64, i64), u64> {
    let mut sum = BTreeMap::new();
    for row in rows {
        for ((lower, upper), count) in row.lower.iter().zip(&row.upper).zip(&row.count) {
            *sum.entry((*lower, *upper)).or_insert(0) += count;
        }
    }
    sum
}

fn has_label(row: &v1::Distribution, name: &str, value: &str) -> bool {
    row.labels.iter().any(|label| label.name == name && label.value == value)
}

fn events(samples: &[Sample], zone: &ZoneName, name: &str) -> u64 {
    let frames = samples.iter().filter_map(|sample| sample.zones.get(zone));
    frames.flat_map(|zone| &zone.frame.event).filter(|row| row.event == name).filter_map(|row| row.count).sum()
}

/// `python3` is everywhere that a Debian is; its name in /proc is what its link says.
fn python(script: &str) -> std::process::Child {
    Command::new("python3").arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn finish(mut child: std::process::Child) -> String {
    drop(child.stdin.take());
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// A process makes 1,000 writes of a byte and 10 reads that wait 20 ms each; it waits for its stdin before it ends, so
/// that its zone is still known at the ticks.
#[test]
#[cfg(target_os = "linux")]
fn the_latency_of_a_known_number_of_writes_and_reads() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    let script = "import os,sys,tempfile,time,threading\n\
        open('/proc/self/comm','w').write('zs-load')\n\
        temporary = tempfile.TemporaryFile(); file = temporary.fileno()\n\
        for i in range(1000): os.pwrite(file, b'x', i)\n\
        r, w = os.pipe()\n\
        def slow():\n\
        \tfor i in range(10): time.sleep(0.02); os.write(w, b'y')\n\
        t = threading.Thread(target=slow); t.start()\n\
        for i in range(10): os.readv(r, [bytearray(1)])\n\
        t.join()\n\
        sys.stdin.read()";
    let mut child = None;
    let options = DtraceOptions { zone_of_pid: zone_of("zs-load"), ..options(&path, &["syscall"]) };
    let samples = watch(options, || child = Some(python(script)));
    finish(child.unwrap());
    let rows = distributions(&samples, &zone("load"), "syscall_latency");
    let writes = buckets(rows.iter().copied().filter(|row| has_label(row, "call", "pwrite64")));
    assert_eq!(writes.values().sum::<u64>(), 1000, "{writes:?}");
    let reads = buckets(rows.iter().copied().filter(|row| has_label(row, "call", "readv")));
    let slow: u64 = reads.iter().filter(|((lower, _), _)| *lower >= 10_000_000).map(|(_, c)| c).sum();
    assert_eq!(slow, 10, "reads of 20 ms: {reads:?}");
}

/// A process uses one second of CPU time, however long that takes beside others.
#[test]
fn samples_of_a_busy_process() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    let flag = tempfile::NamedTempFile::new().unwrap();
    let script = format!(
        "import time,sys\nopen('/proc/self/comm','w').write('zs-busy')\n\
        end = time.process_time() + 1\nwhile time.process_time() < end: pass\n\
        open('{}','w').write('done')\nsys.stdin.read()",
        flag.path().display()
    );
    let mut child = None;
    let done = |_: &[Sample]| flag.path().metadata().unwrap().len() > 0;
    let options = DtraceOptions { zone_of_pid: zone_of("zs-busy"), ..options(&path, &["oncpu"]) };
    let samples = watch_until(options, || child = Some(python(&script)), done);
    let child = child.unwrap();
    let pid = u64::from(child.id());
    finish(child);
    let frames: Vec<_> = samples.iter().filter_map(|s| s.zones.get(&zone("load"))).map(|z| &z.frame).collect();
    let ticks: u64 = frames.iter().filter_map(|f| f.oncpu?.ticks).sum();
    let taken: u64 = frames.iter().flat_map(|f| &f.oncpu_process).filter_map(|row| row.samples).sum();
    let by_core: u64 = frames.iter().flat_map(|f| &f.oncpu_core).filter_map(|row| row.samples).sum();
    assert!((80..=125).contains(&taken), "{taken} samples of a second of CPU time at 97 Hz");
    assert!(ticks >= 97, "{ticks} ticks: at least one whole second");
    assert_eq!(taken, by_core);
    let rows = || frames.iter().flat_map(|f| &f.oncpu_process);
    assert!(rows().all(|row| row.pid == pid) && rows().any(|row| row.execname == "zs-busy"));
    assert!(frames.iter().all(|f| f.oncpu.is_none_or(|oncpu| oncpu.processes <= Some(1))));
}

/// A shell starts twenty programs.
#[test]
#[cfg(target_os = "linux")]
fn processes_made_and_ended_are_counted() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    let samples = watch(options(&path, &["proc"]), || {
        let script = "i=0; while [ $i -lt 20 ]; do /bin/true; i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
    });
    let global = ZoneName::global();
    for (event, least) in [("proc_create", 20), ("proc_exec-success", 21), ("proc_exit", 21)] {
        let count = events(&samples, &global, event);
        // Others live on this machine too.
        assert!((least..least + 5000).contains(&count), "{event}: {count}");
    }
}

/// A process writes 64 blocks of 64 KiB and waits for each of them.
#[test]
#[cfg(target_os = "linux")]
fn the_io_of_a_known_number_of_synchronous_writes() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    let samples = watch(options(&path, &["disk"]), || {
        let mut file = tempfile::NamedTempFile::new_in(".").unwrap();
        for _ in 0..64 {
            file.write_all(&[7; 65536]).unwrap();
            file.as_file().sync_all().unwrap();
        }
    });
    let global = ZoneName::global();
    let rows = distributions(&samples, &global, "disk_latency");
    let counted: u64 = buckets(rows.iter().copied().filter(|row| has_label(row, "op", "write"))).values().sum();
    assert!(counted >= 64, "{counted} writes of at least 64");
    assert_eq!(counted, events(&samples, &global, "disk_write"));
    let bytes: u64 = samples
        .iter()
        .filter_map(|s| s.zones.get(&global))
        .flat_map(|z| &z.frame.event)
        .filter(|row| row.event == "disk_write")
        .filter_map(|row| row.bytes)
        .sum();
    assert!(bytes >= 64 * 65536, "{bytes} bytes");
}

/// A process sleeps ten times 350 ms: longer than a busy machine lets anybody wait for a CPU.
#[test]
#[cfg(target_os = "linux")]
fn the_time_that_a_sleeper_is_off_the_cpu() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    let script = "import sys,time\nopen('/proc/self/comm','w').write('zs-sleep')\nfor i in range(10): time.sleep(0.35)\nsys.stdin.read()";
    let mut child = None;
    let options = DtraceOptions { zone_of_pid: zone_of("zs-sleep"), ..options(&path, &["offcpu", "runq"]) };
    let samples = watch_until(options, || child = Some(python(script)), |samples| samples.len() >= 6);
    finish(child.unwrap());
    let off = buckets(distributions(&samples, &zone("load"), "offcpu"));
    let slept: u64 =
        off.iter().filter(|((lower, upper), _)| *lower >= 300_000_000 && *upper <= 400_000_000).map(|(_, c)| c).sum();
    assert!((8..=10).contains(&slept), "ten sleeps of 350 ms: {off:?}");
    let waits: u64 = buckets(distributions(&samples, &zone("load"), "runq_wait")).values().sum();
    assert!(waits >= 8, "woken ten times, waited {waits} times");
}

/// A process for each CPU that never idles, until dropped.
struct Spinners(Vec<std::process::Child>);

impl Spinners {
    fn start() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Spinners((0..cpus).map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// What users' programs counted on `global`.
fn rows(samples: &[Sample]) -> Vec<&v1::Custom> {
    samples.iter().filter_map(|s| s.zones.get(&ZoneName::global())).flat_map(|z| &z.frame.custom).collect()
}

/// The sum of the first value of each row.
fn fired(rows: &[&v1::Custom]) -> u64 {
    let first = |row: &&v1::Custom| match row.values[0].value {
        Some(v1::measure::Value::Uint(n)) => n,
        _ => 0,
    };
    rows.iter().map(first).sum()
}

#[test]
fn a_users_program_counts_what_it_says() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    let directory = tempfile::tempdir().unwrap();
    let program = "/*\n * zonescope\n * name: ticks_by_cpu\n * keys: cpu\n * values: fired, highest\n * unit: ticks, ns\n * kind: delta, gauge\n * interval: 1s\n */\n\
        tick-10hz { @n[cpu] = count(); @m[cpu] = max(42); }\ntick-1s { printa(@n, @m); trunc(@n); trunc(@m); }\n";
    std::fs::write(directory.path().join("ticks.d"), program).unwrap();
    let bad = directory.path().join("bad.d");
    std::fs::write(&bad, program.replace("ticks_by_cpu", "bad").replace("max(42)", "most(42)")).unwrap();
    let checked = check(&directory.path().join("ticks.d"), Some(&path)).unwrap();
    assert!(checked.compiled);
    let error = check(&bad, Some(&path)).unwrap_err();
    assert_eq!((error.path.as_path(), error.line), (bad.as_path(), Some(10)), "{error}");
    std::fs::remove_file(bad).unwrap();
    let options = DtraceOptions { user_dir: directory.path().to_owned(), ..options(&path, &[]) };
    // A tick probe of Linux does not fire while its CPU idles, so none does.
    let busy = Spinners::start();
    let samples = watch_until(options, || {}, |samples| fired(&rows(samples)) >= 30);
    drop(busy);
    let rows = rows(&samples);
    // Ten a second: in each interval that was printed.
    assert_eq!(rows.iter().map(|row| row.labels.len()).collect::<BTreeSet<_>>(), BTreeSet::from([1]));
    let fired = fired(&rows);
    assert!((30..=60).contains(&fired), "ten a second until thirty were seen: {fired} {rows:?}");
    assert!(rows.iter().all(|row| row.values[1].value == Some(v1::measure::Value::Uint(42))), "{rows:?}");
}

/// What illumos has and Linux lacks, replaced, so that all the rest of a program is compiled by a real libdtrace.
const SHIMS: [(&str, &str); 8] = [
    ("curthread != curthread->t_cpu->cpu_idle_thread", "pid != 0"),
    ("curthread->t_cpu->cpu_disp->disp_nrunnable", "0"),
    (
        "inline string zone_of[tcp_t *tcp] = stringof(tcp->tcp_connp->conn_cred->cr_zone->zone_name);",
        "inline string zone_of[int64_t tcp] = \"z\";",
    ),
    ("(tcp_t *)arg3", "arg3"),
    ("args[0]->v_type", "arg0"),
    ("args[0]->v_op", "arg0"),
    ("stringof(self->type->vnop_name)", "\"zfs\""),
    ("TCP_STATE_TIME_WAIT", "11"),
];

/// What keeps a program of illumos from compiling as it is, here; docs/DTRACE.md shows the same table.
const NOT_ON_LINUX: [(&str, &str); 6] = [
    ("oncpu", "t_cpu is not a member"),
    ("runq", "t_cpu is not a member"),
    ("offcpu", "t_cpu is not a member"),
    ("faults", "vminfo:::as_fault does not match any probes"),
    ("vfs", "fbt:genunix:fop_read:entry does not match any probes"),
    ("zfs", "fbt:zfs:zfs_read:entry does not match any probes"),
];

fn compile(path: &Path, program: &Builtin, text: &str, allow_missing: bool) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut command = Command::new(path);
    command.args(allow_missing.then_some("-Z")).args(["-e", "-q", "-s"]).arg(file.path());
    command.args(program.text.contains("$1").then_some("97"));
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_program_of_this_platform_compiles() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    for program in builtin() {
        assert_eq!(compile(&path, program, program.text, false), Ok(()), "{}", program.name);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn every_program_of_illumos_compiles_but_for_what_linux_lacks() {
    let _alone = ONE_AT_A_TIME.lock();
    let Some(path) = dtrace() else { return };
    for program in ILLUMOS {
        let lacking = NOT_ON_LINUX.iter().find(|(name, _)| *name == program.name).map(|(_, text)| *text);
        match (compile(&path, program, program.text, false), lacking) {
            (Err(error), Some(text)) => assert!(error.contains(text), "{}: {error}", program.name),
            (Err(error), None) if program.name == "tcp" => assert!(error.contains("tcp_t"), "{error}"),
            (result, _) => assert_eq!(result, Ok(()), "{}", program.name),
        }
        let shimmed = SHIMS.iter().fold(program.text.to_owned(), |text, (from, to)| text.replace(from, to));
        assert_eq!(compile(&path, program, &shimmed, true), Ok(()), "{} with what Linux lacks replaced", program.name);
    }
}
