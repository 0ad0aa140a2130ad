//! Virtual CPUs of a bhyve zone: `vmm:<vm>:vcpu<n>` (class misc, i86pc/io/vmm/vmm_sol_dev.c and vmm.c). The kernel makes
//! kstats for as many virtual CPUs as a VM can have; those that it has not stand at zero for ever, and have no row.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "vcpu",
    table: "vcpu",
    modules: &["vmm"],
    select: |id| id.module == "vmm" && vcpu(id.name).is_some(),
    owner: Owner::Vm,
    // the label
    ignore: &["vcpu"],
    row: |frame, kstat| match vcpu(kstat.id.name) {
        Some(vcpu) if kstat.stats.iter().any(|(name, stat)| name.starts_with("time_") && stat.uint() != Some(0)) => {
            frame.vcpu.push(v1::Vcpu { vcpu, ..v1::Vcpu::default() });
            frame.vcpu.last_mut().map_or(Row::None, |row| Row::Fill(row))
        }
        _ => Row::None,
    },
};

/// 3 of `vcpu3`.
fn vcpu(name: &str) -> Option<u64> {
    name.strip_prefix("vcpu")?.parse().ok()
}
