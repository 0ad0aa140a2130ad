//! What the configuration says about whom endpoints let in, and about endpoints of some zones: `keys`, `curve`, `[[endpoint]]`.

use serde::Deserialize;
use zonescope_link::exit::Usage;
use zonescope_link::keys::files::check_name;
use zonescope_link::keys::keyring::{Curve, Keyring};
use zonescope_link::keys::watched::Watched;
use zonescope_link::recover::Bounds;
use zonescope_link::transport::{Admission, check_endpoint, is_loopback};
use zonescope_link::{Scope, ScopedOptions};

use crate::config::Config;
use crate::ring::{RecoveryBind, Wrong};

/// Most of them: each has sockets, and 16 MiB of answers ([`Bounds::scoped`]).
const MOST: usize = 32;

/// An endpoint of some zones: a tenant's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointConfig {
    /// Names it, and the list of whom it lets in.
    pub name: String,
    /// Where to publish.
    pub bind: String,
    /// Where to serve what its subscribers missed, or `off`; one port above `bind` where not said.
    pub recovery_bind: Option<String>,
    /// What it speaks of: names and globs.
    pub zones: Vec<String>,
    /// Whether it is encrypted, where not as the others.
    pub curve: Option<Curve>,
}

impl EndpointConfig {
    fn check(&self) -> Result<(), Wrong> {
        let wrong =
            |key, value: &dyn std::fmt::Display, allowed: String| Err(Wrong { key, value: value.to_string(), allowed });
        if let Err(error) = check_name(&self.name) {
            return wrong("name", &format!("{:?}", self.name), error.to_string());
        }
        if let Err(error) = check_endpoint(&self.bind) {
            return wrong("bind", &format!("{:?}", self.bind), error.to_string());
        }
        if let Err(error) = RecoveryBind::new(self.recovery_bind.as_deref(), &self.bind) {
            let value = self.recovery_bind.as_deref().unwrap_or_default();
            return wrong("recovery_bind", &value, format!("{error}, or `off`"));
        }
        match Scope::zones(&self.zones) {
            Ok(_) => Ok(()),
            Err(error) => wrong("zones", &format!("{:?}", self.zones), error.to_string()),
        }
    }
}

/// Whether all endpoints can be. Gives the name of the one that cannot.
///
/// # Errors
/// Says what is wrong, and what would be right.
pub fn check(endpoints: &[EndpointConfig], recovery_is_off: bool) -> Result<(), (String, Wrong)> {
    for (at, endpoint) in endpoints.iter().enumerate() {
        let wrong = |key, value: &str, allowed: &str| {
            let (value, allowed) = (value.to_owned(), allowed.to_owned());
            Err((endpoint.name.clone(), Wrong { key, value, allowed }))
        };
        endpoint.check().map_err(|wrong| (endpoint.name.clone(), wrong))?;
        if at == MOST {
            return wrong("name", &endpoint.name, &format!("there can be at most {MOST} endpoints"));
        }
        if endpoints[..at].iter().any(|earlier| earlier.name == endpoint.name) {
            return wrong("name", &endpoint.name, "a name of its own: another endpoint is called that");
        }
        if let Some(bind) = endpoint.recovery_bind.as_deref().filter(|bind| recovery_is_off && *bind != "off") {
            return wrong("recovery_bind", bind, "nothing can be recovered: `recovery_bind = \"off\"` keeps no frames");
        }
    }
    Ok(())
}

/// Whom each endpoint lets in.
#[derive(Debug)]
pub struct Doors {
    /// Where everything is published.
    pub main: Admission,
    /// Of each `[[endpoint]]`, in order.
    scoped: Vec<Admission>,
    /// The lists of keys.
    lists: Vec<Watched>,
}

impl Doors {
    /// Reads the keys. Warns of doors that are open.
    ///
    /// # Errors
    /// Where keys that are there, or must be, cannot be used.
    pub fn open(config: &Config) -> Result<Self, Usage> {
        let keyring = Keyring::at(&config.keys);
        let mut lists = Vec::new();
        let mut open = |name: Option<&str>, bind: &str, curve: Curve| {
            let admission = keyring.admission(name, curve)?;
            if matches!(admission, Admission::Open) && !is_loopback(bind) {
                tracing::warn!(
                    "{bind} lets in whoever reaches it, and is read by who is on the way: `zonescope-generator keys --help` switches encryption on"
                );
            }
            lists.extend(Watched::of(&admission, keyring.authorized(name)));
            Ok::<_, Usage>(admission)
        };
        let main = open(None, &config.bind, config.curve)?;
        let mut scoped = Vec::new();
        for endpoint in &config.endpoint {
            scoped.push(open(Some(&endpoint.name), &endpoint.bind, endpoint.curve.unwrap_or(config.curve))?);
        }
        Ok(Doors { main, scoped, lists })
    }

    /// Reads the lists of keys again: whoever is gone is sent away.
    pub fn read_again(&self) {
        self.lists.iter().for_each(Watched::read);
    }

    /// How the endpoints of some zones are to be bound.
    ///
    /// # Errors
    /// Where the configuration is wrong.
    pub fn scoped(&self, config: &Config) -> anyhow::Result<Vec<ScopedOptions>> {
        let mut all = Vec::new();
        for (endpoint, admission) in config.endpoint.iter().zip(&self.scoped) {
            all.push(ScopedOptions {
                bind: endpoint.bind.clone(),
                admission: admission.clone(),
                scope: Scope::zones(&endpoint.zones)?,
                recovery: RecoveryBind::new(endpoint.recovery_bind.as_deref(), &endpoint.bind)?.places(),
                bounds: Bounds::scoped(),
            });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str) -> EndpointConfig {
        EndpointConfig {
            name: name.into(),
            bind: "tcp://10.0.0.5:7221".into(),
            zones: vec!["acme-*".into()],
            ..EndpointConfig::default()
        }
    }

    #[test]
    fn what_is_wrong_with_an_endpoint_names_it_the_key_and_what_is_allowed() {
        let wrong = |change: &dyn Fn(&mut EndpointConfig)| {
            let mut changed = endpoint("acme");
            change(&mut changed);
            check(&[endpoint("other"), changed], false).unwrap_err()
        };
        let (name, said) = wrong(&|e| e.zones.clear());
        assert_eq!((name.as_str(), said.key), ("acme", "zones"));
        assert!(said.allowed.contains("at least one zone"));
        assert_eq!(wrong(&|e| e.name = "a/b".into()).1.key, "name");
        assert_eq!(wrong(&|e| e.bind = "10.0.0.5".into()).1.key, "bind");
        assert_eq!(wrong(&|e| e.recovery_bind = Some("7222".into())).1.key, "recovery_bind");
        assert!(wrong(&|e| e.name = "other".into()).1.allowed.contains("another endpoint"));
        assert_eq!(check(&[endpoint("acme"), endpoint("other")], false), Ok(()));
    }

    #[test]
    fn nothing_can_be_recovered_where_nothing_is_kept() {
        let recovers = EndpointConfig { recovery_bind: Some("tcp://10.0.0.5:7222".into()), ..endpoint("acme") };
        assert_eq!(check(std::slice::from_ref(&recovers), true).unwrap_err().1.key, "recovery_bind");
        assert_eq!(check(&[recovers], false), Ok(()));
        assert_eq!(check(&[endpoint("acme")], true), Ok(()));
    }

    #[test]
    fn there_is_an_end_to_endpoints() {
        let many: Vec<_> = (0..=MOST).map(|n| endpoint(&format!("e{n}"))).collect();
        assert_eq!(check(&many[..MOST], false), Ok(()));
        assert!(check(&many, false).unwrap_err().1.allowed.contains("at most 32"));
    }
}
