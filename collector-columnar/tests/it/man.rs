//! The manual page is what the command line says.

#[path = "../../../packaging/man/page.rs"]
mod page;

#[test]
fn the_manual_page_is_what_help_says() {
    page::check(zonescope_collector_columnar::cli::grammar());
}
