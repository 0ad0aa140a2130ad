//! What systemd hears of the real program, over a socket as systemd's.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and starts processes")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(60);
/// What the unit's WatchdogSec would be.
const WATCHDOG: Duration = Duration::from_millis(400);

struct Service {
    child: Child,
    socket: UnixDatagram,
}

impl Service {
    /// Starts the generator as systemd would, reading the host that begins at `root`.
    fn start(directory: &Path, root: &str, interval_ms: u32) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = directory.join("generator.toml");
        let text = format!(
            "bind = \"tcp://127.0.0.1:{port}\"\ninterval_ms = {interval_ms}\n[linux]\nroot = \"{root}\"\n[dtrace]\nenabled = false\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonescope-generator"));
        command.args(["run", "--config"]).arg(config).stdin(Stdio::null());
        command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Service { child: command.spawn().unwrap(), socket }
    }

    /// The next thing that it says, if it says something within this time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_is_ready_lives_and_takes_leave_however_long_its_interval() {
    let directory = tempfile::tempdir().unwrap();
    let mut service = Service::start(directory.path(), "/", 3_600_000);
    assert_eq!(service.hear(SOON).as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(service.hear(SOON).as_deref(), Some("WATCHDOG=1"));
    }
    kill_process(Pid::from_child(&service.child), Signal::TERM).unwrap();
    let mut last = service.hear(SOON).unwrap();
    while last == "WATCHDOG=1" {
        last = service.hear(SOON).unwrap();
    }
    assert_eq!(last, "STOPPING=1");
    assert!(service.child.wait().unwrap().success());
}

/// A file of /proc that never answers, as on a host whose kernel hangs: whoever reads it waits for ever.
#[test]
fn a_loop_that_hangs_falls_silent() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir_all(root.join("proc/self")).unwrap();
    let never = root.join("proc/self/mountinfo");
    rustix::fs::mknodat(rustix::fs::CWD, &never, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let service = Service::start(directory.path(), root.to_str().unwrap(), 1000);
    assert_eq!(service.hear(SOON).as_deref(), Some("READY=1"));
    let until = Instant::now() + SOON;
    // Silence for longer than systemd would bear.
    while service.hear(WATCHDOG * 4).is_some() {
        assert!(Instant::now() < until, "it says that it lives, and its loop hangs");
    }
}
