//! Finds the zones: the cgroups that a person would call a container, a VM, a service.
//!
//! Every tick walks every hierarchy anew, so a cgroup is a zone by the tick after it was made. That is cheap: a
//! directory of cgroupfs tells by its link count whether there is any below it (its time of change tells
//! nothing: kernfs leaves it alone), so only inner ones are listed, and one that is known costs a stat.
//!
//! The same path in several hierarchies is one group. A group whose inode changed is another one that took its
//! place. A name once given stays as long as the group lives; a newcomer that wants the same gets it with an
//! addition. Of newcomers of one tick the one with the lower inode, which is the older one, comes first: a
//! restarted generator gives the same names, but for namesakes whose elders have gone.

use std::collections::{BTreeMap, HashSet};

use zonescope_proto::ZoneName;

use super::files::{Files, Names, Text};
use super::hierarchy::{self, Hierarchy};
use super::identify::{Identity, identify, with_end};
use super::limits::{MAX_DEPTH, MAX_ZONES, MOUNTS_EVERY};
use super::naming::{Below, Kind};
use super::reader::{Tally, is_absent};

/// The groups that are known.
#[derive(Default)]
pub(super) struct Discovery {
    pub(super) hierarchies: Vec<Hierarchy>,
    groups: BTreeMap<String, Group>,
    names: HashSet<ZoneName>,
    round: u64,
    serial: u64,
    pool: Vec<Names>,
}

/// A cgroup that is known.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: ZoneName,
    pub(super) brand: &'static str,
    pub(super) uuid: String,
    pub(super) inode: u64,
    /// Another for each group that ever was.
    pub(super) serial: u64,
    /// In which hierarchies it is: a bit each.
    pub(super) hierarchies: u32,
    /// The hierarchy of its inode.
    from: usize,
    /// The round in which it was seen last.
    seen: u64,
    /// Whether it is shown as a zone: what only holds a pod's namespaces is not.
    listed: bool,
}

/// A group that was not known before this round.
struct Newcomer {
    inode: u64,
    from: usize,
    hierarchies: u32,
    user: Option<String>,
}

impl Discovery {
    /// Looks at every cgroup.
    pub(super) fn scan(&mut self, files: &mut dyn Files, text: &mut Text, tally: &mut Tally) {
        if self.hierarchies.is_empty() || self.round.is_multiple_of(MOUNTS_EVERY) {
            match hierarchy::hierarchies(files, text) {
                Ok(found) => self.mounted(found),
                Err(error) => tally.fail(format!("cannot read /proc/self/mountinfo: {error}")),
            }
        }
        self.round += 1;
        let mut newcomers = BTreeMap::new();
        for (index, hierarchy) in self.hierarchies.iter().enumerate() {
            let mut walk = Walk {
                files,
                tally,
                hierarchy: index,
                mount: hierarchy.mount.len(),
                path: hierarchy.mount.clone(),
                groups: &mut self.groups,
                newcomers: &mut newcomers,
                round: self.round,
                pool: &mut self.pool,
            };
            walk.below(0, Below::Everything, None);
        }
        self.forget_vanished();
        self.admit(files, newcomers, tally);
    }

    /// The zones of this round, in the order of their paths: outer ones before those in them.
    pub(super) fn zones(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().filter(|(_, group)| group.listed).map(|(path, group)| (path.as_str(), group))
    }

    /// Takes the hierarchies that are mounted now. Others than before make every group a new one.
    fn mounted(&mut self, mut found: Vec<Hierarchy>) {
        found.truncate(u32::BITS as usize);
        if found != self.hierarchies {
            self.hierarchies = found;
            self.groups.clear();
            self.names.clear();
        }
    }

    fn forget_vanished(&mut self) {
        let (round, names) = (self.round, &mut self.names);
        self.groups.retain(|_, group| {
            let stays = group.seen == round;
            if !stays {
                names.remove(&group.name);
            }
            stays
        });
    }

    fn admit(&mut self, files: &mut dyn Files, newcomers: BTreeMap<String, Newcomer>, tally: &mut Tally) {
        let mut newcomers: Vec<_> = newcomers.into_iter().collect();
        newcomers.sort_by(|(a_path, a), (b_path, b)| (a.inode, a_path).cmp(&(b.inode, b_path)));
        for (path, newcomer) in newcomers {
            if self.groups.len() >= MAX_ZONES {
                tally.drops += 1;
                continue;
            }
            let mount = &self.hierarchies[newcomer.from].mount;
            let Some(identity) = identify(files, mount, &path, newcomer.user.as_deref()) else { continue };
            // One that was made anew under its path, and is in another hierarchy as it was.
            let before = self.groups.remove(&path);
            if let Some(before) = &before {
                self.names.remove(&before.name);
            }
            let name = self.unique(&identity);
            self.serial += 1;
            let group = Group {
                name,
                brand: identity.brand,
                uuid: identity.uuid,
                inode: newcomer.inode,
                serial: self.serial,
                hierarchies: newcomer.hierarchies | before.map_or(0, |b| b.hierarchies),
                from: newcomer.from,
                seen: self.round,
                listed: identity.listed,
            };
            self.groups.insert(path, group);
        }
    }

    /// A name that no other group has.
    fn unique(&mut self, identity: &Identity) -> ZoneName {
        let mut name = ZoneName::lossy(&identity.name);
        if !identity.listed {
            return name;
        }
        let mut attempt = 1;
        while name.as_str() == ZoneName::GLOBAL || !self.names.insert(name.clone()) {
            let addition =
                if attempt == 1 { format!("@{}", identity.apart) } else { format!("@{}~{attempt}", identity.apart) };
            name = ZoneName::lossy(&with_end(&identity.name, &addition));
            attempt += 1;
        }
        name
    }
}

/// A walk through one hierarchy.
struct Walk<'a> {
    files: &'a mut dyn Files,
    tally: &'a mut Tally,
    hierarchy: usize,
    /// How much of `path` is the mount point.
    mount: usize,
    path: String,
    groups: &'a mut BTreeMap<String, Group>,
    newcomers: &'a mut BTreeMap<String, Newcomer>,
    round: u64,
    pool: &'a mut Vec<Names>,
}

impl Walk<'_> {
    /// Looks at every group below `path`.
    fn below(&mut self, depth: usize, below: Below, user: Option<&str>) {
        let mut names = self.pool.pop().unwrap_or_default();
        match self.files.list(&self.path, &mut names) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => names.clear(),
            Err(error) => {
                names.clear();
                self.tally.fail(format!("cannot list {}: {error}", self.path));
            }
        }
        let end = self.path.len();
        for name in names.directories() {
            let kind = Kind::of(self.path[self.mount..].rsplit('/').next().unwrap_or_default(), name);
            self.path.push('/');
            self.path.push_str(name);
            self.group(kind, depth, below, user);
            self.path.truncate(end);
        }
        self.pool.push(names);
    }

    fn group(&mut self, kind: Kind<'_>, depth: usize, allowed: Below, user: Option<&str>) {
        if kind == Kind::Helper {
            return;
        }
        let Ok(node) = self.files.node(&self.path) else { return };
        if allowed == Below::Everything || kind.is_container() {
            self.note(node.inode, user);
        }
        // Below a service there are only containers, however they are nested.
        let below = match kind.below() {
            Below::Everything if allowed == Below::Containers && !kind.is_container() => Below::Containers,
            below => below,
        };
        let user = if let Kind::Manager { uid } = kind { Some(uid) } else { user };
        if below != Below::Nothing && node.links != 2 && depth < MAX_DEPTH {
            self.below(depth + 1, below, user);
        }
    }

    /// Notes a group that may be a zone.
    fn note(&mut self, inode: u64, user: Option<&str>) {
        let (path, bit) = (&self.path[self.mount..], 1 << self.hierarchy);
        if let Some(group) = self.groups.get_mut(path)
            && (group.from != self.hierarchy || group.inode == inode)
        {
            group.hierarchies = if group.seen == self.round { group.hierarchies | bit } else { bit };
            group.seen = self.round;
        } else if let Some(newcomer) = self.newcomers.get_mut(path) {
            newcomer.hierarchies |= bit;
        } else {
            let user = user.map(str::to_owned);
            let newcomer = Newcomer { inode, from: self.hierarchy, hierarchies: bit, user };
            self.newcomers.insert(path.to_owned(), newcomer);
        }
    }
}
