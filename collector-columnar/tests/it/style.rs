//! What a reviewer would otherwise have to say twice.

use std::path::{Path, PathBuf};

use zonescope_proto::FAMILIES;

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(sources(&path)) } else { files.push(path) }
    }
    files
}

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A family added to frame.proto must need no edit here: so none may be named.
#[test]
fn no_family_is_named_in_the_source() {
    let of_tables = ["schema.rs", "store", "query"].map(|name| source_dir().join(name));
    for path in sources(&source_dir()).into_iter().filter(|path| of_tables.iter().any(|t| path.starts_with(t))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for family in FAMILIES {
            assert!(!code.contains(&format!("\"{}\"", family.table)), "{} names {}", path.display(), family.table);
        }
    }
}

#[test]
fn files_and_lines_stay_readable() {
    for path in sources(&source_dir()) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 460, "{} has {} lines", path.display(), text.lines().count());
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
    }
}
