//! One collector a root. The lock is the kernel's (flock), so it ends with the process however that ends; the pid in
//! the file is for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::StoreError;

const FILE: &str = ".lock";

/// Holds a root until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the root.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the pid of whoever has it.
    pub fn take(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let failed = |source| StoreError::Io { what: "lock", path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(StoreError::Locked { root: root.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Lock { file })
    }
}

/// The pid of whoever holds a root, if somebody does. Takes nothing, and makes no file.
///
/// # Errors
/// Where the lock cannot be looked at.
pub fn holder(root: &Path) -> Result<Option<String>, StoreError> {
    let path = root.join(FILE);
    let failed = |source| StoreError::Io { what: "look at the lock", path: path.clone(), source };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Let go at once. A collector that starts in this very moment is turned away, and is started anew by whoever started it.
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| None).map_err(failed),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed)?;
            Ok(Some(pid.trim().to_owned()))
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl Drop for Lock {
    /// Closing alone would not do: a child that this process is just starting holds a copy of the file until its exec.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
