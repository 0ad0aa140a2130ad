//! Standard output. Whoever reads it may stop: `| head` is no failure.

use std::io::{self, Write};

/// What came of writing; where nobody reads any more, all is well.
///
/// # Errors
/// Where it failed for another reason.
pub fn unless_nobody_reads(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a sentence.
///
/// # Errors
/// Where it cannot be written.
pub fn say(text: &str) -> io::Result<()> {
    unless_nobody_reads(writeln!(io::stdout(), "{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nobody_reads_is_no_failure_and_that_a_disk_is_full_is_one() {
        let came = |kind: io::ErrorKind| unless_nobody_reads(Err(kind.into()));
        assert!(came(io::ErrorKind::BrokenPipe).is_ok());
        assert_eq!(came(io::ErrorKind::StorageFull).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
