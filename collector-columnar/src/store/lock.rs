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

impl Drop for Lock {
    /// Closing alone would not do: a child that this process is just starting holds a copy of the file until its exec.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
