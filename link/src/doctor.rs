//! `doctor`: looks at what a program needs before it runs, or while it runs and something is wrong, and says what to do next.
//!
//! Here is what every program needs to know: the clock, the port, the generators, the disk; and how it is said. What only one
//! needs is looked at by that one. Looking changes nothing: nothing is written, no connection stays, and what runs goes on
//! running.
//!
//! A check is `ok`, `warn` (it works, with less than there could be) or `FAIL` (it does not). Only `FAIL` ends with exit code 1.

mod checks;
pub mod keys;
mod publisher;

use std::io::Write;

pub use checks::{clock, free, listen, peers, recovery, room, writable};
pub use publisher::{Publisher, Silent, ask};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, with less than there could be.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at: `port`, `clock`.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do next, where there is something to do.
    pub next: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Ok, found: found.into(), next: None }
    }

    /// It works, with less than there could be.
    pub fn warn(check: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Warn, found: found.into(), next: Some(next.into()) }
    }

    /// It does not work.
    pub fn fail(check: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Finding { check, verdict: Verdict::Fail, found: found.into(), next: Some(next.into()) }
    }
}

/// Some check failed: it has been printed which.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failed} of {checks} checks failed")]
pub struct Failed {
    failed: usize,
    checks: usize,
}

/// Prints what was found: a line a check, and below it what to do next; or one JSON object.
///
/// # Errors
/// [`Failed`] where a check failed; where nobody reads, nothing.
pub fn report(findings: &[Finding], json: bool, out: &mut impl Write) -> Result<(), Failed> {
    // Whoever reads may stop: the exit code says it as well.
    let _ = out.write_all(if json { as_json(findings) } else { as_text(findings) }.as_bytes());
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match count(Verdict::Fail) {
        0 => Ok(()),
        failed => Err(Failed { failed, checks: findings.len() }),
    }
}

fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { check, verdict, found, next } in findings {
        text += &format!("{:<4}  {check:<width$}  {found}\n", verdict.word());
        if let Some(next) = next {
            text += &format!("{:<4}  {:<width$}  -> {next}\n", "", "");
        }
    }
    text
}

fn as_json(findings: &[Finding]) -> String {
    format!("{}\n", serde_json::json!({ "checks": findings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(findings: &[Finding], json: bool) -> (String, Result<(), Failed>) {
        let mut out = Vec::new();
        let result = report(findings, json, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn a_line_a_check_and_what_to_do_below_it() {
        let findings = [
            Finding::ok("clock", "right"),
            Finding::warn("disk", "2 MiB left", "make room"),
            Finding::ok("port", "free"),
        ];
        let (text, result) = printed(&findings, false);
        assert_eq!(text, "ok    clock  right\nwarn  disk   2 MiB left\n             -> make room\nok    port   free\n");
        assert_eq!(result, Ok(()), "a warning is no failure");
    }

    #[test]
    fn json_has_the_same_and_a_failure_is_counted() {
        let findings = [Finding::ok("clock", "right"), Finding::fail("port", "taken", "free it")];
        let (text, result) = printed(&findings, true);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read["checks"][0],
            serde_json::json!({"check": "clock", "verdict": "ok", "found": "right", "next": null})
        );
        assert_eq!(read["checks"][1]["verdict"], "fail");
        assert_eq!(result.unwrap_err().to_string(), "1 of 2 checks failed");
    }
}
