//! Where this system's cgroups are mounted.
//!
//! cgroup v2 is one hierarchy with every controller. v1 has a hierarchy for each controller, or for several
//! together (`cpu,cpuacct`), and one for systemd that has none (`name=systemd`). A hybrid has v1's controllers
//! beside a v2 mount without any, where cpu.stat and the pressure files are nevertheless. The same group has the
//! same path in all of them.

use super::files::{Files, Text};
use super::parse;

/// What a hierarchy can say of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Cpu,
    Cpuacct,
    Memory,
    Blkio,
    Pids,
}

impl Controller {
    const ALL: [(&'static str, Controller); 5] = [
        ("cpu", Controller::Cpu),
        ("cpuacct", Controller::Cpuacct),
        ("memory", Controller::Memory),
        ("blkio", Controller::Blkio),
        ("pids", Controller::Pids),
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted, no slash at the end.
    pub(super) mount: String,
    /// Which of its groups is mounted there; empty for the root.
    root: String,
    /// Whether it is v2.
    pub(super) unified: bool,
    /// v1's controllers in it.
    controllers: u8,
}

impl Hierarchy {
    /// Whether it has a v1 controller.
    pub(super) fn has(&self, controller: Controller) -> bool {
        self.controllers & controller.bit() != 0
    }

    /// Whether /proc/<pid>/cgroup calls it so: by v1's controllers, v2 by nothing.
    pub(super) fn is_called(&self, controllers: &str) -> bool {
        if self.unified {
            return controllers.is_empty();
        }
        let mut named =
            controllers.split(',').filter_map(|name| Controller::ALL.iter().find(|(known, _)| *known == name));
        named
            .next()
            .map_or(self.controllers == 0 && controllers == "name=systemd", |(_, controller)| self.has(*controller))
    }

    /// A path of /proc/<pid>/cgroup as this mount sees it.
    pub(super) fn localize<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.root.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The hierarchies worth walking, most telling first: v2, then v1's; systemd's own only where v2 does not show
/// the same groups.
pub(super) fn hierarchies(files: &mut dyn Files, text: &mut Text) -> std::io::Result<Vec<Hierarchy>> {
    files.read("/proc/self/mountinfo", text)?;
    Ok(of_mountinfo(text))
}

fn of_mountinfo(mountinfo: &[u8]) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut systemd = None;
    for line in parse::lines(mountinfo) {
        let Some((hierarchy, named_systemd)) = of_line(line) else { continue };
        let known = |h: &Hierarchy| (h.unified, h.controllers) == (hierarchy.unified, hierarchy.controllers);
        if named_systemd {
            systemd.get_or_insert(hierarchy);
        } else if let Some(other) = found.iter_mut().find(|h| known(h)) {
            // The same again, as in a container's own /sys: whoever shows more of it counts, then who is nearer.
            if (hierarchy.root.len(), hierarchy.mount.len()) < (other.root.len(), other.mount.len()) {
                *other = hierarchy;
            }
        } else if hierarchy.unified || hierarchy.controllers != 0 {
            found.push(hierarchy);
        }
    }
    found.sort_by_key(|h| !h.unified);
    if !found.iter().any(|h| h.unified) {
        found.extend(systemd);
    }
    found
}

/// `31 23 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu`, and whether it is systemd's.
fn of_line(line: &[u8]) -> Option<(Hierarchy, bool)> {
    let line = std::str::from_utf8(line).ok()?;
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let unified = match after.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = after.nth(1).unwrap_or_default();
    let mut before = before.split(' ').skip(3);
    let root = unescape(before.next()?);
    let mount = unescape(before.next()?);
    let controllers = options.split(',').filter_map(|option| Controller::ALL.iter().find(|(name, _)| *name == option));
    let controllers = if unified { 0 } else { controllers.fold(0, |bits, (_, controller)| bits | controller.bit()) };
    let hierarchy = Hierarchy {
        mount: mount.trim_end_matches('/').to_owned(),
        root: root.trim_end_matches('/').to_owned(),
        unified,
        controllers,
    };
    Some((hierarchy, options.split(',').any(|option| option == "name=systemd")))
}

/// Undoes `\040` for a blank, as mountinfo escapes it.
fn unescape(field: &str) -> String {
    let mut rest = field;
    let mut plain = String::with_capacity(field.len());
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mountinfo: &str) -> Vec<String> {
        let what = |h: &Hierarchy| if h.unified { "v2".to_owned() } else { format!("{:05b}", h.controllers) };
        of_mountinfo(mountinfo.as_bytes()).iter().map(|h| format!("{} {} {}", h.mount, h.root, what(h))).collect()
    }

    #[test]
    fn a_v2_system_has_one_hierarchy() {
        let mounts = "24 31 0:22 / /proc rw - proc proc rw\n\
                      30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(shown(mounts), ["/sys/fs/cgroup  v2"]);
    }

    #[test]
    fn a_hybrid_has_v2_first_and_no_need_of_systemds() {
        let mounts = "1 0 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n\
                      2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      3 0 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      4 0 0:4 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n\
                      5 0 0:5 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(
            shown(mounts),
            ["/sys/fs/cgroup/unified  v2", "/sys/fs/cgroup/cpu,cpuacct  00011", "/sys/fs/cgroup/memory  00100"]
        );
    }

    #[test]
    fn a_v1_system_shows_its_services_in_systemds_own_hierarchy() {
        let mounts = "2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      5 0 0:5 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(shown(mounts), ["/sys/fs/cgroup/memory  00100", "/sys/fs/cgroup/systemd  00000"]);
    }

    #[test]
    fn a_mount_of_a_part_gives_way_to_one_of_the_whole() {
        let mounts = "5 0 0:5 /docker/abc /run/c/sys/memory rw - cgroup cgroup rw,memory\n\
                      6 0 0:5 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(shown(mounts), ["/sys/fs/cgroup/memory  00100"]);
        let inside = of_mountinfo(b"5 0 0:5 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        assert_eq!(inside[0].localize("/docker/abc/inner"), Some("/inner"));
        assert_eq!(inside[0].localize("/docker/abcd"), None);
    }

    #[test]
    fn blanks_in_mount_points_are_escaped() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/a\04"), r"/a\04");
        assert_eq!(unescape(r"/a\ü1"), r"/a\ü1");
    }
}
