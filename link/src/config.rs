//! Configuration files: TOML. A mistake names the file, the line, the key, the value and what would be right.

use std::fmt::Display;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::exit::Usage;

/// Reads the configuration at `path`. With `required` false a file that is not there gives the defaults.
///
/// # Errors
/// [`Usage`], ready to be shown.
pub fn load<T: DeserializeOwned + Default>(path: &Path, required: bool) -> Result<T, Usage> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(T::default()),
        Err(error) => return Err(Usage(format!("cannot read the configuration {}: {error}", path.display()))),
    };
    toml::from_str(&text)
        .map_err(|error| Usage(format!("the configuration {} is wrong\n{}", path.display(), described(&text, &error))))
}

/// Line, column, the line itself and what was expected, as toml shows them; but no line that may hold a password.
fn described(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    if text.lines().nth(number - 1).is_some_and(|line| line.contains("password")) {
        return format!("line {number}, which is not shown for the password in it: allowed is KEY = \"TEXT\"");
    }
    error.to_string().trim_end().to_owned()
}

/// Where a value was written. Who made a mistake there is told so in the words of that place.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// In this file.
    File(&'a Path),
    /// On the command line, by the option that is called as the key is.
    CommandLine,
}

impl Origin<'_> {
    /// Says that the value of a key cannot be, and what is allowed.
    pub fn wrong(self, key: &str, value: impl Display, allowed: impl Display) -> Usage {
        match self {
            Origin::File(path) => {
                Usage(format!("the configuration {} is wrong: {key} = {value}: {allowed}", path.display()))
            }
            Origin::CommandLine => {
                // A list in the file; an option may be given more than once.
                let option = if key == "zones" { "zone".to_owned() } else { key.replace('_', "-") };
                Usage(format!("--{option} {value} cannot be: {allowed}"))
            }
        }
    }

    /// Reads the value of a key, where there is one.
    ///
    /// # Errors
    /// Where it cannot be, as `parse` says.
    pub fn read<T>(
        self,
        key: &str,
        text: Option<&str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Usage> {
        text.map(|text| parse(text).map_err(|allowed| self.wrong(key, format_args!("\"{text}\""), allowed))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Example {
        interval_ms: u32,
    }

    fn load_text(text: &str) -> Result<Example, Usage> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(file.path(), true)
    }

    #[test]
    fn a_mistake_names_line_key_and_what_is_allowed() {
        let unknown = load_text("\nintervall_ms = 5\n").unwrap_err().0;
        assert!(
            unknown.contains("line 2") && unknown.contains("intervall_ms") && unknown.contains("`interval_ms`"),
            "{unknown}"
        );
        let kind = load_text("interval_ms = \"fast\"\n").unwrap_err().0;
        assert!(kind.contains("line 1") && kind.contains("fast") && kind.contains("u32"), "{kind}");
    }

    #[test]
    fn a_mistake_in_a_password_does_not_show_it() {
        for text in ["\npassword = hunter2\n", "\npassword = \"hunter2\"\n", "\nredis_password = [\"hunter2\"]"] {
            let told = load_text(text).unwrap_err().0;
            assert!(told.contains("line 2") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_told_in_the_words_of_where_it_was_written() {
        let said = |origin: Origin<'_>| origin.read("max_memory", Some("1 heap"), crate::units::bytes).unwrap_err().0;
        let file = said(Origin::File(Path::new("/etc/z.toml")));
        assert!(file.starts_with("the configuration /etc/z.toml is wrong: max_memory = \"1 heap\": "), "{file}");
        let typed = said(Origin::CommandLine);
        assert!(typed.starts_with("--max-memory \"1 heap\" cannot be: "), "{typed}");
        assert_eq!(Origin::CommandLine.wrong("zones", "a/b", "no").0, "--zone a/b cannot be: no");
    }

    #[test]
    fn a_file_that_may_be_missing_gives_the_defaults() {
        let path = Path::new("/nonexistent/zonescope.toml");
        assert_eq!(load::<Example>(path, false).unwrap(), Example::default());
        assert!(load::<Example>(path, true).is_err());
    }
}
