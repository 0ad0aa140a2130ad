//! Links of a zone: `link:<n>:<link>` (class net, uts/common/io/mac/mac_stat.c and dls/dls_stat.c). Seen from the global zone a
//! zone's link is called `z<id>_<link>`; the prefix is cut off, since ids change.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "net",
    table: "net",
    modules: &["link"],
    select: |id| id.module == "link",
    owner: Owner::Link,
    // The 32-bit counters say nothing that the 64-bit ones do not; state and duplex change nothing that is measured.
    ignore: &["rbytes", "obytes", "ipackets", "opackets", "link_state", "link_duplex", "dropped_runts"],
    row: |frame, kstat| {
        frame.net.push(v1::Net { link: link(kstat.id.name).to_owned(), ..v1::Net::default() });
        frame.net.last_mut().map_or(Row::None, |row| Row::Fill(row))
    },
};

/// `net0` of `z6_net0`.
fn link(name: &str) -> &str {
    match name.strip_prefix('z').and_then(|rest| rest.split_once('_')) {
        Some((id, link)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => link,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::link;

    #[test]
    fn the_zone_id_is_no_part_of_a_links_name() {
        for (name, expected) in
            [("z6_net0", "net0"), ("net0", "net0"), ("zone_a", "zone_a"), ("z_net0", "z_net0"), ("z12_z3_x", "z3_x")]
        {
            assert_eq!(link(name), expected);
        }
    }
}
