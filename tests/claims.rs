//! SECURITY.md names the test of each claim: they have to be there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use zonescope_tests::root;

#[test]
fn every_test_that_security_names_exists() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let claims: Vec<(&str, &str)> =
        quoted.filter(|text| *text != "FILE::TEST").filter_map(|text| text.split_once("::")).collect();
    assert!(claims.len() > 20, "{claims:?}");
    let is_missing = |(file, test): &&(&str, &str)| {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        !text.contains(&format!("fn {test}(")) && !text.contains(&format!("\n{test}()"))
    };
    let missing: Vec<_> = claims.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
