//! What the real program keeps and gives up, read where the kernel says it, and that it still does its work.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts processes"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use zonescope_link::{Endpoint, Event, Subscriber, SubscriberOptions};
use zonescope_proto::v1;

#[path = "support/group.rs"]
mod group;

use group::{Group, skipped};

/// A generator on a busy machine starts in less, and then speaks five times a second.
const SILENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(60);
/// Compiling a D program takes seconds of CPU time, and there may be little of it.
const COMPILED: Duration = Duration::from_secs(180);

/// CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
const PROCESSES: u64 = 1 << 2 | 1 << 19;
/// These, CAP_SYS_ADMIN, CAP_SYS_RESOURCE and CAP_SYSLOG.
const DTRACE: u64 = PROCESSES | 1 << 21 | 1 << 24 | 1 << 34;

/// Users that own nothing.
const NOBODY: u32 = 65_534;
const STRANGER: u32 = 65_533;

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A generator and its directory.
struct Generator {
    running: Running,
    directory: tempfile::TempDir,
    port: u16,
}

/// A child that another test begins while a program is being copied has the copy open for writing until it executes its own: then
/// the copy cannot be executed (ETXTBSY, execve(2)).
static STARTING: Mutex<()> = Mutex::new(());

impl Generator {
    /// Starts one as root or as another user, from a shell that said `before`; `dtrace` is a section of the configuration.
    fn start(user: Option<u32>, before: &str, dtrace: &str) -> Self {
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "bind = \"tcp://127.0.0.1:{port}\"\ninterval_ms = 200\n[linux]\ntop_processes = 20\n\
             [ring]\nspool = {:?}\n[dtrace]\n{dtrace}\n",
            directory.path().join("spool/frames")
        );
        fs::write(directory.path().join("generator.toml"), text).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}\nexec \"$0\" run --config generator.toml")]);
        let program = directory.path().join("zonescope-generator");
        // Where it was built may be a folder that another user cannot enter.
        fs::copy(env!("CARGO_BIN_EXE_zonescope-generator"), &program).unwrap();
        command.arg(&program).current_dir(&directory).stdin(Stdio::null());
        command.stderr(fs::File::create(directory.path().join("log")).unwrap());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        Generator { running: Running(command.spawn().unwrap()), directory, port }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.running.0)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Every different line of these names in the status of its threads.
    fn status(&self, names: &[&str]) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid().as_raw_nonzero())).unwrap();
        let texts = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default());
        let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
        assert!(texts.len() > 1, "one thread only");
        let is_asked = |line: &&str| names.iter().any(|name| line.split(':').next() == Some(name));
        let mut lines: Vec<String> = texts
            .iter()
            .flat_map(|text| text.lines().filter(is_asked))
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// Receives frames until `found` makes something of one.
    fn receive<T>(&self, what: &str, patience: Duration, mut found: impl FnMut(&v1::Frame) -> Option<T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let received = runtime.block_on(async {
            let endpoints = vec![Endpoint::plain(format!("tcp://127.0.0.1:{}", self.port))];
            let options = SubscriberOptions { endpoints, ..SubscriberOptions::default() };
            let mut subscriber = Subscriber::connect(options).await.unwrap();
            tokio::time::timeout(patience, async {
                loop {
                    // Its frames go on for ever; one that says nothing for seconds has ended.
                    let event = tokio::time::timeout(SILENCE, subscriber.next()).await;
                    match event.unwrap_or_else(|_| panic!("no frames: {}", self.log())) {
                        Event::Frame(received) => match found(&received.frame) {
                            Some(found) => break found,
                            None => continue,
                        },
                        Event::Gap(_) => {}
                    }
                }
            })
            .await
        });
        received.unwrap_or_else(|_| panic!("{what} did not come; the generator says:\n{}", self.log()))
    }
}

/// What the kernel says of a process that has, of these capabilities, those that we have (a container's root lacks some), and can get
/// no others.
fn only(capabilities: u64) -> Vec<String> {
    let own = rustix::thread::capabilities(None).unwrap().permitted.bits();
    let none = ["CapAmb", "CapInh"].map(|set| format!("{set}: {:016x}", 0));
    let some = ["CapBnd", "CapEff", "CapPrm"].map(|set| format!("{set}: {:016x}", capabilities & own));
    let mut lines = [none.as_slice(), some.as_slice(), &["NoNewPrivs: 1".to_owned()]].concat();
    lines.sort();
    lines
}

const SETS: [&str; 6] = ["CapAmb", "CapInh", "CapBnd", "CapEff", "CapPrm", "NoNewPrivs"];

/// A zone with a network of its own, whose only process is a stranger's.
fn strangers_zone(group: &Group) -> Running {
    let script = format!(
        "{}exec unshare -n setpriv --reuid {STRANGER} --regid {STRANGER} --clear-groups sleep 600",
        group.enter()
    );
    Running(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap())
}

fn of_zone<'f>(frame: &'f v1::Frame, group: &Group) -> Option<&'f v1::Process> {
    let zone = frame.header.as_ref()?.zone.as_ref()?;
    if zone.name != group.zone().as_str() {
        None
    } else {
        frame.process.iter().find(|p| p.uid == Some(STRANGER.into()))
    }
}

#[test]
fn as_root_it_keeps_two_capabilities_and_sees_strangers_processes_whole() {
    let Some(group) = Group::make("confine") else { return };
    let _zone = strangers_zone(&group);
    let generator = Generator::start(None, "", "enabled = false");
    let (process, links) = generator.receive("a stranger's process, whole", SOON, |frame| {
        let process = of_zone(frame, &group)?;
        let whole = process.ioch.is_some() && process.files.is_some() && !frame.net.is_empty();
        whole.then(|| (process.clone(), frame.net.len()))
    });
    assert!(process.read_bytes.is_some() && links == 1, "{process:?}, {links} links");
    assert_eq!(generator.status(&SETS), only(PROCESSES), "{}", generator.log());
    assert!(generator.log().contains("DAC_READ_SEARCH SYS_PTRACE"), "{}", generator.log());
}

#[test]
fn as_anybody_it_runs_with_no_capability_and_leaves_out_what_it_may_not_see() {
    let Some(group) = Group::make("anybody") else { return };
    let _zone = strangers_zone(&group);
    let generator = Generator::start(Some(NOBODY), "", "enabled = false");
    let process = generator.receive("a stranger's process", SOON, |frame| of_zone(frame, &group).cloned());
    assert_eq!((process.ioch, process.read_bytes), (None, None));
    let expected: Vec<String> = only(0).into_iter().filter(|line| !line.starts_with("CapBnd")).collect();
    assert_eq!(generator.status(&["CapAmb", "CapInh", "CapEff", "CapPrm", "NoNewPrivs"]), expected);

    // Its memory and environment are not even its own user's to read.
    let environment = format!("/proc/{}/environ", generator.pid().as_raw_nonzero());
    let read = |user: u32| Command::new("cat").arg(&environment).uid(user).gid(user).output().unwrap().status.success();
    assert!(!read(NOBODY));
    assert!(read(0));
}

#[test]
fn dtrace_runs_and_is_started_again_after_privileges_were_given_up() {
    if !rustix::process::geteuid().is_root() {
        return skipped("not root").unwrap_or(());
    }
    let Some(dtrace) = std::env::var_os("ZONESCOPE_DTRACE") else {
        return skipped("no $ZONESCOPE_DTRACE").unwrap_or(());
    };
    let section = format!("path = {dtrace:?}\nprograms = [\"oncpu\"]\nuser_dir = \"/nowhere\"");
    let generator = Generator::start(None, "", &section);
    let running = |starts: u64| {
        generator.receive("a D program that runs", COMPILED, |frame| {
            let row = frame.dtrace.iter().find(|row| row.program == "oncpu")?;
            (row.starts >= Some(starts) && row.state.as_deref() == Some("running")).then_some(())
        });
        generator.receive("samples", COMPILED, |frame| (!frame.oncpu_process.is_empty()).then_some(()));
    };
    running(1);
    assert_eq!(generator.status(&SETS), only(DTRACE), "{}", generator.log());
    let child = child_of(generator.pid()).unwrap();
    kill_process_group(child, Signal::KILL).unwrap();
    running(2);
}

fn child_of(parent: Pid) -> Option<Pid> {
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let pid: i32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let of: i32 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        (of == parent.as_raw_nonzero().get()).then(|| Pid::from_raw(pid))?
    })
}

/// The modes of everything below a directory, itself included.
fn modes(path: &Path) -> Vec<(bool, u32)> {
    let metadata = fs::metadata(path).unwrap();
    let mut found = vec![(metadata.is_dir(), metadata.permissions().mode() & 0o777)];
    if metadata.is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| modes(&entry.unwrap().path())));
    }
    found
}

#[test]
fn what_it_writes_is_its_owner_s_and_group_s_whatever_the_umask() {
    for (umask, file, directory) in [("0", 0o640, 0o750), ("022", 0o640, 0o750), ("077", 0o600, 0o700)] {
        let generator = Generator::start(None, &format!("umask {umask}"), "enabled = false");
        generator.receive("a frame", SOON, |_| Some(()));
        let spool = generator.directory.path().join("spool");
        let until = Instant::now() + SOON;
        while modes(&spool).iter().filter(|(is_dir, _)| !is_dir).count() < 2 {
            assert!(Instant::now() < until, "no segment: {}", generator.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        for (is_dir, mode) in modes(&spool) {
            assert_eq!(mode, if is_dir { directory } else { file }, "umask {umask}: {mode:o}");
        }

        let capture = generator.directory.path().join("capture");
        let record = format!("umask {umask}; exec \"$0\" record --seconds 1 --output capture");
        let program = env!("CARGO_BIN_EXE_zonescope-generator");
        let recorded = Command::new("sh").args(["-c", &record, program]).current_dir(&generator.directory).status();
        assert!(recorded.unwrap().success());
        assert_eq!(modes(&capture), [(false, file)], "umask {umask}");
    }
}

#[test]
fn it_leaves_no_core_file() {
    let directory = tempfile::tempdir().unwrap();
    let unlimited = "ulimit -c unlimited 2>/dev/null";
    let control = Command::new("sh")
        .args(["-c", &format!("{unlimited}; kill -ABRT $$")])
        .current_dir(&directory)
        .status()
        .unwrap();
    if !control.core_dumped() {
        return skipped("a shell that aborts leaves no core file here either").unwrap_or(());
    }
    let mut generator = Generator::start(None, unlimited, "enabled = false");
    generator.receive("a frame", SOON, |_| Some(()));
    kill_process(generator.pid(), Signal::ABORT).unwrap();
    let status = generator.running.0.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}
