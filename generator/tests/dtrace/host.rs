//! A host with a dtrace of ours, and what its samples say.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zonescope_generator::dtrace::{Dtrace, DtraceOptions};
use zonescope_generator::source::{Sample, Source as _, Tick};
use zonescope_proto::{ZoneName, v1};

/// Reads the program on stdin, as `dtrace -s /dev/stdin` does, and finds the mark in it.
const PRELUDE: &str = "#!/bin/sh\n\
    mark=$(sed -n 's/.*\\\\036\\([0-9a-f]*\\)\\\\037end.*/\\1/p' | head -n 1)\n\
    rec() { printf \"\\036$mark\\037$1\\037.\\n\"; }\n";

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) struct Host {
    directory: tempfile::TempDir,
    pub(crate) options: DtraceOptions,
}

impl Host {
    /// A host whose dtrace is `script`.
    pub(crate) fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dtrace");
        std::fs::write(&path, format!("{PRELUDE}{script}\n")).unwrap();
        set_mode(&path, 0o755);
        let user_dir = directory.path().join("dtrace.d");
        std::fs::create_dir(&user_dir).unwrap();
        set_mode(&user_dir, 0o755);
        let programs = Some(BTreeSet::from(["oncpu".to_owned()]));
        Host { directory, options: DtraceOptions { path: Some(path), programs, user_dir, ..DtraceOptions::default() } }
    }

    pub(crate) fn start(&self) -> Dtrace {
        Dtrace::start(self.options.clone())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.options.user_dir.join(name);
        std::fs::write(&path, text).unwrap();
        set_mode(&path, 0o644);
        path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A tick may take this long and no longer, whatever children do. Two cores that build at the same time need some slack.
const ON_TIME: Duration = Duration::from_millis(100);

pub(crate) fn tick(dtrace: &mut Dtrace) -> Sample {
    let (mut sample, began) = (Sample::default(), Instant::now());
    dtrace.sample(Tick { time_ns: 0, interval_ns: 1 }, &mut sample).unwrap();
    assert!(began.elapsed() < ON_TIME, "a tick took {:?}", began.elapsed());
    sample
}

/// Ticks until `done`, or fails.
pub(crate) fn until(dtrace: &mut Dtrace, what: &str, done: impl Fn(&Sample) -> bool) -> Sample {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let sample = tick(dtrace);
        if done(&sample) {
            return sample;
        }
        assert!(Instant::now() < end, "{what}: {:?} {:?}", sample.collect, program(&sample, "oncpu"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn program(sample: &Sample, name: &str) -> Option<v1::DtraceProgram> {
    let global = sample.zones.get(&ZoneName::global())?;
    global.frame.dtrace.iter().find(|row| row.program == name).cloned()
}

pub(crate) fn state(sample: &Sample, name: &str) -> String {
    program(sample, name).and_then(|row| row.state).unwrap_or_default()
}

pub(crate) fn collect<'a>(sample: &'a Sample, name: &str) -> &'a v1::Collect {
    sample.collect.iter().find(|row| row.family == name).unwrap_or_else(|| panic!("no {name}: {:?}", sample.collect))
}

pub(crate) fn error(sample: &Sample, name: &str) -> String {
    sample.collect.iter().find(|row| row.family == name).and_then(|row| row.error.clone()).unwrap_or_default()
}
