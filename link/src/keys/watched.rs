//! Lists of whom a generator lets in, read again while it runs.

use super::files::{Folder, Listed};
use super::{Authorised, PublicKey};
use crate::transport::Admission;

/// In the list of whom a generator lets in: itself, so that its own doctor can look. Whoever has the secret key could stand in for
/// the generator anyway.
const OURSELVES: &str = "(the generator itself)";

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
        let folder = self.folder.path().display();
        if listed.keys.is_empty() {
            tracing::warn!("nobody may subscribe: there is no key in {folder}; `keys authorize` lets somebody in");
        } else {
            tracing::info!(keys = listed.keys.len(), "these may subscribe: {folder}");
        }
        let keys = listed.keys.into_iter().rev().map(|(name, entry)| (entry.key, name));
        self.authorised.replace(keys.chain([(self.ours, OURSELVES.to_owned())]).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::keys::Pair;
    use crate::keys::files::Entry;
    use crate::keys::keyring::{Curve, Keyring};

    #[test]
    fn a_list_that_is_read_again_takes_away_what_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keyring::at(directory.path().join("keys"));
        keys.make_pair("").unwrap();
        let friend = Entry { key: Pair::generate().public(), comment: String::new() };
        let folder = keys.authorized(None);
        folder.put("friend", &friend).unwrap();
        let admission = keys.admission(None, Curve::Auto).unwrap();
        let watched = Watched::of(&admission, folder.clone()).unwrap();
        let Admission::Curve { authorised, .. } = admission else { panic!() };
        assert!(authorised.name(&friend.key).is_some());
        folder.remove("friend").unwrap();
        watched.read();
        assert_eq!(authorised.name(&friend.key), None);
        folder.put("friend", &friend).unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        watched.read();
        assert_eq!(authorised.name(&friend.key), None, "others may have put it there");
    }
}
