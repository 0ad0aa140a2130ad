//! zonescope-collector-redis: parse, load, run, report.

fn main() {}
