//! The families of kstats: one file each, and one line each in [`FAMILIES`].

mod arc;
mod caps;
mod core;
mod cpu;
mod cpucaps;
mod disk;
mod disk_error;
pub mod host;
mod host_memory;
mod ip;
pub mod memory;
mod net;
mod tcp;
mod udp;
mod vcpu;
mod zone_vfs;
mod zone_zfs;
mod zpool;

use zonescope_proto::v1;

use super::chain::{Id, Kstat};
use super::columns::Fields;

/// Whose a kstat is. See the module's parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The host's.
    Host,
    /// By `zonename`, else by instance.
    Zone,
    /// By `zonename`, else the host's: a link's instance says nothing.
    Link,
    /// By instance, which is the number of the network stack: 0 is the host's.
    NumberedStack,
    /// Of the zone that we run in, whose stack it is, unless that stack is the host's.
    Stack,
    /// Of the zone that runs the VM.
    Vm,
}

/// The row that a kstat fills.
pub enum Row<'a> {
    /// This one, by the statistics that frame.proto names.
    Fill(&'a mut dyn Fields),
    /// It has been filled.
    Done,
    /// None: the kstat is not what it seemed.
    None,
}

/// One family of kstats: a table of frame.proto, and the kstats that fill it.
pub struct KstatFamily {
    /// As the family `collect` names it.
    pub name: &'static str,
    /// The table that it fills.
    pub table: &'static str,
    /// The modules whose statistics fill it.
    pub modules: &'static [&'static str],
    /// Which kstats.
    pub select: fn(Id<'_>) -> bool,
    /// Whose they are.
    pub owner: Owner,
    /// Statistics that we know and leave out.
    pub ignore: &'static [&'static str],
    /// Finds or makes the row.
    pub row: for<'a> fn(&'a mut v1::Frame, &Kstat<'_>) -> Row<'a>,
}

/// Every family of kstats.
pub static FAMILIES: &[&KstatFamily] = &[
    &cpu::FAMILY,
    &cpucaps::FAMILY,
    &caps::FAMILY,
    &memory::FAMILY,
    &zone_vfs::FAMILY,
    &zone_zfs::FAMILY,
    &net::FAMILY,
    &tcp::FAMILY,
    &udp::FAMILY,
    &udp::IN_IP,
    &ip::FAMILY,
    &core::FAMILY,
    &core::INFO,
    &host_memory::FAMILY,
    &arc::FAMILY,
    &zpool::FAMILY,
    &disk::FAMILY,
    &disk_error::FAMILY,
    &vcpu::FAMILY,
];
