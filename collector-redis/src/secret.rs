//! Secrets: read from files that only their owner and group can read, never shown, and overwritten in memory when they are dropped.
//! The crate `redis` keeps copies of its own, for as long as the collector may have to connect again: the process is closed to debuggers
//! and leaves no core file ([`zonescope_link::confine`]).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// The environment variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "ZONESCOPE_REDIS_PASSWORD";

/// A password or a private key. Formatting it shows nothing.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }
}

impl Secret {
    /// Takes a text for a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Reads a password: the first line of a file.
///
/// # Errors
/// Where it cannot be read, or others can read it too.
pub fn read(path: &Path) -> Result<Secret, String> {
    match read_all(path)?.reveal().lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err("its first line is empty".to_owned()),
    }
}

/// Reads a private key: the whole of a file.
///
/// # Errors
/// Where it cannot be read, or others can read it too.
pub fn read_all(path: &Path) -> Result<Secret, String> {
    only_ours(path)?;
    std::fs::read_to_string(path).map(Secret::from).map_err(|e| e.to_string())
}

/// Whether only owner and group can read it.
///
/// # Errors
/// Says what to do.
pub fn only_ours(path: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(path).map_err(|e| e.to_string())?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!(
            "others than its owner and group have access to it (mode {:03o}): chmod 640",
            mode & 0o777
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_a_file_that_others_cannot_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\nsecond line\n").unwrap();
        let mode = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(read(file.path()).unwrap_err().contains("chmod 640"));
        mode(0o640);
        let secret = read(file.path()).unwrap();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("hunter2", "(secret)"));
        std::fs::write(file.path(), "\n").unwrap();
        assert!(read(file.path()).is_err());
    }
}
