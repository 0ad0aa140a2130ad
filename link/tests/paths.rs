//! The program's default paths are those that install.sh and the manifests of SMF use.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use zonescope_link::paths::{ILLUMOS, LINUX, Paths};

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// `etc=... var=...` of the two branches of install.sh, illumos first.
#[test]
fn install_sh_puts_things_where_the_programs_look() {
    let script = read("install.sh");
    let value = |line: &str, name: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let said: Vec<(String, String)> = script
        .lines()
        .filter(|line| line.trim_start().starts_with("prefix=${prefix:-"))
        .map(|line| (value(line, "etc").unwrap(), value(line, "var").unwrap()))
        .collect();
    let meant = |paths: Paths| (paths.etc.to_owned(), paths.var.to_owned());
    assert_eq!(said, [meant(ILLUMOS), meant(LINUX)]);
}

/// The manifests and units name them as install.sh fills them in.
#[test]
fn services_read_the_configuration_of_their_role() {
    for role in ["generator", "collector-columnar", "collector-redis"] {
        let config = format!("\"@ETC@/{role}.toml\"");
        assert!(read(&format!("packaging/smf/{role}.xml")).contains(&config), "{config}");
        let unit = read(&format!("packaging/systemd/zonescope-{role}.service"));
        assert!(unit.contains(&format!(" run --config @ETC@/{role}.toml\n")), "{unit}");
        // systemd makes it below /var/lib.
        let data = LINUX.data(role);
        let directory = data.strip_prefix("/var/lib").unwrap().display();
        assert!(unit.contains(&format!("\nStateDirectory={directory}\n")), "{unit}");
        assert!(ILLUMOS.config(role).starts_with("/opt") && ILLUMOS.data(role).starts_with("/opt"));
    }
}
