//! Makes the manual page of a program of its command line, and holds docs/man to it. Each program has a test that includes this
//! file; `UPDATE=1` writes the page anew.
//!
//! One page a program, all commands in it: whoever types `man zonescope-generator` finds what there is by searching in it. The
//! text is that of `--help`, so the two cannot differ.

use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// Compares docs/man/NAME.1 with what `grammar` says, or writes it.
pub(crate) fn check(grammar: Command) {
    let file = format!("{}.1", grammar.get_name());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man").join(&file);
    let page = page(grammar);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/man/{file} is not what --help says: run with UPDATE=1 and look at the change");
}

fn page(mut grammar: Command) -> String {
    grammar.build();
    let name = grammar.get_name().to_owned();
    let version = grammar.get_version().unwrap_or_default();
    // No date: the page would be stale each day.
    let mut page = format!(".TH {} 1 \"\" \"zonescope {version}\" zonescope\n", escape(&name));
    page += &section(|out| Man::new(grammar.clone()).render_name_section(out));
    let commands = commands(&grammar);
    page += ".SH SYNOPSIS\n";
    for command in &commands {
        page += &format!("{}.br\n", body(&section(|out| Man::new(command.clone()).render_synopsis_section(out))));
    }
    page += ".SH DESCRIPTION\n";
    page += &preformatted(grammar.get_after_help());
    for group in grammar.get_subcommands().filter(|c| c.has_subcommands() && c.get_after_help().is_some()) {
        page += &format!(".SH {}\n", escape(group.get_bin_name().unwrap_or_default()).to_uppercase());
        page += &body(&section(|out| Man::new(group.clone()).render_description_section(out)));
        page += &preformatted(group.get_after_help());
    }
    for command in &commands {
        page += &format!(".SH {}\n", escape(command.get_bin_name().unwrap_or_default()).to_uppercase());
        page += &body(&section(|out| Man::new(command.clone()).render_description_section(out)));
        page += &body(&section(|out| Man::new(command.clone()).render_options_section(out)));
        page += &preformatted(command.get_after_help());
    }
    let role = name.trim_start_matches("zonescope-");
    page += &format!(
        ".SH FILES\n.TP\n.I /etc/zonescope/{role}.toml\nThe configuration; on illumos\n.IR /opt/zonescope/etc/{role}.toml .\n\
         .SH SEE ALSO\n.BR zonescope (7)\n"
    )
    .replace('-', "\\-");
    page
}

/// Every command that does something by itself, in the order of `--help`.
fn commands(of: &Command) -> Vec<Command> {
    let all = of.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    all.flat_map(|command| if command.has_subcommands() { commands(command) } else { vec![command.clone()] }).collect()
}

fn section(render: impl Fn(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Without the line of its heading.
fn body(section: &str) -> String {
    let heading = section.find(".SH ").map_or(0, |at| at + section[at..].find('\n').map_or(0, |end| end + 1));
    section[heading..].to_owned()
}

/// Examples keep their lines.
fn preformatted(text: Option<&clap::builder::StyledStr>) -> String {
    let lines = text.map(ToString::to_string).unwrap_or_default();
    let lines: Vec<String> = lines.trim_end().lines().map(escape).collect();
    if lines.is_empty() { String::new() } else { format!(".PP\n.nf\n{}\n.fi\n", lines.join("\n")) }
}

/// What roff would read as its own; a hyphen that can be copied into a shell.
fn escape(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}
