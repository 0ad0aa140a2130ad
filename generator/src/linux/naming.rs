//! What a cgroup is, told by its path, and what a person calls it.
//!
//! Every manager of containers has its own way to place them. What is known here, by its last component:
//!
//! | cgroup | what |
//! |---|---|
//! | `docker-<id>.scope`, `libpod-<id>.scope`, `crio-<id>.scope`, `cri-containerd-<id>.scope`, `nerdctl-<id>.scope` | a container, placed by systemd |
//! | `docker/<id>`, `pod<uid>/<id>`, `libpod_parent/libpod-<id>`, `default/<id>` | a container, placed by its runtime |
//! | `kubepods-*pod<uid>.slice`, `pod<uid>` | a pod |
//! | `lxc.payload.<name>`, `lxc.payload/<name>`, `lxc/<name>` | an LXC, LXD or Incus container |
//! | `machine-qemu\x2d<n>\x2d<name>.scope`, `<name>.libvirt-qemu` | a libvirt VM |
//! | `systemd-nspawn@<name>.service`, `machine-<name>.scope` | another machine |
//! | `*.service`, `*.slice`, `session-*.scope`, `*.scope` | systemd's own |
//!
//! A container, VM or machine owns every group below it. A service too, except for containers in it. Helpers of
//! a container (conmon, lxc.monitor) and units that run nothing (mounts, sockets) are no zones.

/// What a cgroup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Container {
        brand: &'static str,
        id: &'a str,
    },
    Pod {
        uid: &'a str,
    },
    Lxc {
        name: &'a str,
    },
    /// A machine of libvirt or nspawn, its name as systemd escapes it.
    Machine {
        brand: &'static str,
        escaped: &'a str,
    },
    Service,
    /// The systemd of one user, `user@1000.service`: units of its own are below it.
    Manager {
        uid: &'a str,
    },
    Slice,
    Session,
    Scope,
    Plain,
    /// Not a zone, nor is anything below it.
    Helper,
}

/// What may be a zone below a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    Everything,
    Containers,
    Nothing,
}

const SCOPES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("crio-", "cri-o"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
];

/// Units of systemd that run nothing of their own.
const IDLE_UNITS: [&str; 7] = [".mount", ".automount", ".socket", ".swap", ".device", ".target", ".timer"];

impl<'a> Kind<'a> {
    /// What the group `name` in the group `parent` is. Both are last components of paths.
    pub(super) fn of(parent: &str, name: &'a str) -> Self {
        container(parent, name).or_else(|| machine(parent, name)).unwrap_or_else(|| unit(name))
    }

    /// What may be a zone below it.
    pub(super) fn below(self) -> Below {
        match self {
            Kind::Pod { .. } | Kind::Manager { .. } | Kind::Slice | Kind::Plain => Below::Everything,
            Kind::Service | Kind::Session | Kind::Scope => Below::Containers,
            Kind::Container { .. } | Kind::Lxc { .. } | Kind::Machine { .. } | Kind::Helper => Below::Nothing,
        }
    }

    /// Whether it is a zone where only containers are.
    pub(super) fn is_container(self) -> bool {
        matches!(self, Kind::Container { .. } | Kind::Pod { .. } | Kind::Lxc { .. } | Kind::Machine { .. })
    }

    /// As the contract calls it.
    pub(super) fn brand(self) -> &'static str {
        match self {
            Kind::Container { brand, .. } | Kind::Machine { brand, .. } => brand,
            Kind::Pod { .. } => "pod",
            Kind::Lxc { .. } => "lxc",
            Kind::Service | Kind::Manager { .. } => "service",
            Kind::Slice => "slice",
            Kind::Session => "session",
            Kind::Scope => "scope",
            Kind::Plain | Kind::Helper => "cgroup",
        }
    }
}

/// 64 hexadecimal digits, as every runtime makes them.
fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn container<'a>(parent: &str, name: &'a str) -> Option<Kind<'a>> {
    if name.contains("-conmon-") || name.starts_with("lxc.monitor") {
        return Some(Kind::Helper);
    }
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    for (prefix, brand) in SCOPES {
        let id = bare.strip_prefix(prefix).map(|rest| rest.strip_prefix("payload-").unwrap_or(rest));
        if let Some(id) = id.filter(|id| is_id(id)) {
            return Some(Kind::Container { brand, id });
        }
    }
    if is_id(name) {
        let brand = match parent {
            "docker" => "docker",
            "libpod_parent" => "podman",
            "default" | "k8s.io" | "buildkit" => "containerd",
            pod if pod.starts_with("pod") => "containerd",
            _ => "container",
        };
        return Some(Kind::Container { brand, id: name });
    }
    pod(parent, name).map(|uid| Kind::Pod { uid })
}

/// The uid of a pod: `kubepods-burstable-pod0a1b_….slice` of the systemd driver, `pod0a1b-…` of the other.
fn pod<'a>(parent: &str, name: &'a str) -> Option<&'a str> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(slice) => slice.strip_prefix("machine-libpod_pod_")?,
        None if parent.starts_with("kubepods") || matches!(parent, "burstable" | "besteffort" | "guaranteed") => {
            name.strip_prefix("pod")?
        }
        None => return None,
    };
    let is_uid = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'_'));
    is_uid.then_some(uid)
}

fn machine<'a>(parent: &str, name: &'a str) -> Option<Kind<'a>> {
    if let Some(name) = name.strip_prefix("lxc.payload.") {
        return Some(Kind::Lxc { name });
    }
    if matches!(parent, "lxc" | "lxc.payload") {
        return Some(Kind::Lxc { name });
    }
    if let Some(escaped) = name.strip_suffix(".libvirt-qemu") {
        return Some(Kind::Machine { brand: "libvirt", escaped });
    }
    if let Some(escaped) = name.strip_suffix(".libvirt-lxc") {
        return Some(Kind::Machine { brand: "libvirt-lxc", escaped });
    }
    if let Some(escaped) = name.strip_prefix("systemd-nspawn@").and_then(|n| n.strip_suffix(".service")) {
        return Some(Kind::Machine { brand: "nspawn", escaped });
    }
    let scope = name.strip_prefix("machine-").and_then(|n| n.strip_suffix(".scope"))?;
    let brand = if scope.starts_with(r"qemu\x2d") {
        "libvirt"
    } else if scope.starts_with(r"lxc\x2d") {
        "libvirt-lxc"
    } else {
        "machine"
    };
    Some(Kind::Machine { brand, escaped: scope })
}

fn unit(name: &str) -> Kind<'_> {
    if let Some(uid) = name.strip_prefix("user@").and_then(|n| n.strip_suffix(".service")) {
        Kind::Manager { uid }
    } else if name.ends_with(".service") {
        Kind::Service
    } else if name.ends_with(".slice") {
        Kind::Slice
    } else if name.starts_with("session-") && name.ends_with(".scope") {
        Kind::Session
    } else if name.ends_with(".scope") {
        Kind::Scope
    } else if IDLE_UNITS.iter().any(|suffix| name.ends_with(suffix)) {
        Kind::Helper
    } else {
        Kind::Plain
    }
}

/// The name of a machine: `qemu\x2d12\x2dweb\x2d1` is `web-1`.
pub(super) fn machine_name(escaped: &str) -> String {
    let name = unescape(escaped);
    let Some(own) = name.strip_prefix("qemu-").or_else(|| name.strip_prefix("lxc-")) else { return name };
    // libvirt numbers its machines since version 1.3.
    match own.split_once('-') {
        Some((number, rest)) if !rest.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => rest.to_owned(),
        _ => own.to_owned(),
    }
}

/// Undoes systemd's escapes: `\x2d` is a dash.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(r"\x") {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.extend_from_slice(br"\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A container that nobody has named: the first 12 digits of its id, as the runtimes themselves show it.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The name of a plain cgroup: the last two parts of its path, ids cut short.
pub(super) fn plain_name(path: &str) -> String {
    let mut parts = path.rsplit('/').filter(|part| !part.is_empty());
    let short = |part| if is_hex(part) && part.len() >= 32 { short_id(part) } else { part };
    let (last, before) = (parts.next().map(short), parts.next().map(short));
    match (before, last) {
        (Some(before), Some(last)) => format!("{before}/{last}"),
        (_, last) => last.unwrap_or("/").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "1b2c3d4e_0000_4000_8000_00000000000a";

    fn kind(path: &str) -> Kind<'_> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Kind::of(parent.rsplit('/').next().unwrap_or(""), name)
    }

    #[test]
    fn containers_are_known_wherever_their_runtime_puts_them() {
        for (path, brand) in [
            ("system.slice/docker-ID.scope", "docker"),
            ("docker/ID", "docker"),
            ("machine.slice/libpod-ID.scope", "podman"),
            ("libpod_parent/libpod-ID", "podman"),
            ("web.service/libpod-payload-ID", "podman"),
            ("kubepods-podU.slice/crio-ID.scope", "cri-o"),
            ("kubepods-podU.slice/cri-containerd-ID.scope", "containerd"),
            ("burstable/podU/ID", "containerd"),
            ("system.slice/nerdctl-ID.scope", "containerd"),
            ("default/ID", "containerd"),
        ] {
            let path = path.replace("ID", ID);
            assert_eq!(kind(&path), Kind::Container { brand, id: ID }, "{path}");
        }
    }

    #[test]
    fn helpers_and_idle_units_are_no_zones() {
        let conmon = format!("machine.slice/libpod-conmon-{ID}.scope");
        for path in [conmon.as_str(), "lxc.monitor.web", "system.slice/tmp.mount", "system.slice/dbus.socket"] {
            assert_eq!(kind(path), Kind::Helper, "{path}");
        }
    }

    #[test]
    fn pods_are_known_by_both_drivers() {
        let slice = format!("kubepods-burstable.slice/kubepods-burstable-pod{UID}.slice");
        assert_eq!(kind(&slice), Kind::Pod { uid: UID });
        let plain = format!("kubepods/pod{}", UID.replace('_', "-"));
        assert!(matches!(kind(&plain), Kind::Pod { .. }));
        assert_eq!(kind("kubepods.slice/kubepods-burstable.slice"), Kind::Slice);
        assert_eq!(kind("user.slice/podcast.service"), Kind::Service);
    }

    #[test]
    fn machines_keep_the_name_their_owner_gave_them() {
        for (path, brand, name) in [
            (r"machine.slice/machine-qemu\x2d12\x2dweb\x2d1.scope", "libvirt", "web-1"),
            (r"machine.slice/machine-qemu\x2dweb.scope", "libvirt", "web"),
            ("machine/qemu-3-db.libvirt-qemu", "libvirt", "db"),
            (r"machine.slice/machine-lxc\x2d99\x2dbox.scope", "libvirt-lxc", "box"),
            ("machine.slice/systemd-nspawn@build.service", "nspawn", "build"),
            ("machine.slice/machine-arch.scope", "machine", "arch"),
            (r"machine.slice/machine-caf\xc3\xa9.scope", "machine", "café"),
        ] {
            let Kind::Machine { brand: found, escaped } = kind(path) else { panic!("{path}: {:?}", kind(path)) };
            assert_eq!((found, machine_name(escaped).as_str()), (brand, name), "{path}");
        }
        assert_eq!(unescape(r"a\xzz\x2"), r"a\xzz\x2");
    }

    #[test]
    fn lxc_containers_are_known_in_old_places_and_new() {
        for path in ["lxc.payload.web", "lxc/web", "lxc.payload/web"] {
            assert_eq!(kind(path), Kind::Lxc { name: "web" }, "{path}");
        }
    }

    #[test]
    fn a_plain_cgroup_is_called_by_the_end_of_its_path() {
        assert_eq!(plain_name("/jobs"), "jobs");
        assert_eq!(plain_name("/a/jobs/batch"), "jobs/batch");
        assert_eq!(plain_name(&format!("/jobs/{ID}")), "jobs/0123456789ab");
        assert_eq!(plain_name("/a/cafe"), "a/cafe");
    }
}
