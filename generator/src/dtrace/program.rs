//! The programs that the runner runs: the built-in ones and the users'.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::header::Header;
use super::spawn::{Running, spawn};

/// The mark as it stands in the sources of the built-in programs.
const MARK_IN_SOURCE: &str = r"\036zonescope\037";

/// For every program, unless its own pragmas say otherwise. Small buffers: the defaults are 4 MB for each CPU and each of
/// principal and aggregation buffer, twice, for each program. And output soon after its tick, not up to a second later.
const OPTIONS: &[&str] = if cfg!(target_os = "linux") {
    // DTrace 2.0 on Linux takes a snapshot of the aggregations for each printa(). With periodic ones besides (aggrate), a
    // trunc() loses up to a whole second of counts: seen with 2.0.7.
    &["switchrate=10hz", "bufsize=256k", "aggsize=1m"]
} else {
    &["switchrate=10hz", "aggrate=10hz", "bufsize=256k", "aggsize=1m"]
};

/// A program of our own.
#[derive(Debug, PartialEq, Eq)]
pub struct Builtin {
    /// Its name: in the configuration, and as `family` of `collect`.
    pub name: &'static str,
    /// Whether it runs where the configuration does not say. What is off by default says why in its header.
    pub by_default: bool,
    /// Its source.
    pub text: &'static str,
}

macro_rules! programs {
    ($platform:literal: $($name:literal $on:literal),* $(,)?) => {
        &[$(Builtin {
            name: $name,
            by_default: $on,
            text: include_str!(concat!("../../dtrace/", $platform, "/", $name, ".d")),
        }),*]
    };
}

/// For illumos.
pub const ILLUMOS: &[Builtin] = programs!("illumos":
    "oncpu" true, "runq" true, "offcpu" true, "faults" true, "vfs" true, "zfs" true, "disk" true, "tcp" true,
    "proc" true, "syscall" false,
);

/// For Linux, as far as its DTrace has the providers.
pub const LINUX: &[Builtin] = programs!("linux":
    "oncpu" true, "disk" true, "proc" true, "runq" false, "offcpu" false, "syscall" false,
);

/// Those of this platform.
pub fn builtin() -> &'static [Builtin] {
    if cfg!(target_os = "linux") { LINUX } else { ILLUMOS }
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// One of ours.
    Builtin(&'static Builtin),
    /// A user's.
    User {
        /// Where it is.
        path: PathBuf,
        /// What it says of itself.
        header: Header,
        /// What it was when it was read: another text is another program.
        text: String,
    },
}

impl Program {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Program::Builtin(builtin) => builtin.name,
            Program::User { header, .. } => &header.name,
        }
    }

    /// What a user's program says of itself.
    pub fn header(&self) -> Option<&Header> {
        match self {
            Program::Builtin(_) => None,
            Program::User { header, .. } => Some(header),
        }
    }

    /// Seconds from end mark to end mark.
    pub fn interval_s(&self) -> u32 {
        self.header().map_or(1, |header| header.interval_s)
    }

    /// Starts it, with `mark` in front of its records.
    ///
    /// # Errors
    /// Where the command cannot be started.
    pub fn start(&self, dtrace: &Path, sample_hz: u32, mark: &str) -> std::io::Result<Running> {
        let mut arguments: Vec<OsString> =
            OPTIONS.iter().flat_map(|option| ["-x", option]).map(OsString::from).collect();
        arguments.push("-q".into());
        let mut push = |items: [&std::ffi::OsStr; 2]| arguments.extend(items.map(OsString::from));
        match self {
            Program::Builtin(builtin) => {
                push(["-s".as_ref(), "/dev/stdin".as_ref()]);
                // dtrace refuses an argument that its program does not use.
                if builtin.text.contains("$1") {
                    arguments.push(sample_hz.to_string().into());
                }
                spawn(dtrace, &arguments, &marked(builtin.text, mark))
            }
            Program::User { path, header, .. } => {
                push(["-s".as_ref(), path.as_os_str()]);
                push(["-s".as_ref(), "/dev/stdin".as_ref()]);
                spawn(dtrace, &arguments, &end_marks(header.interval_s, mark))
            }
        }
    }
}

/// The source with the mark of this start.
fn marked(text: &str, mark: &str) -> String {
    text.replace(MARK_IN_SOURCE, &format!(r"\036{mark}\037"))
}

/// What is compiled behind a user's program. Clauses on one probe run in the order in which they were enabled, so that
/// the mark comes after what the program prints in the same interval. And a line each second, whatever the interval:
/// whoever writes to a reader that has gone learns of it.
fn end_marks(interval_s: u32, mark: &str) -> String {
    let print = |what: &str| format!("printf(\"\\036{mark}\\037{what}\\037.\\n\");");
    let (end, each_second) = (print("end"), print(EACH_SECOND_SAYS));
    format!("profile:::tick-{interval_s}s {{ {end} }}\n{EACH_SECOND} {{ {each_second} {NEXT_SECOND} }}\n")
}

/// The probe and predicate of something to do each second, and what is to be done there besides. On Linux a tick probe
/// does not fire while its CPU idles (seen with 2.0.7 on 6.18: perf's cpu-clock stands still there), so what makes the
/// clock is dtrace itself, which reads its buffers with bpf(2) at switchrate; and what a program prints in that probe
/// ends with a mark too.
const EACH_SECOND: &str = if cfg!(target_os = "linux") {
    "syscall::bpf:entry /pid == $pid && timestamp >= zonescope_due/"
} else {
    "profile:::tick-1s"
};
const EACH_SECOND_SAYS: &str = if cfg!(target_os = "linux") { "end" } else { "alive" };
const NEXT_SECOND: &str = if cfg!(target_os = "linux") { "zonescope_due = timestamp + 950000000;" } else { "" };

/// A mark that nobody can guess: the standard library keys its hashers from the system's entropy.
pub fn mark() -> String {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:012x}", random & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_a_built_in_program_prints_bears_the_mark() {
        for builtin in ILLUMOS.iter().chain(LINUX) {
            let formats = builtin.text.matches("printa(\"").count() + builtin.text.matches("printf(\"").count();
            assert_eq!(builtin.text.matches(MARK_IN_SOURCE).count(), formats, "{}", builtin.name);
            assert!(builtin.text.contains("037end\\037."), "{}", builtin.name);
            assert!(builtin.text.len() <= crate::dtrace::limits::MAX_STDIN_BYTES, "{}", builtin.name);
            for part in ["Probes:", "Cost:", "Keys:", "Source:"] {
                assert!(builtin.text.contains(part), "{} has no {part}", builtin.name);
            }
        }
    }

    #[test]
    fn a_mark_is_twelve_characters_and_drawn_anew() {
        let (one, other) = (mark(), mark());
        assert!(one.len() == 12 && other.len() == 12 && one != other);
        assert!(marked(LINUX[0].text, &one).contains(&format!("\\036{one}\\037end")));
    }

    #[test]
    fn a_users_program_gets_its_end_marks_and_a_sign_of_life() {
        let marks = end_marks(5, "M");
        assert!(marks.starts_with("profile:::tick-5s { printf(\"\\036M\\037end\\037.\\n\"); }\n"), "{marks}");
        assert!(
            marks.contains(&format!("{EACH_SECOND} {{ printf(\"\\036M\\037{EACH_SECOND_SAYS}\\037.\\n\");")),
            "{marks}"
        );
    }
}
