//! Who this host is, and since when it runs.

use super::files::{Files, Text};
use super::parse::{self, text_of};

/// Who a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Stable over reboots: the machine id, else `host-` and the name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it started, ns since 1970 UTC; 0 where unknown.
    pub boot_time_ns: u64,
}

/// Reads who the host is. What is not known reads `unknown`, never another at the next start: the boot id, new at
/// every boot, would make the same host another one.
pub fn identity(files: &mut dyn Files) -> Identity {
    let mut text = Text::default();
    let mut line = |path: &str| {
        files.read(path, &mut text).ok()?;
        let line = text_of(text.trim_ascii());
        (!line.is_empty()).then_some(line)
    };
    let name =
        line("/proc/sys/kernel/hostname").or_else(|| line("/etc/hostname")).unwrap_or_else(|| "unknown".to_owned());
    let id = line("/etc/machine-id")
        .filter(|id| id != "uninitialized")
        .or_else(|| line("/var/lib/dbus/machine-id"))
        .unwrap_or_else(|| format!("host-{name}"));
    let boot_time_ns = files.reread("/proc/stat", &mut text).ok().and_then(|_| boot_time_ns(&text)).unwrap_or(0);
    Identity { id, name, boot_time_ns }
}

/// When the host started, of /proc/stat: ns since 1970 UTC.
pub(super) fn boot_time_ns(stat: &[u8]) -> Option<u64> {
    let line = parse::lines(stat).find_map(|line| line.strip_prefix(b"btime "))?;
    parse::number(line.trim_ascii())?.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_time_is_a_line_of_stat() {
        assert_eq!(boot_time_ns(b"ctxt 5\nbtime 1795246277\nprocesses 9\n"), Some(1_795_246_277_000_000_000));
        assert_eq!(boot_time_ns(b"ctxt 5\n"), None);
        assert_eq!(boot_time_ns(b"btime 18446744073709551615\n"), None);
    }
}
