//! What zones need to know of their host: CPUs (`unix:0:system_misc`) and memory (`unix:0:system_pages`): the capacity
//! of those without a cap.

use super::super::Host;
use super::super::chain::{Id, Kstat};

/// Whether a kstat says something of it.
pub fn wanted(id: Id<'_>) -> bool {
    id.module == "unix" && matches!(id.name, "system_misc" | "system_pages")
}

/// Takes a kstat into account.
pub fn learn(host: &mut Host, kstat: &Kstat<'_>) {
    match kstat.id.name {
        "system_misc" if kstat.id.module == "unix" => host.ncpus = kstat.stat("ncpus").and_then(|s| s.uint()),
        "system_pages" if kstat.id.module == "unix" => host.physmem = kstat.stat("physmem").and_then(|s| s.uint()),
        _ => {}
    }
}
