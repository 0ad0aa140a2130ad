//! Who a cgroup is: the name that a person gave it, from its path and from what its runtime says.

use super::files::{Files, Names};
use super::naming::{self, Kind};
use super::runtime;

/// A text with an addition that a limit on its length does not cut off.
pub(super) fn with_end(text: &str, addition: &str) -> String {
    const LONGEST: usize = zonescope_proto::limits::MAX_ZONE_NAME_BYTES;
    let mut end = text.len().min(LONGEST.saturating_sub(addition.len()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{addition}", &text[..end])
}

/// Who a group is.
pub(super) struct Identity {
    pub(super) name: String,
    /// What tells it from its namesakes.
    pub(super) apart: String,
    pub(super) brand: &'static str,
    pub(super) uuid: String,
    /// Whether it is shown as a zone.
    pub(super) listed: bool,
}

/// Finds out who the group at `path` is. `None` while that cannot be told yet.
pub(super) fn identify(files: &mut dyn Files, mount: &str, path: &str, user: Option<&str>) -> Option<Identity> {
    let (above, last) = path.rsplit_once('/')?;
    let parent = above.rsplit('/').next().unwrap_or_default();
    let kind = Kind::of(parent, last);
    let mut identity = Identity {
        name: last.to_owned(),
        apart: if parent.is_empty() { kind.brand().to_owned() } else { parent.to_owned() },
        brand: kind.brand(),
        uuid: String::new(),
        listed: true,
    };
    match kind {
        Kind::Container { brand, id } => {
            let card = runtime::card(files, brand, id);
            identity.name = match (card.pod, card.name) {
                (Some(pod), Some(name)) => format!("{pod}.{name}"),
                (None, Some(name)) => name,
                _ => naming::short_id(id).to_owned(),
            };
            naming::short_id(id).clone_into(&mut identity.apart);
            id.clone_into(&mut identity.uuid);
            identity.listed = !card.is_sandbox;
        }
        Kind::Pod { uid } => {
            identity.uuid = uid.replace('_', "-");
            identity.apart = identity.uuid.chars().take(8).collect();
            identity.name = pod_name(files, &format!("{mount}{path}"))?.unwrap_or(format!("pod-{}", identity.apart));
        }
        Kind::Lxc { name } => name.clone_into(&mut identity.name),
        Kind::Machine { escaped, .. } => identity.name = naming::machine_name(escaped),
        Kind::Plain | Kind::Helper => identity.name = naming::plain_name(path),
        Kind::Service | Kind::Manager { .. } | Kind::Slice | Kind::Session | Kind::Scope => {
            if let Some(uid) = user {
                identity.name = format!("{last}@user-{uid}");
            }
        }
    }
    Some(identity)
}

/// The name of a pod, which only its containers know. `None` while it has none; `Some(None)` where they do not tell.
fn pod_name(files: &mut dyn Files, directory: &str) -> Option<Option<String>> {
    let mut names = Names::default();
    files.list(directory, &mut names).ok()?;
    let parent = directory.rsplit('/').next().unwrap_or_default();
    let mut told = None;
    for name in names.directories() {
        if let Kind::Container { brand, id } = Kind::of(parent, name) {
            told = Some(runtime::card(files, brand, id).pod);
            if let Some(Some(_)) = told {
                break;
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use zonescope_proto::limits::MAX_ZONE_NAME_BYTES;

    use super::*;

    #[test]
    fn an_addition_survives_the_limit_of_a_name() {
        assert_eq!(with_end("web", "@db"), "web@db");
        let long = with_end(&"ü".repeat(200), "@0123456789ab");
        assert!(long.len() <= MAX_ZONE_NAME_BYTES && long.ends_with("ü@0123456789ab"));
    }
}
