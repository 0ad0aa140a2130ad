//! One zone in one tick: where its files are, and the frame that is being filled.

use std::collections::HashMap;

use zonescope_proto::v1;

use super::discover::{Discovery, Group};
use super::hierarchy::{Controller, Hierarchy};

/// One zone in one tick.
pub(super) struct Zone<'a> {
    pub(super) group: &'a Group,
    pub(super) path: &'a str,
    pub(super) hierarchies: &'a [Hierarchy],
    /// The zone it is in.
    pub(super) parent: Option<usize>,
    pub(super) frame: v1::Frame,
    pub(super) census: Census,
    /// A process through which the zone's own network is seen. `None` where it has the host's.
    pub(super) net: Option<u32>,
}

/// The processes of a zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) processes: u64,
    pub(super) threads: u64,
    /// When the oldest of its own, not of a zone in it, started, and its pid.
    pub(super) oldest: Option<(u64, u32)>,
}

/// A group's directory in one hierarchy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dir<'a> {
    mount: &'a str,
    path: &'a str,
    /// Whether its files are v2's.
    pub(super) unified: bool,
}

impl<'a> Dir<'a> {
    /// A file in it, as the parts of a path.
    pub(super) fn file(self, name: &'a str) -> [&'a str; 4] {
        [self.mount, self.path, "/", name]
    }
}

impl<'a> Zone<'a> {
    /// Where a controller speaks of the zone: v1's own hierarchy if the group is in it, else v2.
    pub(super) fn dir(&self, controller: Controller) -> Option<Dir<'a>> {
        self.find(|h| h.has(controller)).or_else(|| self.unified())
    }

    /// The zone in v2.
    pub(super) fn unified(&self) -> Option<Dir<'a>> {
        self.find(|h| h.unified)
    }

    fn find(&self, wanted: impl Fn(&Hierarchy) -> bool) -> Option<Dir<'a>> {
        let mine = |index: usize| self.group.hierarchies & (1 << index) != 0;
        let found = self.hierarchies.iter().enumerate().find(|(index, h)| mine(*index) && wanted(h));
        found.map(|(_, h)| Dir { mount: &h.mount, path: self.path, unified: h.unified })
    }
}

/// Which path is which zone.
pub(super) type Places<'a> = HashMap<&'a str, usize>;

/// The zones of this tick, and their places.
pub(super) fn zones(discovery: &Discovery) -> (Vec<Zone<'_>>, Places<'_>) {
    let mut zones = Vec::new();
    let mut places = Places::new();
    for (path, group) in discovery.zones() {
        zones.push(Zone {
            group,
            path,
            hierarchies: &discovery.hierarchies,
            parent: deepest(&places, path),
            frame: v1::Frame::default(),
            census: Census::default(),
            net: None,
        });
        places.insert(path, zones.len() - 1);
    }
    (zones, places)
}

/// The innermost zone that `path` is in or is.
pub(super) fn deepest(places: &Places<'_>, path: &str) -> Option<usize> {
    let mut path = path;
    loop {
        if let Some(zone) = places.get(path) {
            return Some(*zone);
        }
        path = path.rsplit_once('/')?.0;
    }
}
