//! The manual page is what the command line says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../packaging/man/page.rs"]
mod page;

#[test]
fn the_manual_page_is_what_help_says() {
    page::check(zonescope_generator::cli::grammar());
}
