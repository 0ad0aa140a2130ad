//! A damaged file is left out, and the answer comes from the rest.

use std::path::Path;

use zonescope_collector_columnar::store::damage;

use crate::support::*;

fn root_of_three() -> Root {
    let root = Root::new();
    for i in 1..=3 {
        let frames: Vec<_> = (0..500).map(|k| busy("web1", i * 1000 + k, k * k * i)).collect();
        root.store(&frames);
    }
    root
}

/// Changes bytes of a file where `at` says, out of its length.
fn scribble(path: &Path, at: impl Fn(usize) -> std::ops::Range<usize>) {
    let mut bytes = std::fs::read(path).unwrap();
    for i in at(bytes.len()) {
        bytes[i] = !bytes[i];
    }
    std::fs::write(path, bytes).unwrap();
}

fn answers_from_the_rest(root: &Root, file: &Path) {
    assert!(damage::why(file).is_some());
    assert_eq!(root.count("select count(*) from (select nsec_user, time, zone from cpu order by nsec_user) t"), 1000);
    assert_eq!(root.ask("select count(*) n, count(nsec_user), max(time) from cpu").cells[0][0], Cell::Int(1000));
}

#[test]
fn a_file_cut_short() {
    let root = root_of_three();
    let file = root.parquet("cpu").remove(1);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    answers_from_the_rest(&root, &file);
}

#[test]
fn an_empty_file() {
    let root = root_of_three();
    let file = root.parquet("cpu").remove(0);
    std::fs::write(&file, b"").unwrap();
    answers_from_the_rest(&root, &file);
}

#[test]
fn a_damaged_footer() {
    let root = root_of_three();
    let file = root.parquet("cpu").remove(2);
    scribble(&file, |len| len - 600..len - 8);
    answers_from_the_rest(&root, &file);
}

#[test]
fn a_damaged_page() {
    let root = root_of_three();
    let file = root.parquet("cpu").remove(1);
    // Behind the magic stand the pages.
    scribble(&file, |_| 4..400);
    assert!(damage::why(&file).is_some());
    let rows = root.ask("select host, zone, time, nsec_user from cpu");
    assert_eq!(rows.cells.len(), 1000);
}

#[test]
fn a_damaged_file_hides_nothing_of_the_derived_tables() {
    let root = root_of_three();
    scribble(&root.parquet("cpu").remove(1), |_| 4..400);
    assert_eq!(root.count("select count(*) from cpu_rates"), 1000);
    assert_eq!(root.count("select count(*) from use where resource = 'cpu'"), 1500, "the frames are still there");
    assert_eq!(root.count("select count(*) from use where resource = 'cpu' and utilization is null"), 1500);
}

#[test]
fn a_mistake_in_sql_is_no_damage() {
    let root = root_of_three();
    let error = root.try_ask("select retranssegs from tcp").unwrap_err().to_string();
    assert!(error.contains("retranssegs") && error.contains("did you mean retransSegs"), "{error}");
    let error = root.try_ask("select * from cpus").unwrap_err().to_string();
    assert!(error.contains("did you mean cpu"), "{error}");
    let error = root.try_ask("selct 1").unwrap_err().to_string();
    assert!(error.contains("selct"), "{error}");
    for statement in ["create table t (a int)", "drop table cpu", "insert into cpu select * from cpu", "set a = 1"] {
        assert!(root.try_ask(statement).is_err(), "{statement}");
    }
}
