//! Why keys cannot be used.

use std::io;
use std::path::PathBuf;

use super::KeyError;
use crate::exit::Usage;

/// Why keys cannot be used. Says what to do next; shows no secret.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file or folder cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The secret key is not secret.
    #[error("{path} is a secret key that others can read (mode {mode:04o}): chmod 600 {path}")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others may put keys there.
    #[error("{path} says whom to trust, and others can write it (mode {mode:04o}): chmod go-w {path}")]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file holds something else.
    #[error("{path} holds no key: {error}")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: KeyError,
    },
    /// A new key would replace one that is in use.
    #[error("{0} is there already: whoever knows it would no longer be let in. To make a new one, remove it first")]
    Exists(PathBuf),
    /// There is no pair, where one is needed.
    #[error("{why}, and there is no key pair in {directory}: `keys new` makes one")]
    NoPair {
        /// What it is needed for.
        why: String,
        /// Where it would be.
        directory: PathBuf,
    },
    /// A name that no file can have.
    #[error("`{0}` cannot be a name here: letters, digits and - _ . @ : % [ ], not beginning with a dot")]
    Name(String),
    /// A generator whose key is not known.
    #[error(
        "curve = \"required\", and the key of {0} is not known: `keys show` prints it there, and here `keys authorize {0} KEY` trusts it"
    )]
    Unknown(String),
}

/// Who configures a program can mend it.
impl From<KeysError> for Usage {
    fn from(error: KeysError) -> Self {
        Usage(error.to_string())
    }
}
