//! What a program takes from itself before it speaks to anybody.
//!
//! [`begin`] is the first call of every command of every program: what it writes is its own user's and group's alone, and its memory,
//! where passwords and keys are, goes into no core file. [`give_up_all_but`] is the first call of every `run`: whoever gets hold of
//! a daemon that listens gets no more than what its work takes ([`Need`]).
//!
//! | | Linux ([capabilities(7)](https://man7.org/linux/man-pages/man7/capabilities.7.html)) | illumos (privileges(7)) |
//! |---|---|---|
//! | where it goes | bounding, permitted, effective, inheritable and ambient set of the one thread there is yet; threads inherit it | all four sets of the process |
//! | collectors, [`Need::Nothing`] | nothing | `basic` without `file_link_any`, `proc_info`, `proc_session`, `proc_fork`, `proc_exec` |
//! | generator, [`Need::Processes`] | CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH | `basic` without `file_link_any` |
//! | generator that runs D programs, [`Need::Dtrace`] | as root these too: CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_SYSLOG | as root these too: `dtrace_kernel`, `dtrace_user`, `dtrace_proc`; else all that the manifest gave |
//! | what it starts | no_new_privs: never more than it has itself, whatever file it executes | its limit set |
//!
//! Nothing is refused: a program that has less than it needs does what it can (`doctor` says what is missing), one that may not
//! give something up says so and goes on, since whoever took that right from it has confined it already.
//!
//! # What this does not do
//! * **A root without capabilities still owns root's files.** What confines is another user, as whom install.sh has every program
//!   run; this is the second line, and the first of who starts one by hand.
//! * **A generator that runs D programs on Linux is as good as root**: CAP_SYS_ADMIN is what dtrace there takes. Keeping it on the
//!   threads that start dtrace alone would look better and protect nothing, as threads share their memory.
//! * **System calls are not filtered here**: the units do it (`SystemCallFilter`, `RestrictAddressFamilies`, ...), where an operator
//!   can read and change the filter, and where it holds before our first instruction.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

#[cfg(target_os = "illumos")]
#[path = "illumos.rs"]
mod platform;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(any(target_os = "linux", target_os = "illumos")))]
mod platform {
    pub(super) fn keep_out_of_core_files() {}
    pub(super) fn give_up_all_but(_: super::Need) {}
}

/// What nobody but owner and group gets on new files (0640) and directories (0750).
const OTHERS: Mode = Mode::from_raw_mode(0o027);

/// What a daemon goes on needing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Sockets, and files of its own.
    Nothing,
    /// A look at other users' processes: what they read and wrote, their open files, their network namespaces.
    Processes,
    /// That, and to start dtrace(8), today and whenever a D program has to be started again.
    Dtrace,
}

/// Makes files and memory this user's own. Call it before any thread is started and any file is made.
pub fn begin() {
    let asked = umask(Mode::RWXG | Mode::RWXO);
    umask(asked | OTHERS);
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    platform::keep_out_of_core_files();
}

/// Gives up every privilege but those of `need`, and says in the log what is left. Call it before any thread is started: on Linux
/// each has sets of its own.
pub fn give_up_all_but(need: Need) {
    platform::give_up_all_but(need);
}
