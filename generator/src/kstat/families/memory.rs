//! Memory of a zone: `memory_cap:<id>:<name>` (class zone_memory_cap, uts/common/os/zone.c of illumos-joyent).
//!
//! "No limit" has two spellings. Limits on swap are 18446744073709551615. The limit of resident memory is kept in 32
//! bits of pages, all of them set where there is none (`zpers_pg_limit`, UINT32_MAX, os/zone.c), and its kstats say
//! that in bytes: 17592186040320 with pages of 4 KiB. Here it becomes the first spelling.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "memory",
    table: "memory",
    modules: &["memory_cap"],
    select: |id| id.module == "memory_cap",
    owner: Owner::Zone,
    ignore: &[],
    row: |frame, _| Row::Fill(frame.memory.get_or_insert_default()),
};

/// Gives "no limit" of resident memory one spelling.
pub fn normalise(frame: &mut v1::Frame, page_size: u64) {
    let none = page_size.saturating_mul(u64::from(u32::MAX));
    let physcap = frame.memory.as_mut().and_then(|m| m.physcap.as_mut());
    let caps = frame.caps.iter_mut().filter(|c| c.resource == "physicalmem").filter_map(|c| c.value.as_mut());
    for limit in physcap.into_iter().chain(caps).filter(|limit| **limit == none) {
        *limit = u64::MAX;
    }
}
