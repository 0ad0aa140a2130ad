//! Whether a user's program can be run: its header, and what dtrace says of it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::complaint::{Complaint, line_number};
use super::header::Header;
use super::limits::{LOOK, MAX_PROGRAM_BYTES, MAX_USER_PROGRAMS};
use super::program::{Program, builtin};
use super::spawn::spawn;

/// How long compiling may take. Programs with a type from every module take some seconds.
const COMPILE: Duration = Duration::from_secs(30);

/// Why a program cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError {
    /// Which.
    pub path: PathBuf,
    /// Where in it, if that is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub text: String,
}

impl std::error::Error for ProgramError {}

impl std::fmt::Display for ProgramError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.text),
            None => write!(f, "{}: {}", self.path.display(), self.text),
        }
    }
}

impl ProgramError {
    fn new(path: &Path, line: Option<usize>, text: impl Into<String>) -> Self {
        ProgramError { path: path.to_owned(), line, text: text.into() }
    }

    /// The name under which `collect` shows it: that of the file.
    pub fn family(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What the program says of itself.
    pub header: Header,
    /// Whether it was compiled: false where there is no dtrace.
    pub compiled: bool,
}

/// Checks the program in `file`: its header, and that `dtrace` compiles it, where there is one. Enables no probe.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn check(file: &Path, dtrace: Option<&Path>) -> Result<Checked, ProgramError> {
    let Program::User { header, .. } = load(file)? else {
        return Err(ProgramError::new(file, None, "not a user's program"));
    };
    if let Some(dtrace) = dtrace {
        compile(file, dtrace)?;
    }
    Ok(Checked { header, compiled: dtrace.is_some() })
}

/// Reads a user's program.
///
/// # Errors
/// Where it cannot be read, or its header is wrong.
pub fn load(file: &Path) -> Result<Program, ProgramError> {
    let wrong = |text: String| ProgramError::new(file, None, text);
    let mut text = String::new();
    let mut read = || {
        let open = std::fs::File::open(file)?;
        // Of what is open, not of what the name may stand for a moment later.
        trusted(file, &open.metadata()?)?;
        open.take(MAX_PROGRAM_BYTES + 1).read_to_string(&mut text)
    };
    read().map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > MAX_PROGRAM_BYTES {
        return Err(wrong(format!("longer than {MAX_PROGRAM_BYTES} bytes")));
    }
    let header = Header::parse(&text).map_err(|error| ProgramError::new(file, Some(error.line), error.text))?;
    if builtin().iter().any(|ours| ours.name == header.name) {
        return Err(wrong(format!("`{}` is the name of a built-in program", header.name)));
    }
    Ok(Program::User { path: file.to_owned(), header, text })
}

/// Whether nobody but root and our own user can have written what is there, or can now. sshd asks the same of authorized_keys.
fn trusted(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let (owner, mode, path) = (metadata.uid(), metadata.mode() & 0o7777, path.display());
    let (whose, then) = if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        (format!("belongs to user {owner}"), format!("chown root {path}"))
    } else if mode & 0o022 != 0 {
        (format!("others than its owner can write it (mode {mode:04o})"), format!("chmod go-w {path}"))
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!("{whose}, and D programs run in the kernel: look what is in it, then {then}")))
}

/// All programs of a directory, and what is wrong with the others. A directory that is not there holds none.
pub fn load_all(directory: &Path) -> (Vec<Program>, Vec<ProgramError>) {
    let (mut programs, mut errors) = (Vec::<Program>::new(), Vec::new());
    for file in d_files(directory, &mut errors) {
        let taken = |name: &str| programs.iter().any(|other| other.name() == name);
        match load(&file) {
            Ok(program) if taken(program.name()) => {
                errors.push(ProgramError::new(
                    &file,
                    None,
                    format!("another file has the name `{}` too", program.name()),
                ));
            }
            Ok(_) if programs.len() >= MAX_USER_PROGRAMS => {
                errors.push(ProgramError::new(&file, None, format!("more than {MAX_USER_PROGRAMS} programs")));
            }
            Ok(program) => programs.push(program),
            Err(error) => errors.push(error),
        }
    }
    errors.truncate(MAX_USER_PROGRAMS);
    (programs, errors)
}

fn d_files(directory: &Path, errors: &mut Vec<ProgramError>) -> Vec<PathBuf> {
    let trusted = std::fs::metadata(directory).and_then(|metadata| trusted(directory, &metadata));
    let entries = match trusted.and_then(|()| std::fs::read_dir(directory)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            errors.push(ProgramError::new(directory, None, error.to_string()));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "d"))
        .collect();
    files.sort();
    files
}

/// Whether `dtrace` lets us enable a probe of each provider that the built-in programs sample with.
///
/// # Errors
/// What it says.
pub fn probe(dtrace: &Path) -> Result<(), String> {
    let arguments = ["-q", "-n", "BEGIN { exit(0); } profile-97 { @ = count(); }"].map(Into::into);
    let told = run(dtrace, &arguments)?;
    told.map_or(Ok(()), |told| Err(told.strip_prefix("dtrace: ").unwrap_or(&told).to_owned()))
}

/// Runs `dtrace` to its end. What it complains of where it fails.
///
/// # Errors
/// Where it cannot be started, or does not end.
fn run(dtrace: &Path, arguments: &[OsString]) -> Result<Option<String>, String> {
    let mut running = spawn(dtrace, arguments, "").map_err(|error| format!("{}: {error}", dtrace.display()))?;
    let until = Instant::now() + COMPILE;
    let status = loop {
        if let Some(status) = running.ended() {
            break status;
        }
        if Instant::now() >= until {
            return Err(format!("not compiled after {} s", COMPILE.as_secs()));
        }
        std::thread::sleep(LOOK / 10);
    };
    let mut said = Vec::new();
    if let Some(stderr) = running.stderr.take() {
        // It ended: what it said is in the pipe. A grandchild that still holds the pipe is not waited for.
        let _ = stderr.take(64 * 1024).read_to_end(&mut said);
    }
    if status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&said);
    let told = said.lines().find(|line| Complaint::read(line) != Complaint::Note).unwrap_or("dtrace says nothing");
    Ok(Some(told.to_owned()))
}

/// `dtrace -e`: exit after compiling, before any probe is enabled.
fn compile(file: &Path, dtrace: &Path) -> Result<(), ProgramError> {
    let arguments = ["-q".into(), "-e".into(), "-s".into(), file.as_os_str().to_owned()];
    let Some(told) = run(dtrace, &arguments).map_err(|text| ProgramError::new(file, None, text))? else {
        return Ok(());
    };
    let told = told.as_str();
    let text = told.strip_prefix("dtrace: ").unwrap_or(told);
    let text = text.strip_prefix(&format!("failed to compile script {}: ", file.display())).unwrap_or(text);
    let line = line_number(told);
    let text = line.and_then(|line| text.strip_prefix(&format!("line {line}: "))).unwrap_or(text);
    Err(ProgramError::new(file, line, text))
}
