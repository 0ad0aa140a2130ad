//! Public keys on disk, and how files of keys are read and written.
//!
//! A public key is a file of one line, `KEY COMMENT`. All are read with a bound, and what others can write is not believed: a
//! folder that is open to them is refused as a whole. What root writes belongs to the owner of the folder where it is: the
//! service's account, as install.sh makes it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::error::KeysError;
use super::{KeyError, PublicKey};

/// A file of a key is shorter: the key and a line of comment.
const MOST_BYTES: u64 = 4096;

/// Longest name of a key or an endpoint, in bytes: a file's.
const MOST_NAME_BYTES: usize = 200;

/// A public key, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: PublicKey,
    /// What stands behind it in its file.
    pub comment: String,
}

impl Entry {
    fn parse(text: &str) -> Result<Self, KeyError> {
        let (key, comment) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        Ok(Entry { key: key.parse()?, comment: comment.trim().to_owned() })
    }

    /// Reads a public key as it was given: itself, or a file that holds it (`-`: standard input).
    ///
    /// # Errors
    /// Where it is neither.
    pub fn given(text: &str) -> Result<Self, KeysError> {
        if let Ok(key) = text.parse() {
            return Ok(Entry { key, comment: String::new() });
        }
        let path = PathBuf::from(text);
        let read = match text {
            "-" => bounded(io::stdin().lock(), &path)?,
            _ => bounded(File::open(&path).map_err(failed("read the key", &path))?, &path)?,
        };
        Entry::parse(&read).map_err(|error| KeysError::NoKey { path, error })
    }
}

/// A folder of public keys, a file each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Listed {
    /// The keys, by the names of their files.
    pub keys: BTreeMap<String, Entry>,
    /// Files that hold none, or that others can write.
    pub problems: Vec<KeysError>,
}

impl Folder {
    /// The one at `path`, which need not be there.
    pub fn at(path: PathBuf) -> Self {
        Folder { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all keys. A folder that is not there has none.
    ///
    /// # Errors
    /// Where it cannot be read, or others can write it.
    pub fn read(&self) -> Result<Listed, KeysError> {
        let mut listed = Listed::default();
        let names = names(&self.path)?;
        if !names.is_empty() {
            only_ours_to_write(&self.path)?;
        }
        for name in names {
            match read_public(&self.path.join(&name)) {
                Ok(entry) => drop(listed.keys.insert(name, entry)),
                Err(problem) => listed.problems.push(problem),
            }
        }
        Ok(listed)
    }

    /// Puts a key there, in the place of one of the same name.
    ///
    /// # Errors
    /// Where it cannot be written, or no file can be called that.
    pub fn put(&self, name: &str, entry: &Entry) -> Result<PathBuf, KeysError> {
        check_name(name)?;
        make_directory(&self.path)?;
        only_ours_to_write(&self.path)?;
        let path = self.path.join(name);
        replace(&path, entry)?;
        Ok(path)
    }

    /// Takes away the key of this name; false where there is none.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<bool, KeysError> {
        check_name(name)?;
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(KeysError::Io { what: "remove", path, source }),
        }
    }
}

/// Whether a file can be called that: of a key, or, as part of a folder's name, of an endpoint.
///
/// # Errors
/// Says what it may be.
pub fn check_name(name: &str) -> Result<(), KeysError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@:%[]".contains(c);
    let good = (1..=MOST_NAME_BYTES).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed);
    if good { Ok(()) } else { Err(KeysError::Name(name.to_owned())) }
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::Io { what, path, source }
}

/// The names in a directory, in order; hidden ones are editors' and ours on the way. None where there is no directory.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, KeysError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(KeysError::Io { what: "list", path: directory.to_owned(), source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("list", directory))?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read_public(path: &Path) -> Result<Entry, KeysError> {
    let file = File::open(path).map_err(failed("read", path))?;
    refuse_writable(path, &file.metadata().map_err(failed("look at", path))?)?;
    Entry::parse(&bounded(file, path)?).map_err(|error| KeysError::NoKey { path: path.to_owned(), error })
}

pub(super) fn bounded(from: impl Read, path: &Path) -> Result<String, KeysError> {
    // As large as it may become: text that grows would leave copies behind.
    let mut text = String::with_capacity(MOST_BYTES as usize + 1);
    from.take(MOST_BYTES).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(text)
}

pub(super) fn only_ours_to_write(directory: &Path) -> Result<(), KeysError> {
    refuse_writable(directory, &fs::metadata(directory).map_err(failed("look at", directory))?)
}

fn refuse_writable(path: &Path, metadata: &fs::Metadata) -> Result<(), KeysError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(KeysError::Writable { path: path.to_owned(), mode }) }
}

pub(super) fn make_directory(path: &Path) -> Result<(), KeysError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed("make", parent))?;
    }
    DirBuilder::new().mode(0o755).create(path).map_err(failed("make", path))?;
    let made = File::open(path).map_err(failed("look at", path))?;
    give_to_owner_of_parent(&made, path)
}

/// Writes a file that was not there, with this mode from its first instant.
pub(super) fn create(path: &Path, mode: u32, parts: &[&[u8]]) -> Result<(), KeysError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed("write", path))?;
    // The umask may have taken away more.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed("write", path))?;
    give_to_owner_of_parent(&file, path)?;
    parts.iter().try_for_each(|part| file.write_all(part)).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("write", path))
}

/// Writes a public key, whole or not at all.
pub(super) fn replace(path: &Path, entry: &Entry) -> Result<(), KeysError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let text = format!("{} {}", entry.key, entry.comment);
    create(&new, 0o644, &[text.trim_end().as_bytes(), b"\n"])?;
    fs::rename(&new, path).map_err(failed("write", path))
}

/// Only root can give files away, and only root makes them for others.
fn give_to_owner_of_parent(file: &File, path: &Path) -> Result<(), KeysError> {
    let Some(parent) = path.parent().filter(|_| rustix::process::geteuid().is_root()) else { return Ok(()) };
    let owner = fs::metadata(parent).map_err(failed("look at", parent))?;
    fchown(file, Some(owner.uid()), Some(owner.gid())).map_err(failed("give to the folder's owner", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Pair;

    fn folder() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::at(directory.path().join("keys"));
        (directory, folder)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn entry() -> Entry {
        Entry { key: Pair::generate().public(), comment: "of a test".to_owned() }
    }

    #[test]
    fn a_folder_lists_its_keys_and_reports_what_is_none() {
        let (_directory, list) = folder();
        assert!(list.read().unwrap().keys.is_empty());
        let (one, two) = (entry(), entry());
        list.put("one", &one).unwrap();
        list.put("two", &two).unwrap();
        fs::write(list.path().join("broken"), "no key\n").unwrap();
        chmod(&list.path().join("two"), 0o666);
        let listed = list.read().unwrap();
        assert_eq!(listed.keys, BTreeMap::from([("one".to_owned(), one)]));
        let problems: Vec<_> = listed.problems.iter().map(ToString::to_string).collect();
        assert!(problems[0].contains("broken holds no key") && problems[1].contains("chmod go-w"), "{problems:?}");
        chmod(list.path(), 0o777);
        assert!(matches!(list.read(), Err(KeysError::Writable { .. })));
        chmod(list.path(), 0o750);
        assert!(list.remove("one").unwrap() && !list.remove("one").unwrap());
    }

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        let (_directory, list) = folder();
        for name in ["", ".", "..", ".hidden", "a/b", "../secret", "a b", "a\n"] {
            assert!(matches!(list.put(name, &entry()), Err(KeysError::Name(_))), "{name}");
            assert!(matches!(list.remove(name), Err(KeysError::Name(_))), "{name}");
        }
        list.put("[fe80::1%eth0]:7211", &entry()).unwrap();
    }
}
