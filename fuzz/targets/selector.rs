//! Any text as a selector of kstats: matches without surprise, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonescope_fuzz as _;
use zonescope_generator::kstat::chain::Id;
use zonescope_generator::kstat::selector::Selector;

fuzz_target!(|bytes: &[u8]| {
    // The selector, a newline, a name to try it on.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (selector, name) = text.split_once('\n').unwrap_or((text, "cpu_stat0"));
    match selector.parse::<Selector>() {
        Ok(selector) => {
            let _ = selector.takes(Id { module: name, instance: -1, name });
            let _ = selector.takes_statistic(name);
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "an error is one line: {error}"),
    }
});
