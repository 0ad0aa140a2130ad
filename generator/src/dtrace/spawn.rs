//! The one place that starts processes.
//!
//! * The standard library resets SIGPIPE to its default in a child (and empties its signal mask), so that a dtrace whose
//!   reader has gone dies at its next line instead of running on for ever. A test holds it to that.
//! * No orphan: every program that we run prints a mark each second ([`super::program`]), so that SIGPIPE ends it within
//!   a second of our own death, SIGKILL included. This works the same on illumos and Linux; PR_SET_PDEATHSIG would work
//!   on one of them, and would follow the death of the thread that forked instead of the process.
//! * Its own process group: a Ctrl-C at the terminal reaches us alone, and we end children in order.
//! * Descriptors: the standard library opens everything close-on-exec, so no child holds another one's pipe.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A running child. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// What it prints; never blocks.
    pub stdout: Option<ChildStdout>,
    /// What it complains of; never blocks.
    pub stderr: Option<ChildStderr>,
}

/// Starts `program` with `arguments`; `input` is what it reads on stdin, no more than [`super::limits::MAX_STDIN_BYTES`].
///
/// # Errors
/// Where it cannot be started.
#[allow(clippy::disallowed_methods, reason = "this is the place that the rule keeps the only one")]
pub fn spawn(program: &Path, arguments: &[OsString], input: &str) -> std::io::Result<Running> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that dies first has its own say on stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let running = Running { child, stdout, stderr };
    if let Some(stdout) = &running.stdout {
        rustix::io::ioctl_fionbio(stdout, true)?;
    }
    if let Some(stderr) = &running.stderr {
        rustix::io::ioctl_fionbio(stderr, true)?;
    }
    Ok(running)
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end: END fires and what is left is printed.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// To its process group. The group exists as long as we have not reaped its leader.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// `exit 1`, `signal 9`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    }
}
