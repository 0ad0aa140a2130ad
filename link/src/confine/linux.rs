//! Capabilities, no_new_privs, and a process that cannot be dumped.

use rustix::io;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::Need;

/// /proc/PID/io and /proc/PID/ns of other users' processes; /proc/PID/fd, and container runtimes' records.
const PROCESSES: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// bpf(2) and perf_event_open(2) on the whole host, their locked memory on kernels before 5.11, and addresses of the kernel where
/// kptr_restrict hides them.
const DTRACE: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_RESOURCE).union(CapabilitySet::SYSLOG);

/// Not only core files: nobody but root may attach to this process either, or read its memory and environment in /proc. The kernel
/// refuses only values that it does not know.
pub(super) fn keep_out_of_core_files() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

pub(super) fn give_up_all_but(need: Need) {
    let keep = match need {
        Need::Nothing => CapabilitySet::empty(),
        Need::Processes => PROCESSES,
        // To anybody else dtrace is closed anyway.
        Need::Dtrace if rustix::process::geteuid().is_root() => PROCESSES.union(DTRACE),
        Need::Dtrace => PROCESSES,
    };
    match drop_to(keep) {
        Ok(left) => tracing::info!(capabilities = names(left), "every other privilege is given up"),
        Err(error) => tracing::warn!("cannot give up privileges: {error}; what may be done is up to who confined us"),
    }
}

/// Leaves at most `keep` in every set; says what is left.
fn drop_to(keep: CapabilitySet) -> io::Result<CapabilitySet> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let has = capabilities(None)?;
    // Without CAP_SETPCAP the bounding set stays: no_new_privs leaves no way to gain from it.
    if has.effective.contains(CapabilitySet::SETPCAP) {
        // One beyond the kernel's last capability is an error, and the end.
        for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            match capability_is_in_bounding_set(capability) {
                Ok(true) if !keep.contains(capability) => remove_capability_from_bounding_set(capability)?,
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
    let left = has.permitted.intersection(keep);
    let wanted = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    // A filter of system calls may forbid capset(2) to who has nothing to give up.
    if capabilities(None)? != wanted {
        set_capabilities(None, wanted)?;
    }
    Ok(left)
}

/// As `DAC_READ_SEARCH SYS_PTRACE`; `none` where there is none.
fn names(set: CapabilitySet) -> String {
    match set.is_empty() {
        true => "none".to_owned(),
        false => set.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" "),
    }
}
