//! What dtrace says on stderr. It exits with status 0 whatever it lost, so that this is the only place to learn of it.

/// What a line of stderr means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// Nothing: how many probes matched, or that a buffer got smaller.
    Note,
    /// Events were lost.
    Drops(u64),
    /// A probe's clause failed: a bad address, a division by zero. The program goes on.
    Fault,
    /// The kernel ended the program, because the system answered too slowly.
    Aborted,
    /// This host lacks a probe, a provider, a type or a variable that the program names.
    Lacking,
    /// The program does not compile.
    Wrong,
    /// We may not.
    Privilege,
    /// Anything else.
    Other,
}

impl Complaint {
    /// Whether trying again soon is of no use.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Complaint::Lacking | Complaint::Wrong | Complaint::Privilege)
    }

    /// Reads one line. The texts are libdtrace's own: dt_handle.c, dt_errtags.h, dt_error.c of illumos-gate.
    pub fn read(line: &str) -> Self {
        const NOTES: [&str; 4] = ["description '", "script '", "dtrace: pid ", "size lowered to"];
        const LACKING: [&str; 5] = [
            "does not match any probes",
            "failed to resolve",
            "Unknown provider",
            "failed to find type",
            "is not defined",
        ];
        const PRIVILEGE: [&str; 4] =
            ["requires additional privileges", "Permission denied", "Operation not permitted", "requires root"];
        let Some(text) = line.strip_prefix("dtrace: ") else { return Complaint::other(line, &PRIVILEGE) };
        let has = |needles: &[&str]| needles.iter().any(|needle| line.contains(needle));
        let count = text.split(' ').next().and_then(|word| word.parse().ok());
        match count {
            Some(count) if has(&["drop", "overflow", "failed speculation"]) => return Complaint::Drops(count),
            Some(_) if text.contains("in ERROR probe") => return Complaint::Fault,
            _ => {}
        }
        if text.starts_with("processing aborted") || text.contains("systemic unresponsiveness") {
            Complaint::Aborted
        } else if text.starts_with("error on enabled probe") || text.starts_with("error in ") {
            Complaint::Fault
        } else if has(&PRIVILEGE) {
            Complaint::Privilege
        } else if has(&LACKING) {
            Complaint::Lacking
        } else if has(&["failed to compile", "invalid probe specifier", "failed to enable", "failed to initialize"]) {
            Complaint::Wrong
        } else if has(&NOTES) {
            Complaint::Note
        } else {
            Complaint::Other
        }
    }

    fn other(line: &str, privilege: &[&str]) -> Self {
        if line.trim().is_empty() {
            Complaint::Note
        } else if privilege.iter().any(|needle| line.contains(needle)) {
            Complaint::Privilege
        } else {
            Complaint::Other
        }
    }
}

/// The line that a message of dtrace names: `line 3: undefined function name: foo`.
pub fn line_number(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once(": line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_drop_is_counted() {
        for (text, drops) in [
            (include_str!("../../fixtures/dtrace/11-aggdrops.err"), 1395 + 995 + 1203 + 1296 + 2 + 1217 + 1076),
            (include_str!("../../fixtures/dtrace/12-bufdrops.err"), 6067 + 6003 + 3905 + 3856 + 4960 + 4931),
            (include_str!("../../fixtures/dtrace/13-dynvardrops.err"), 1993 + 1986),
            ("dtrace: 1 dynamic variable drop with non-empty dirty list\n", 1),
            ("dtrace: 12 failed speculations (no speculative buffer available)\n", 12),
            ("dtrace: 7 speculative drops on CPU 3\n", 7),
            ("dtrace: 3 stack string table overflows\n", 3),
        ] {
            let count = |line| if let Complaint::Drops(count) = Complaint::read(line) { count } else { 0 };
            assert_eq!(text.lines().map(count).sum::<u64>(), drops, "{text}");
        }
    }

    #[test]
    fn messages_of_a_real_dtrace() {
        for (text, complaint) in [
            (include_str!("../../fixtures/dtrace/14-compile-error-syntax.err"), Complaint::Wrong),
            (include_str!("../../fixtures/dtrace/15-compile-error-unknown-var.err"), Complaint::Lacking),
            (include_str!("../../fixtures/dtrace/16-missing-probe.err"), Complaint::Lacking),
            (include_str!("../../fixtures/dtrace/18-compile-error-file.err"), Complaint::Wrong),
            (include_str!("../../fixtures/dtrace/21-runtime-fault.err"), Complaint::Fault),
            (include_str!("../../fixtures/dtrace/23-no-privilege.err"), Complaint::Privilege),
            (include_str!("../../fixtures/dtrace/03-default-quantize-keys.err"), Complaint::Note),
            ("dtrace: buffer size lowered to 128k", Complaint::Note),
            ("dtrace: processing aborted: Abort due to systemic unresponsiveness", Complaint::Aborted),
            (
                "dtrace: error on enabled probe ID 1 (ID 1: dtrace:::BEGIN): invalid address (0x0) in action #1",
                Complaint::Fault,
            ),
            ("dtrace: failed to initialize dtrace: DTrace requires additional privileges", Complaint::Privilege),
            ("dtrace: No such process", Complaint::Other),
        ] {
            assert_eq!(Complaint::read(text.lines().next().unwrap()), complaint, "{text}");
        }
    }

    #[test]
    fn a_compile_error_names_its_line() {
        assert_eq!(line_number(include_str!("../../fixtures/dtrace/18-compile-error-file.err")), Some(3));
        assert_eq!(line_number("dtrace: No such process"), None);
    }
}
