//! Whether endpoints are encrypted, and whether the keys for it can be used.

use super::Finding;
use crate::intake::Intake;
use crate::keys::keyring::{Curve, Keyring};
use crate::transport::{Admission, Credentials, Endpoint, is_loopback};

/// What to do about an endpoint that is open.
const SWITCH_ON: &str =
    "unless the network between is trusted, switch encryption on: `zonescope-generator keys --help`";

/// What else to do about keys that cannot be used; what is wrong says the first step.
const KEYS: &str = "the keys, and how to make, trust and revoke them: docs/KEYS.md";

/// Whether what a generator binds at `bind` is encrypted, and for whom: the endpoint of this name, or its own. With how to
/// look there: as the generator itself.
pub fn admitted(keyring: &Keyring, name: Option<&str>, bind: &str, curve: Curve) -> (Vec<Finding>, Credentials) {
    let pair = match keyring.admission(name, curve) {
        Err(error) => return (vec![Finding::fail("keys", error.to_string(), KEYS)], Credentials::None),
        Ok(Admission::Open) if is_loopback(bind) => {
            let found = format!("{bind} is not encrypted, and only this host can reach it");
            return (vec![Finding::ok("keys", found)], Credentials::None);
        }
        Ok(Admission::Open) => {
            let found = format!("{bind} is not encrypted, and lets in whoever reaches it");
            return (vec![Finding::warn("keys", found, SWITCH_ON)], Credentials::None);
        }
        Ok(Admission::Curve { pair, .. }) => pair,
    };
    let folder = keyring.authorized(name);
    let mut findings = Vec::new();
    match folder.read() {
        Err(error) => findings.push(Finding::fail("keys", format!("{error}; nobody is let in"), KEYS)),
        Ok(listed) => {
            let bad = listed.problems.iter().map(|p| Finding::fail("keys", format!("{p}; it is left out"), KEYS));
            findings.extend(bad);
            findings.push(match listed.keys.len() {
                0 => {
                    let at = name.map_or(String::new(), |name| format!(" --endpoint {name}"));
                    Finding::warn(
                        "keys",
                        format!(
                            "{bind} is encrypted, and nobody may subscribe: {} has no key",
                            folder.path().display()
                        ),
                        format!("let somebody in: `zonescope-generator keys authorize KEY --name NAME{at}`"),
                    )
                }
                keys => Finding::ok("keys", format!("{bind} is encrypted; keys that may subscribe: {keys}")),
            });
        }
    }
    let server = pair.public();
    (findings, Credentials::Curve { pair, server })
}

/// Whether what a collector says to each of its generators is encrypted, and how it speaks to them: in plain, where its keys
/// cannot be used.
pub fn known(intake: &Intake) -> (Vec<Finding>, Vec<Endpoint>) {
    let endpoints = match intake.keyring.endpoints(&intake.addresses, intake.curve) {
        Ok(endpoints) => endpoints,
        Err(error) => {
            let plain = intake.addresses.iter().map(Endpoint::plain).collect();
            return (vec![Finding::fail("keys", error.to_string(), KEYS)], plain);
        }
    };
    let finding = |Endpoint { address, credentials }: &Endpoint| match credentials {
        Credentials::Curve { server, .. } => {
            Finding::ok("keys", format!("{address} is encrypted; it has the key {server}, or is not spoken to"))
        }
        Credentials::None if is_loopback(address) => {
            Finding::ok("keys", format!("{address} is not encrypted, and does not leave this host"))
        }
        Credentials::None => {
            Finding::warn("keys", format!("{address} is not encrypted: its key is not known"), SWITCH_ON)
        }
    };
    (endpoints.iter().map(finding).collect(), endpoints)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::doctor::Verdict;
    use crate::keys::Pair;
    use crate::keys::files::Entry;
    use crate::keys::keyring::place;

    #[test]
    fn wrong_modes_are_found_and_what_is_open_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = Keyring::at(directory.path().join("keys"));
        let look = |bind| admitted(&keyring, None, bind, Curve::Auto).0.remove(0);
        assert_eq!(look("tcp://127.0.0.1:7211").verdict, Verdict::Ok);
        assert_eq!(look("tcp://10.0.0.5:7211").verdict, Verdict::Warn);
        keyring.make_pair("").unwrap();
        assert!(look("tcp://10.0.0.5:7211").found.contains("nobody may subscribe"));
        let entry = Entry { key: Pair::generate().public(), comment: String::new() };
        keyring.authorized(None).put("store", &entry).unwrap();
        assert!(look("tcp://10.0.0.5:7211").found.contains("keys that may subscribe: 1"));

        let addresses = vec!["tcp://alpha:7211".to_owned(), "tcp://beta:7211".to_owned()];
        keyring.known().put(&place(&addresses[0]), &entry).unwrap();
        let intake = Intake { addresses, zones: Vec::new(), keyring: keyring.clone(), curve: Curve::Auto };
        let (findings, endpoints) = known(&intake);
        let verdicts: Vec<_> = findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!((verdicts, endpoints.len()), (vec![Verdict::Ok, Verdict::Warn], 2));

        let secret = keyring.directory().join("secret");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
        for finding in [look("tcp://127.0.0.1:7211"), known(&intake).0.remove(0)] {
            assert!(finding.verdict == Verdict::Fail && finding.found.contains("chmod 600"), "{finding:?}");
        }
    }
}
