//! Which fields [`super::usage`] reads: for whoever has a frame's fields in columns and reads only what is needed.

/// Families, by their tables, and the fields that are read of each. Of the header it is the zone's id and boot time,
/// and the tick.
///
/// The columnar collector makes `use` of these alone; its test of random frames (tests/it/usage.rs there) fails where
/// one is missing.
pub const READS: &[(&str, &[&str])] = &[
    (
        "cpu",
        &[
            "snaptime",
            "crtime",
            "nsec_user",
            "nsec_sys",
            "nsec_waitrq",
            "ncpus",
            "throttled_usec",
            "quota_usec",
            "period_usec",
            "forkfail_cap",
            "forkfail_noproc",
            "forkfail_nomem",
            "forkfail_misc",
        ],
    ),
    ("cpucaps", &["value", "nwait"]),
    ("pids", &["events_max"]),
    ("pressure", &["snaptime", "cpu_some", "memory_some", "io_some", "io_full"]),
    (
        "memory",
        &[
            "snaptime",
            "crtime",
            "rss",
            "physcap",
            "physmem",
            "nover",
            "pgpgin",
            "anonpgin",
            "anon_alloc_fail",
            "n_pf_throttle_usec",
            "memory_current",
            "inactive_file",
            "pgmajfault",
            "events_max",
            "oom_kill",
        ],
    ),
    ("host_memory", &["physmem", "freemem"]),
    ("disk", &["device", "snaptime", "crtime", "wlentime", "rtime", "rlentime"]),
    ("disk_error", &["device", "crtime", "hard_errors", "soft_errors", "transport_errors"]),
    ("zone_vfs", &["snaptime", "crtime", "rtime", "rlentime", "wtime", "wlentime", "delay_time"]),
    (
        "net",
        &[
            "link",
            "snaptime",
            "crtime",
            "rbytes64",
            "obytes64",
            "ierrors",
            "oerrors",
            "ifspeed",
            "norcvbuf",
            "noxmtbuf",
            "rx_dropped",
            "tx_dropped",
        ],
    ),
    ("tcp", &["snaptime", "crtime", "retransSegs", "listenDrop", "listenDropQ0"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family_named;

    #[test]
    fn every_field_that_is_read_exists() {
        for (table, fields) in READS {
            let family = family_named(table).unwrap();
            for field in *fields {
                assert!(family.fields.iter().any(|f| f.name == *field), "{table}.{field}");
            }
        }
    }
}
