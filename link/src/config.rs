//! Configuration files: TOML. A mistake names the file, the line, the key, the value and what would be right.

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

/// A value that cannot be: says so as the file does.
pub fn wrong(path: &Path, key: &str, value: impl std::fmt::Display, allowed: &str) -> Usage {
    Usage(format!("the configuration {} is wrong: {key} = {value}: {allowed}", path.display()))
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
    fn a_file_that_may_be_missing_gives_the_defaults() {
        let path = Path::new("/nonexistent/zonescope.toml");
        assert_eq!(load::<Example>(path, false).unwrap(), Example::default());
        assert!(load::<Example>(path, true).is_err());
    }
}
