//! Which zones there are, and each one's frame while it is being filled.
//!
//! From the kstats of module `zones`, completed from `/etc/zones` ([`zone_files`](super::zone_files)). Zones are looked
//! up thousands of times a tick, by name and by id, and so they stand in a vector and are known by their place in it.

use std::collections::HashMap;
use std::path::PathBuf;

use zonescope_proto::{ZoneName, v1};

use super::chain::{Id, Kstat, Stat, Visitor};
use super::zone_files::ZoneFiles;
use crate::source::{Sample, ZoneSample};

/// What SmartOS puts before the debug id of a zone in the name of its VM (`add_vmname`, lib/brand/bhyve/zone/boot.c of
/// illumos-joyent).
const SMARTOS_VM: &str = "SYSbhyve-";

/// Zones of the current tick.
#[derive(Debug, Default)]
pub struct Zones {
    entries: Vec<(ZoneName, ZoneSample)>,
    by_id: HashMap<i32, usize>,
    by_name: HashMap<String, usize>,
    /// The zone of each VM, by the instance of its kstats.
    by_vm: HashMap<i32, usize>,
    /// Whether the network stack that zones share is in the chain.
    shares_stack: bool,
    files: ZoneFiles,
}

impl Zones {
    /// Brand and uuid come from below `directory`.
    pub fn read_files_below(&mut self, directory: PathBuf) {
        self.files = ZoneFiles::below(directory);
    }

    /// A new tick: forgets the zones of the last one, and goes on with what other sources have put into the sample.
    pub fn begin(&mut self, sample: &mut Sample) {
        self.entries.clear();
        self.by_id.clear();
        self.by_name.clear();
        self.by_vm.clear();
        self.shares_stack = false;
        for (name, zone) in std::mem::take(&mut sample.zones) {
            self.by_name.insert(name.to_string(), self.entries.len());
            self.entries.push((name, zone));
        }
        self.files.refresh();
    }

    fn learn_zone(&mut self, kstat: &Kstat<'_>) {
        let at = self.named(kstat.zonename().unwrap_or(kstat.id.name));
        let boot_s = kstat.stat("boot_time").and_then(|s| s.uint()).unwrap_or(0);
        let zone = &mut self.entries[at].1.zone;
        zone.id = kstat.id.instance.cast_unsigned().into();
        zone.boot_time = boot_s.saturating_mul(1_000_000_000);
        if let Some(Stat::Text(brand)) = kstat.stat("brand") {
            brand.clone_into(&mut zone.brand);
        }
        self.files.complete(zone);
        self.by_id.insert(kstat.id.instance, at);
    }

    /// A VM's kstats have no `zonename`, but one of them has its name: the zone's own, or on SmartOS one made of the
    /// zone's debug id.
    fn learn_vm(&mut self, kstat: &Kstat<'_>) {
        let Some(Stat::Text(vm)) = kstat.stat("vm_name") else { return };
        let of_debug_id = vm.strip_prefix(SMARTOS_VM).and_then(|id| self.files.with_debug_id(id));
        if let Some(at) = self.by_name.get(of_debug_id.unwrap_or(vm)) {
            self.by_vm.insert(kstat.id.instance, *at);
        }
    }

    /// Hands every zone to the sample: one without any other kstat has its frame too.
    pub fn end(&mut self, sample: &mut Sample) {
        sample.zones.extend(self.entries.drain(..));
    }

    /// The zone of that name, whether or not `zones` has it: older platforms do not.
    pub fn named(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let own = ZoneName::lossy(name);
        let zone = v1::Zone { name: own.to_string(), ..v1::Zone::default() };
        self.by_name.insert(name.to_owned(), self.entries.len());
        self.entries.push((own, ZoneSample { zone, ..ZoneSample::default() }));
        self.entries.len() - 1
    }

    /// The zone of that id.
    pub fn numbered(&mut self, id: i32) -> Option<usize> {
        if id == 0 { Some(self.global()) } else { self.by_id.get(&id).copied() }
    }

    /// `global`.
    pub fn global(&mut self) -> usize {
        self.named(ZoneName::GLOBAL)
    }

    /// The zone that we run in: from the global zone `global` is among the zones; inside a zone there is only its own.
    pub fn own(&mut self) -> usize {
        match self.by_id.values().next() {
            Some(only) if self.by_id.len() == 1 => *only,
            _ => self.global(),
        }
    }

    /// The zone of the network stack whose kstats have instance 0: the host's, which a zone without a stack of its own
    /// sees as well, or else that of the zone that we run in.
    pub fn of_stack_zero(&mut self) -> usize {
        if self.shares_stack { self.global() } else { self.own() }
    }

    /// The zone of a VM; of one that the global zone runs itself, `global`.
    pub fn of_vm(&mut self, instance: i32) -> usize {
        match self.by_vm.get(&instance) {
            Some(at) => *at,
            None => self.own(),
        }
    }

    /// The id of a zone that only its other kstats tell of.
    pub fn note_id(&mut self, at: usize, id: i32) {
        let zone = &mut self.entries[at].1.zone;
        if zone.id == 0 && zone.name != ZoneName::GLOBAL {
            zone.id = id.cast_unsigned().into();
        }
    }

    /// The frame of the zone at that place.
    pub fn frame(&mut self, at: usize) -> &mut v1::Frame {
        &mut self.entries[at].1.frame
    }

    /// Every frame.
    pub fn frames(&mut self) -> impl Iterator<Item = &mut v1::Frame> {
        self.entries.iter_mut().map(|(_, zone)| &mut *zone.frame)
    }
}

impl Visitor for Zones {
    fn wants(&self, id: Id<'_>) -> bool {
        id.module == "zones" || (id.module == "vmm" && id.name == "vm") || is_shared_stack(id)
    }

    fn kstat(&mut self, kstat: &Kstat<'_>) {
        match kstat.id.module {
            "zones" => self.learn_zone(kstat),
            "vmm" => self.learn_vm(kstat),
            _ => self.shares_stack = true,
        }
    }
}

/// The kstat of TCP alone carries the number of its stack (`tcp_kstat_init`, inet/tcp/tcp_stats.c); those of IP and UDP
/// say 0 in every stack (`ip_kstat_init`, inet/ip/ip.c).
fn is_shared_stack(id: Id<'_>) -> bool {
    id.module == "tcp" && id.name == "tcp" && id.instance == 0
}
