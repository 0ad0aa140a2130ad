//! What a collector takes, and from whom: `connect`, `zones`, `keys` and `curve` of every collector's configuration, which are
//! read again while it runs.

use std::path::Path;

use zonescope_proto::ZoneName;

use crate::config::Origin;
use crate::exit::Usage;
use crate::keys::keyring::{Curve, Keyring};
use crate::transport::check_endpoint;
use crate::{DEFAULT_ENDPOINT, SubscriberOptions, paths};

/// What a collector takes, and from whom.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Generators to subscribe to.
    pub addresses: Vec<String>,
    /// Zones to take; empty for all.
    pub zones: Vec<ZoneName>,
    /// Our keys, and those of generators that we know.
    pub keyring: Keyring,
    /// Whether all generators must be known.
    pub curve: Curve,
}

impl Intake {
    /// What the collector of this role takes where this is written: every zone of this host's generator, where nothing is.
    ///
    /// # Errors
    /// Where something cannot be.
    pub fn new(
        role: &str,
        connect: &[String],
        zones: &[String],
        keys: Option<&Path>,
        curve: Curve,
        origin: Origin<'_>,
    ) -> Result<Self, Usage> {
        let addresses = if connect.is_empty() { vec![DEFAULT_ENDPOINT.to_owned()] } else { connect.to_vec() };
        for address in &addresses {
            check_endpoint(address).map_err(|e| origin.wrong("connect", address, e))?;
        }
        let zone = |name: &String| ZoneName::new(name).map_err(|e| origin.wrong("zones", name, e));
        let zones = zones.iter().map(zone).collect::<Result<_, _>>()?;
        let (keyring, curve) = keyring(role, keys, curve, origin)?;
        Ok(Intake { addresses, zones, keyring, curve })
    }

    /// What to subscribe to, from the beginning: reads the keys.
    ///
    /// # Errors
    /// Where a key is missing that is needed, or one that is there cannot be used.
    pub fn options(&self) -> Result<SubscriberOptions, Usage> {
        let endpoints = self.keyring.endpoints(&self.addresses, self.curve)?;
        Ok(SubscriberOptions { endpoints, zones: self.zones.clone(), ..SubscriberOptions::default() })
    }
}

/// The keys of the collector of this role, and whether all generators must be known: `keys` and `curve` alone.
///
/// # Errors
/// Where one of them cannot be.
pub fn keyring(role: &str, keys: Option<&Path>, curve: Curve, origin: Origin<'_>) -> Result<(Keyring, Curve), Usage> {
    let keys = keys.map_or_else(|| paths::HERE.keys(role), Path::to_owned);
    if !keys.is_absolute() {
        return Err(origin.wrong("keys", keys.display(), "an absolute path"));
    }
    if curve == Curve::Off {
        let allowed = "auto or required: a generator whose key is known is never spoken to in plain";
        return Err(origin.wrong("curve", "\"off\"", allowed));
    }
    Ok((Keyring::at(keys), curve))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(connect: &[&str], zones: &[&str], keys: Option<&str>, curve: Curve) -> Result<Intake, Usage> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let origin = Origin::File(Path::new("/etc/z.toml"));
        Intake::new("test", &owned(connect), &owned(zones), keys.map(Path::new), curve, origin)
    }

    #[test]
    fn nothing_written_is_every_zone_of_this_host() {
        let intake = intake(&[], &[], None, Curve::Auto).unwrap();
        assert_eq!((intake.addresses, intake.zones), (vec![DEFAULT_ENDPOINT.to_owned()], vec![]));
    }

    #[test]
    fn a_mistake_names_file_key_value_and_what_is_allowed() {
        for (wrong, parts) in [
            (intake(&["localhost"], &[], None, Curve::Auto), ["connect = localhost", "tcp://"]),
            (intake(&[], &["a/b"], None, Curve::Auto), ["zones = a/b", "cannot hold '/'"]),
            (intake(&[], &[], Some("keys"), Curve::Auto), ["keys = keys", "an absolute path"]),
            (intake(&[], &[], None, Curve::Off), ["curve = \"off\"", "auto or required"]),
        ] {
            let wrong = wrong.unwrap_err().0;
            assert!(wrong.contains("/etc/z.toml") && parts.iter().all(|part| wrong.contains(part)), "{wrong}");
        }
    }
}
