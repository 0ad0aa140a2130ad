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
//! Of a list of whom to let in, a file that cannot be read is left out and reported: nobody is kept in by somebody else's broken
//! file ([`Watched`]). Of the known generators each file must be right: one that is not must not become a
//! connection in plain.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::KeysError;
use super::files::{Entry, Folder, bounded, create, failed, make_directory, names, only_ours_to_write, replace};
use super::watched::Watched;
use super::{Authorised, Pair};
use crate::transport::{Admission, Credentials, Endpoint};

/// Names of folders.
const AUTHORIZED: &str = "authorized";
const KNOWN: &str = "known";

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
        Folder::at(self.directory.join(name))
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
        Folder::at(self.directory.join(KNOWN))
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
        let admission = Admission::Curve { pair, authorised: Authorised::new(BTreeMap::new()) };
        if let Some(list) = Watched::of(&admission, self.authorized(endpoint)) {
            list.read();
        }
        Ok(admission)
    }

    /// Any file of anybody who is authorised.
    fn somebody(&self) -> Result<Option<String>, KeysError> {
        for (_, list) in self.all_authorized()? {
            if let Some(name) = names(list.path())?.pop() {
                return Ok(Some(list.path().join(name).display().to_string()));
            }
        }
        Ok(None)
    }

    /// How a collector speaks to the generators at `addresses`: by CURVE to those whose key is known, and to no other.
    ///
    /// # Errors
    /// Where a key is missing that is needed, or one that is there cannot be used.
    pub fn endpoints(&self, addresses: &[String], curve: Curve) -> Result<Vec<Endpoint>, KeysError> {
        let listed = self.known().read()?;
        if let Some(problem) = listed.problems.into_iter().next() {
            return Err(problem);
        }
        let endpoint = |address: &String| match listed.keys.get(&place(address)) {
            Some(entry) => {
                let why = || format!("{address} is only spoken to with CURVE");
                let missing = || KeysError::NoPair { why: why(), directory: self.directory.clone() };
                let pair = self.pair()?.ok_or_else(missing)?;
                let credentials = Credentials::Curve { pair, server: entry.key };
                Ok(Endpoint { address: address.clone(), credentials })
            }
            None if curve == Curve::Required => Err(KeysError::Unknown(address.clone())),
            None => Ok(Endpoint::plain(address)),
        };
        addresses.iter().map(endpoint).collect()
    }
}

/// The name of an endpoint in the folder of those that are known.
pub fn place(endpoint: &str) -> String {
    endpoint.trim_start_matches("tcp://").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

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
    fn a_generator_that_is_known_is_only_spoken_to_with_curve() {
        let (_directory, keys) = keyring();
        let addresses = ["tcp://Alpha:7211".to_owned(), "tcp://beta:7211".to_owned()];
        let plain = |endpoint: &Endpoint| matches!(endpoint.credentials, Credentials::None);
        assert!(keys.endpoints(&addresses, Curve::Auto).unwrap().iter().all(plain));
        let error = keys.endpoints(&addresses, Curve::Required).unwrap_err().to_string();
        assert!(error.contains("keys authorize tcp://Alpha:7211 KEY"), "{error}");

        let alpha = entry();
        keys.known().put(&place("tcp://alpha:7211"), &alpha).unwrap();
        let error = keys.endpoints(&addresses, Curve::Auto).unwrap_err().to_string();
        assert!(error.contains("keys new"), "{error}");
        let ours = keys.make_pair("").unwrap();
        let endpoints = keys.endpoints(&addresses, Curve::Auto).unwrap();
        let Credentials::Curve { pair, server } = &endpoints[0].credentials else { panic!() };
        assert_eq!((pair.public(), *server), (ours.public(), alpha.key));
        assert!(endpoints.len() == 2 && endpoints[0].address == addresses[0] && plain(&endpoints[1]));

        fs::write(keys.known().path().join("beta:7211"), "oops\n").unwrap();
        assert!(matches!(keys.endpoints(&addresses, Curve::Auto), Err(KeysError::NoKey { .. })), "never in plain");
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
