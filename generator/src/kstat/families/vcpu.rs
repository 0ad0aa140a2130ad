//! Virtual CPUs of a bhyve zone: `vmm:<vm>:vcpu<n>` (class misc, intel/io/vmm/vmm_sol_dev.c and vmm.c). `zonename` says whose it is; a
//! VM that the global zone runs itself belongs to `global`.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "vcpu",
    table: "vcpu",
    modules: &["vmm"],
    select: |id| id.module == "vmm" && vcpu(id.name).is_some(),
    owner: Owner::Link,
    ignore: &["vm_name"],
    row: |frame, kstat| match vcpu(kstat.id.name) {
        Some(vcpu) => {
            frame.vcpu.push(v1::Vcpu { vcpu, ..v1::Vcpu::default() });
            frame.vcpu.last_mut().map_or(Row::None, |row| Row::Fill(row))
        }
        None => Row::None,
    },
};

/// 3 of `vcpu3`.
fn vcpu(name: &str) -> Option<u64> {
    name.strip_prefix("vcpu")?.parse().ok()
}
