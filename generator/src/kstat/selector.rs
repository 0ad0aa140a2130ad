//! Which kstats a user means: `module:instance:name:statistic`, as kstat(8) takes it.
//!
//! Each part is empty (any), a shell glob (`sd*`, `[ab]?`, and beyond kstat(8) `{intr,syscall}`, as its first version in
//! Perl took), or an extended regular expression between slashes, which matches anywhere unless it is anchored
//! (`/^cpu[0-9]+$/`). Parts at the end may be left out. As in kstat(8) no part can hold a colon (`ks_match` and `main`
//! of cmd/stat/kstat/kstat.c).

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

use super::chain::Id;

/// What the four parts are called.
const PARTS: [&str; 4] = ["module", "instance", "name", "statistic"];

/// Largest compiled expression, bytes: nothing that is written by hand comes near it.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// A selector of kstats and their statistics.
#[derive(Debug, Clone)]
pub struct Selector([Pattern; 4]);

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// More than four parts.
    #[error("{0} parts between colons; there are at most four: module:instance:name:statistic")]
    Parts(usize),
    /// A part that cannot be understood.
    #[error("the {part} `{text}` is no {what}: {error}")]
    Pattern {
        /// Which part.
        part: &'static str,
        /// As it was written.
        text: String,
        /// `glob` or `regular expression`.
        what: &'static str,
        /// What is wrong with it, in one line.
        error: String,
    },
}

#[derive(Clone)]
enum Pattern {
    Any,
    Glob(GlobMatcher),
    Regex(Regex),
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Any => f.write_str("*"),
            Pattern::Glob(glob) => f.write_str(glob.glob().glob()),
            Pattern::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

impl Pattern {
    fn parse(part: &'static str, text: &str) -> Result<Self, SelectorError> {
        let wrong = |what, error: String| {
            // The crates draw the mistake over several lines; the last says what it is.
            let error = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            SelectorError::Pattern { part, text: text.to_owned(), what, error }
        };
        if text.is_empty() || text == "*" {
            return Ok(Pattern::Any);
        }
        if let Some(expression) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            let built = RegexBuilder::new(expression).size_limit(MAX_REGEX_BYTES).build();
            return built.map(Pattern::Regex).map_err(|e| wrong("regular expression", e.to_string()));
        }
        let built = GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build();
        built.map(|glob| Pattern::Glob(glob.compile_matcher())).map_err(|e| wrong("glob", e.kind().to_string()))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Glob(glob) => glob.is_match(text),
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let count = text.split(':').count();
        if count > PARTS.len() {
            return Err(SelectorError::Parts(count));
        }
        let mut patterns = [const { Pattern::Any }; 4];
        for ((pattern, part), text) in patterns.iter_mut().zip(PARTS).zip(text.split(':')) {
            *pattern = Pattern::parse(part, text)?;
        }
        Ok(Selector(patterns))
    }
}

impl Selector {
    /// Whether a kstat is meant, by what is known of it before it is read.
    pub fn takes(&self, id: Id<'_>) -> bool {
        let Selector([module, instance, name, _]) = self;
        module.matches(id.module)
            && name.matches(id.name)
            && (matches!(instance, Pattern::Any) || instance.matches(&id.instance.to_string()))
    }

    /// Whether a statistic of such a kstat is meant.
    pub fn takes_statistic(&self, name: &str) -> bool {
        self.0[3].matches(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn takes(selector: &str, kstat: &str) -> bool {
        let selector: Selector = selector.parse().unwrap();
        let mut parts = kstat.splitn(4, ':');
        let (module, instance, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let id = Id { module, instance: instance.parse().unwrap(), name };
        selector.takes(id) && selector.takes_statistic(parts.next().unwrap())
    }

    #[test]
    fn selectors_mean_what_they_mean_to_kstat() {
        // The man page's own examples.
        for selector in [
            "unix:0:system_misc:avenrun*",
            ":::avenrun*",
            ":::/^avenrun_[0-9]+min$/",
            "unix",
            "",
            "unix:0",
            "*:*:*:*",
            "unix:::{avenrun_1min,nproc}",
            "u?ix:[0-3]:system_[!p]*",
            ":::run_",
        ] {
            let expected = selector != ":::run_";
            assert_eq!(takes(selector, "unix:0:system_misc:avenrun_1min"), expected, "{selector}");
        }
        assert!(takes("cpu::/^sys$/:{intr,syscall}", "cpu:11:sys:intr"));
        assert!(!takes("cpu::/^sys$/:{intr,syscall}", "cpu:11:sys:intrblk"));
        assert!(!takes("cpu:1:sys", "cpu:11:sys:intr"), "a glob is the whole part");
        assert!(takes("cpu:/1/:sys", "cpu:11:sys:intr"), "an expression is any part of it");
        assert!(takes("sd:-1", "sd:-1:sd0,a:reads"));
        assert!(takes("sderr:::Hard Errors", "sderr:0:sd0,err:Hard Errors"));
        assert!(takes("cmdk:::a/*", "cmdk:0:n:a/b/c"), "a slash is a letter like any other");
    }

    #[test]
    fn what_is_wrong_with_a_selector_is_said() {
        let error = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert_eq!(
            error("a:b:c:d:e"),
            "5 parts between colons; there are at most four: module:instance:name:statistic"
        );
        assert_eq!(error("cpu::/^(/"), "the name `/^(/` is no regular expression: unclosed group");
        assert_eq!(
            error("cpu:::{a"),
            "the statistic `{a` is no glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"
        );
        assert_eq!(error("[z-a]"), "the module `[z-a]` is no glob: invalid range; 'z' > 'a'");
        assert!(error("/a{1000}{1000}{1000}/").contains("regular expression"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_an_error(text in "\\PC{0,60}", name in "\\PC{0,30}") {
            if let Ok(selector) = text.parse::<Selector>() {
                selector.takes(Id { module: &name, instance: -7, name: &name });
                selector.takes_statistic(&name);
            }
        }

        #[test]
        fn any_pattern_is_a_selector_or_an_error(text in r"[/:*?\[\]{},!\\^$()+|.a0-]{0,24}", name in "[a0,/]{0,8}") {
            if let Ok(selector) = text.parse::<Selector>() {
                selector.takes(Id { module: &name, instance: 0, name: &name });
                selector.takes_statistic(&name);
            }
        }
    }
}
