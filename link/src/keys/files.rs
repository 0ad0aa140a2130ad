//! Keys on disk, as people know them from ssh.
//!
//! ```text
//! KEYS/secret                   our secret key: 0600, and refused where anybody else can read it
//! KEYS/public                   its public half, to give away
//! KEYS/authorized/NAME          generator: a key that may subscribe
//! KEYS/authorized-ENDPOINT/NAME the same of an endpoint of its own (`[[endpoint]]`)
//! KEYS/known/HOST:PORT          collector: the key of the generator there
//! ```
//!
//! A public key is a file of one line, `KEY COMMENT`. All are read with a bound, and what others can write is not believed: a
//! folder that is open to them is refused as a whole. Of a list of whom to let in, a file that cannot be read is left out and
//! reported: nobody is kept in by somebody else's broken file. Of the known generators each file must be right: one that is not must
//! not become a connection in plain.
//!
//! What root writes here belongs to the owner of the folder: the service's account, as install.sh makes it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Authorised, KeyError, Pair, PublicKey};
use crate::transport::{Admission, Credentials};

/// A file of a key is shorter: the key and a line of comment.
const MOST_BYTES: u64 = 4096;

/// Longest name of a key or an endpoint, in bytes: a file's.
const MOST_NAME_BYTES: usize = 200;

/// Names of folders.
const AUTHORIZED: &str = "authorized";
const KNOWN: &str = "known";

/// In the list of whom a generator lets in: itself, so that its own doctor can look. Whoever has the secret key could stand in for
/// the generator anyway.
const OURSELVES: &str = "(the generator itself)";

/// Whether an endpoint is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// Where there are keys: a generator's own; of a collector, one that is known of the generator.
    #[default]
    Auto,
    /// Always: without keys nothing starts.
    Required,
    /// Never, even where there are keys.
    Off,
}

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

/// The keys of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    directory: PathBuf,
}

impl Keyring {
    /// What is in `directory`, which need not be there.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Keyring { directory: directory.into() }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn secret(&self) -> PathBuf {
        self.directory.join("secret")
    }

    /// Where the public half is, to be copied.
    pub fn public(&self) -> PathBuf {
        self.directory.join("public")
    }

    /// Our pair; `None` where none was made.
    ///
    /// # Errors
    /// Where it cannot be read, others can read it, or it is none.
    pub fn pair(&self) -> Result<Option<Arc<Pair>>, KeysError> {
        let path = self.secret();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeysError::Io { what: "read the secret key", path, source }),
        };
        only_ours_to_write(&self.directory)?;
        let mode = file.metadata().map_err(failed("look at", &path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeysError::Readable { path, mode });
        }
        let text = Zeroizing::new(bounded(file, &path)?);
        let pair = Pair::from_secret_text(text.trim()).map_err(|error| KeysError::NoKey { path, error })?;
        Ok(Some(Arc::new(pair)))
    }

    /// Makes our pair. `comment` goes with the public half.
    ///
    /// # Errors
    /// Where there is one already, or it cannot be written.
    pub fn make_pair(&self, comment: &str) -> Result<Arc<Pair>, KeysError> {
        make_directory(&self.directory)?;
        only_ours_to_write(&self.directory)?;
        let pair = Pair::generate();
        let secret = pair.secret_text();
        let path = self.secret();
        match create(&path, 0o600, &[secret.as_bytes(), b"\n"]) {
            Err(KeysError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                return Err(KeysError::Exists(path));
            }
            made => made?,
        }
        let public = Entry { key: pair.public(), comment: comment.to_owned() };
        replace(&self.public(), &public)?;
        Ok(Arc::new(pair))
    }

    /// Whom a generator lets in: at its own endpoint, or at one that has a name.
    pub fn authorized(&self, endpoint: Option<&str>) -> Folder {
        let name = endpoint.map_or(AUTHORIZED.to_owned(), |endpoint| format!("{AUTHORIZED}-{endpoint}"));
        Folder { path: self.directory.join(name) }
    }

    /// All of these lists that are there, with the names of their endpoints.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn all_authorized(&self) -> Result<Vec<(Option<String>, Folder)>, KeysError> {
        let mut lists = Vec::new();
        for name in names(&self.directory)? {
            let endpoint = match name.strip_prefix(AUTHORIZED) {
                Some("") => None,
                Some(rest) if rest.starts_with('-') => Some(rest[1..].to_owned()),
                _ => continue,
            };
            let list = self.authorized(endpoint.as_deref());
            lists.push((endpoint, list));
        }
        Ok(lists)
    }

    /// The generators that a collector knows, by `HOST:PORT`.
    pub fn known(&self) -> Folder {
        Folder { path: self.directory.join(KNOWN) }
    }

    /// How a generator lets in subscribers at the endpoint of this name. With [`Curve::Auto`] and no pair that is anybody, unless
    /// somebody was authorised anywhere: then the pair has been lost, and the door stays shut.
    ///
    /// # Errors
    /// Where keys that are there, or must be, cannot be used.
    pub fn admission(&self, endpoint: Option<&str>, curve: Curve) -> Result<Admission, KeysError> {
        if curve == Curve::Off {
            return Ok(Admission::Open);
        }
        let Some(pair) = self.pair()? else {
            let why = match curve {
                Curve::Required => Some("curve = \"required\"".to_owned()),
                _ => self.somebody()?.map(|who| format!("{who} is authorised")),
            };
            return match why {
                Some(why) => Err(KeysError::NoPair { why, directory: self.directory.clone() }),
                None => Ok(Admission::Open),
            };
        };
        let authorised = Authorised::new(BTreeMap::new());
        Watched { folder: self.authorized(endpoint), ours: pair.public(), authorised: authorised.clone() }.read();
        Ok(Admission::Curve { pair, authorised })
    }

    /// Any file of anybody who is authorised.
    fn somebody(&self) -> Result<Option<String>, KeysError> {
        for (_, list) in self.all_authorized()? {
            if let Some(name) = names(&list.path)?.pop() {
                return Ok(Some(list.path.join(name).display().to_string()));
            }
        }
        Ok(None)
    }

    /// How a collector speaks to each of `endpoints`: by CURVE to those whose key is known, and to no other.
    ///
    /// # Errors
    /// Where a key is missing that is needed, or one that is there cannot be used.
    pub fn credentials(&self, endpoints: &[String], curve: Curve) -> Result<HashMap<String, Credentials>, KeysError> {
        let listed = self.known().read()?;
        if let Some(problem) = listed.problems.into_iter().next() {
            return Err(problem);
        }
        let mut credentials = HashMap::new();
        for endpoint in endpoints {
            match listed.keys.get(&place(endpoint)) {
                Some(entry) => {
                    let why = || format!("{endpoint} is only spoken to with CURVE");
                    let missing = || KeysError::NoPair { why: why(), directory: self.directory.clone() };
                    let pair = self.pair()?.ok_or_else(missing)?;
                    credentials.insert(endpoint.clone(), Credentials::Curve { pair, server: entry.key });
                }
                None if curve == Curve::Required => return Err(KeysError::Unknown(endpoint.clone())),
                None => {}
            }
        }
        Ok(credentials)
    }
}

/// The name of an endpoint in the folder of those that are known.
pub fn place(endpoint: &str) -> String {
    endpoint.trim_start_matches("tcp://").to_ascii_lowercase()
}

/// A list of whom to let in that is read again when asked for.
#[derive(Debug, Clone)]
pub struct Watched {
    folder: Folder,
    ours: PublicKey,
    authorised: Authorised,
}

impl Watched {
    /// The list behind `admission`, if it has one.
    pub fn of(admission: &Admission, folder: Folder) -> Option<Self> {
        match admission {
            Admission::Open => None,
            Admission::Curve { pair, authorised } => {
                Some(Watched { folder, ours: pair.public(), authorised: authorised.clone() })
            }
        }
    }

    /// Reads the folder. Keys that are gone are no longer let in; a folder that cannot be trusted lets in nobody.
    pub fn read(&self) {
        let listed = self.folder.read().unwrap_or_else(|problem| {
            tracing::error!("{problem}; until then nobody is let in");
            Listed::default()
        });
        for problem in &listed.problems {
            tracing::error!("{problem}; it is left out");
        }
        let folder = self.folder.path.display();
        if listed.keys.is_empty() {
            tracing::warn!("nobody may subscribe: there is no key in {folder}; `keys authorize` lets somebody in");
        } else {
            tracing::info!(keys = listed.keys.len(), "these may subscribe: {folder}");
        }
        let keys = listed.keys.into_iter().rev().map(|(name, entry)| (entry.key, name));
        self.authorised.replace(keys.chain([(self.ours, OURSELVES.to_owned())]).collect());
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

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::Io { what, path, source }
}

/// The names in a directory, in order; hidden ones are editors' and ours on the way. None where there is no directory.
fn names(directory: &Path) -> Result<Vec<String>, KeysError> {
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

fn bounded(from: impl Read, path: &Path) -> Result<String, KeysError> {
    // As large as it may become: text that grows would leave copies behind.
    let mut text = String::with_capacity(MOST_BYTES as usize + 1);
    from.take(MOST_BYTES).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(text)
}

fn only_ours_to_write(directory: &Path) -> Result<(), KeysError> {
    refuse_writable(directory, &fs::metadata(directory).map_err(failed("look at", directory))?)
}

fn refuse_writable(path: &Path, metadata: &fs::Metadata) -> Result<(), KeysError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(KeysError::Writable { path: path.to_owned(), mode }) }
}

fn make_directory(path: &Path) -> Result<(), KeysError> {
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
fn create(path: &Path, mode: u32, parts: &[&[u8]]) -> Result<(), KeysError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed("write", path))?;
    // The umask may have taken away more.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed("write", path))?;
    give_to_owner_of_parent(&file, path)?;
    parts.iter().try_for_each(|part| file.write_all(part)).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("write", path))
}

/// Writes a public key, whole or not at all.
fn replace(path: &Path, entry: &Entry) -> Result<(), KeysError> {
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

    fn keyring() -> (tempfile::TempDir, Keyring) {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keyring::at(directory.path().join("keys"));
        (directory, keys)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn entry() -> Entry {
        Entry { key: Pair::generate().public(), comment: "of a test".to_owned() }
    }

    #[test]
    fn a_pair_is_made_once_and_read_again() {
        let (_directory, keys) = keyring();
        assert!(keys.pair().unwrap().is_none());
        let made = keys.make_pair("me@here").unwrap();
        assert_eq!(keys.pair().unwrap().unwrap().public(), made.public());
        assert_eq!((mode(&keys.secret()), mode(&keys.public()), mode(keys.directory())), (0o600, 0o644, 0o755));
        let public = fs::read_to_string(keys.public()).unwrap();
        assert_eq!(public, format!("{} me@here\n", made.public()));
        assert!(!public.contains(made.secret_text().as_str()));
        assert!(matches!(keys.make_pair(""), Err(KeysError::Exists(_))));
        assert_eq!(keys.pair().unwrap().unwrap().public(), made.public());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_and_the_error_says_the_chmod() {
        let (_directory, keys) = keyring();
        let secret = keys.make_pair("").unwrap().secret_text();
        for wide in [0o640, 0o604, 0o620, 0o666] {
            chmod(&keys.secret(), wide);
            let error = keys.pair().unwrap_err().to_string();
            let chmod = format!("chmod 600 {}", keys.secret().display());
            assert!(error.contains(&chmod) && error.contains(&format!("{wide:04o}")), "{error}");
            assert!(!error.contains(secret.as_str()));
        }
        chmod(&keys.secret(), 0o400);
        assert!(keys.pair().unwrap().is_some());
        chmod(keys.directory(), 0o770);
        let error = keys.pair().unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_named_and_not_shown() {
        let (_directory, keys) = keyring();
        keys.make_pair("").unwrap();
        fs::write(keys.secret(), "hunter2\n").unwrap();
        let error = keys.pair().unwrap_err().to_string();
        assert!(error.contains("secret holds no key") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_folder_lists_its_keys_and_reports_what_is_none() {
        let (_directory, keys) = keyring();
        let list = keys.authorized(None);
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
        let (_directory, keys) = keyring();
        for name in ["", ".", "..", ".hidden", "a/b", "../secret", "a b", "a\n"] {
            assert!(matches!(keys.known().put(name, &entry()), Err(KeysError::Name(_))), "{name}");
            assert!(matches!(keys.known().remove(name), Err(KeysError::Name(_))), "{name}");
        }
        keys.known().put("[fe80::1%eth0]:7211", &entry()).unwrap();
    }

    #[test]
    fn a_generator_is_open_where_there_are_no_keys_and_shut_where_they_were_lost() {
        let (_directory, keys) = keyring();
        assert!(matches!(keys.admission(None, Curve::Auto), Ok(Admission::Open)));
        let error = keys.admission(None, Curve::Required).unwrap_err().to_string();
        assert!(error.contains("curve = \"required\"") && error.contains("keys new"), "{error}");

        keys.make_pair("").unwrap();
        let friend = entry();
        keys.authorized(Some("acme")).put("friend", &friend).unwrap();
        let Admission::Curve { pair, authorised } = keys.admission(Some("acme"), Curve::Auto).unwrap() else {
            panic!()
        };
        assert_eq!(authorised.name(&friend.key).as_deref(), Some("friend"));
        assert!(authorised.name(&pair.public()).is_some(), "its own doctor may look");
        let Admission::Curve { authorised, .. } = keys.admission(None, Curve::Auto).unwrap() else { panic!() };
        assert_eq!(authorised.name(&friend.key), None, "another endpoint's");
        assert!(matches!(keys.admission(None, Curve::Off), Ok(Admission::Open)));

        fs::remove_file(keys.secret()).unwrap();
        let error = keys.admission(None, Curve::Auto).unwrap_err().to_string();
        assert!(error.contains("authorized-acme/friend is authorised"), "{error}");
    }

    #[test]
    fn a_list_that_is_read_again_takes_away_what_is_gone() {
        let (_directory, keys) = keyring();
        keys.make_pair("").unwrap();
        let (folder, friend) = (keys.authorized(None), entry());
        folder.put("friend", &friend).unwrap();
        let admission = keys.admission(None, Curve::Auto).unwrap();
        let watched = Watched::of(&admission, folder.clone()).unwrap();
        let Admission::Curve { authorised, .. } = admission else { panic!() };
        assert!(authorised.name(&friend.key).is_some());
        folder.remove("friend").unwrap();
        watched.read();
        assert_eq!(authorised.name(&friend.key), None);
        folder.put("friend", &friend).unwrap();
        chmod(folder.path(), 0o777);
        watched.read();
        assert_eq!(authorised.name(&friend.key), None, "others may have put it there");
    }

    #[test]
    fn a_generator_that_is_known_is_only_spoken_to_with_curve() {
        let (_directory, keys) = keyring();
        let endpoints = ["tcp://Alpha:7211".to_owned(), "tcp://beta:7211".to_owned()];
        assert!(keys.credentials(&endpoints, Curve::Auto).unwrap().is_empty());
        let error = keys.credentials(&endpoints, Curve::Required).unwrap_err().to_string();
        assert!(error.contains("keys authorize tcp://Alpha:7211 KEY"), "{error}");

        let alpha = entry();
        keys.known().put(&place("tcp://alpha:7211"), &alpha).unwrap();
        let error = keys.credentials(&endpoints, Curve::Auto).unwrap_err().to_string();
        assert!(error.contains("keys new"), "{error}");
        let ours = keys.make_pair("").unwrap();
        let credentials = keys.credentials(&endpoints, Curve::Auto).unwrap();
        let Some(Credentials::Curve { pair, server }) = credentials.get("tcp://Alpha:7211") else { panic!() };
        assert_eq!((pair.public(), *server, credentials.len()), (ours.public(), alpha.key, 1));

        fs::write(keys.known().path().join("beta:7211"), "oops\n").unwrap();
        assert!(matches!(keys.credentials(&endpoints, Curve::Auto), Err(KeysError::NoKey { .. })), "never in plain");
    }

    #[test]
    fn a_key_is_given_as_itself_or_as_a_file() {
        let (_directory, keys) = keyring();
        let made = keys.make_pair("me@here").unwrap().public();
        assert_eq!(Entry::given(&made.to_string()).unwrap(), Entry { key: made, comment: String::new() });
        let file = keys.public().display().to_string();
        assert_eq!(Entry::given(&file).unwrap(), Entry { key: made, comment: "me@here".to_owned() });
        assert!(Entry::given("/nonexistent").unwrap_err().to_string().contains("/nonexistent"));
    }
}
