//! The host's CPUs: `cpu:<n>:sys` (class misc, uts/common/os/cpu.c) and, for the clock, `cpu_info:<n>:cpu_info<n>`.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "core",
    table: "core",
    modules: &["cpu"],
    select: |id| id.module == "cpu" && id.name == "sys",
    owner: Owner::Host,
    ignore: &[
        // the same in ticks of 10 ms
        "cpu_ticks_idle",
        "cpu_ticks_user",
        "cpu_ticks_kernel",
        "cpu_ticks_wait",
        "cpu_load_intr",
        "wait_ticks_io",
        // System V accounting of buffers, terminals, messages, inodes
        "bread",
        "bwrite",
        "lread",
        "lwrite",
        "phread",
        "phwrite",
        "rcvint",
        "xmtint",
        "mdmint",
        "rawch",
        "canch",
        "outch",
        "msg",
        "sema",
        "namei",
        "ufsiget",
        "ufsdirblk",
        "ufsipage",
        "ufsinopage",
        "procovf",
        "bawrite",
        "iowait",
        "modload",
        "modunload",
        // what DTrace tells better: by zone and process
        "trap",
        "intr",
        "sysread",
        "syswrite",
        "sysfork",
        "sysvfork",
        "sysexec",
        "readch",
        "writech",
        "intrthread",
        "intrblk",
        "intrunpin",
        "idlethread",
        "nthreads",
        "cpumigrate",
        "mutex_adenters",
        "rw_rdfails",
        "rw_wrfails",
    ],
    row: |frame, kstat| row(frame, kstat.id.instance),
};

/// Fills the same row from `cpu_info`.
pub(super) const INFO: KstatFamily = KstatFamily {
    name: "cpu_info",
    table: "core",
    modules: &["cpu_info"],
    select: |id| id.module == "cpu_info",
    owner: Owner::Host,
    // what the processor is, which does not change
    ignore: &[
        "state",
        "state_begin",
        "cpu_type",
        "fpu_type",
        "clock_MHz",
        "chip_id",
        "implementation",
        "brand",
        "core_id",
        "supported_frequencies_Hz",
        "pg_id",
        "vendor_id",
        "family",
        "model",
        "stepping",
        "clog_id",
        "pkg_core_id",
        "ncpu_per_chip",
        "ncore_per_chip",
        "supported_max_cstates",
        "current_cstate",
        "cache_id",
        "socket_type",
        "device_ID",
        "ucode_rev",
        "ucoderev",
        "therm_chip_id",
        "apicid",
        "sff",
    ],
    row: |frame, kstat| match core_of(frame, kstat.id.instance) {
        // Its own creation and reading times are not those of the counters.
        Some(row) => {
            row.current_clock_hz = kstat.stat("current_clock_Hz").and_then(|s| s.uint());
            Row::Done
        }
        None => Row::None,
    },
};

fn row(frame: &mut v1::Frame, instance: i32) -> Row<'_> {
    core_of(frame, instance).map_or(Row::None, |row| Row::Fill(row))
}

/// The row of one CPU, made where it is not there: the two kstats come in any order.
fn core_of(frame: &mut v1::Frame, instance: i32) -> Option<&mut v1::Core> {
    let core = u64::try_from(instance).ok()?;
    let at = frame.core.iter().position(|c| c.core == core).unwrap_or_else(|| {
        frame.core.push(v1::Core { core, ..v1::Core::default() });
        frame.core.len() - 1
    });
    frame.core.get_mut(at)
}
