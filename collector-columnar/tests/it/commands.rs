//! The real program, as a person or a script meets it.

use std::path::Path;

use zonescope_proto::v1;

use crate::support::*;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

#[allow(clippy::disallowed_methods, reason = "the program under test is a process")]
fn run(root: &Path, arguments: &[&str]) -> Ran {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_zonescope-collector-columnar"))
        .args(arguments)
        .env("ZONESCOPE_ROOT", root)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn ok(root: &Path, arguments: &[&str]) -> String {
    let ran = run(root, arguments);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    ran.out
}

/// Rows with a NULL, a 0, an empty text and the largest number.
fn root() -> Root {
    let root = Root::new();
    let process = |sequence, execname: &str, rss, uid| v1::Frame {
        process: vec![v1::Process { pid: 1, execname: execname.to_owned(), rss, uid, ..v1::Process::default() }],
        ..frame("web1", sequence)
    };
    root.store(&[process(1, "", Some(0), None), process(2, "a,\"b\"\n", Some(u64::MAX), Some(0))]);
    root
}

const QUESTION: &str = "select time, execname, rss, uid, cast(rss as double) / 2 as half from process order by time";

#[test]
fn a_table_for_people() {
    let out = ok(root().path(), &["query", QUESTION]);
    assert_eq!(
        out,
        "\
time                  execname                   rss   uid                  half
--------------------  --------  --------------------  ----  --------------------
2025-11-21T08:00:01Z                               0  NULL                   0.0
2025-11-21T08:00:02Z  a,\"b\"\\n   18446744073709551615     0  9.223372036854776e18
"
    );
}

#[test]
fn csv_tells_null_from_nothing() {
    let out = ok(root().path(), &["query", "--format", "csv", QUESTION]);
    assert_eq!(
        out,
        "time,execname,rss,uid,half\n2025-11-21T08:00:01Z,\"\",0,,0.0\n2025-11-21T08:00:02Z,\"a,\"\"b\"\"\n\",18446744073709551615,0,9.223372036854776e18\n"
    );
}

#[test]
fn json_is_exact() {
    let out = ok(root().path(), &["query", "--format", "json", QUESTION]);
    assert_eq!(
        out,
        "{\"time\":\"2025-11-21T08:00:01Z\",\"execname\":\"\",\"rss\":0,\"uid\":null,\"half\":0.0}\n{\"time\":\"2025-11-21T08:00:02Z\",\"execname\":\"a,\\\"b\\\"\\n\",\"rss\":18446744073709551615,\"uid\":0,\"half\":9.223372036854776e18}\n"
    );
}

#[test]
fn an_empty_answer_has_its_head() {
    let root = Root::new();
    assert_eq!(ok(root.path(), &["query", "--format", "csv", "select zone, ncpus from cpu"]), "zone,ncpus\n");
    assert_eq!(ok(root.path(), &["query", "select zone, ncpus from cpu"]), "zone  ncpus\n----  -----\n");
    assert_eq!(ok(root.path(), &["query", "--format", "json", "select zone from use"]), "");
}

#[test]
fn tables_and_their_columns_are_described() {
    let root = root();
    let out = ok(root.path(), &["tables", "--format", "json"]);
    let process = out.lines().find(|l| l.contains("\"name\":\"process\"")).unwrap();
    assert!(
        process.contains("\"rows\":2,\"files\":1") && process.contains("\"to\":\"2025-11-21T08:00:02Z\""),
        "{process}"
    );
    assert!(out.contains("\"name\":\"use\",\"kind\":\"view\"") && out.contains("\"process_rates\""), "{out}");
    let out = ok(root.path(), &["tables", "process", "--format", "csv"]);
    assert!(out.contains("rss,u64,true,gauge,bytes,Resident memory\n"), "{out}");
    let out = ok(root.path(), &["tables", "process_rates", "--format", "csv"]);
    assert!(out.contains("nsec_user,f64,true,gauge,ns/s,"), "{out}");
    assert!(ok(root.path(), &["tables", "use"]).contains("saturation_unit"));
    let ran = run(root.path(), &["tables", "proces"]);
    assert!(ran.code == Some(1) && ran.err.contains("did you mean process"), "{}", ran.err);
}

#[test]
fn a_table_that_is_named_says_what_it_is_about() {
    let out = ok(Root::new().path(), &["tables", "gaps"]);
    assert!(
        out.starts_with("Frames that are missing for good") && out.contains("unreachable: nobody answered"),
        "{out}"
    );
}

#[test]
fn completeness_is_told_beside_the_answer_where_it_is_asked_for() {
    let root = root();
    let question = "select count(*) n from process";
    assert_eq!(ok(root.path(), &["query", question]), "n\n-\n2\n", "not unless asked for, without a terminal");
    let ran = run(root.path(), &["query", "--completeness", question]);
    assert_eq!(ran.out, "n\n-\n2\n");
    assert_eq!(ran.err, "complete: 2 of 2 frames; 1 zone on 1 host, 2025-11-21 08:00 to 08:01 UTC\n");
    let ran = run(root.path(), &["query", "--completeness", "--format", "json", question]);
    assert_eq!(
        ran.err,
        "{\"from\":\"2025-11-21T08:00:00Z\",\"to\":\"2025-11-21T08:01:00Z\",\"hosts\":1,\"zones\":1,\"expected\":2,\
         \"received\":2,\"recovered\":0,\"missing\":0,\"incomplete\":[],\"died\":[],\"silent\":[]}\n"
    );
}

#[test]
fn an_export_can_be_read_back() {
    let root = root();
    let file = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    ok(root.path(), &["export", "--to", &file("a.csv"), "select zone, rss from process order by time"]);
    assert_eq!(std::fs::read_to_string(file("a.csv")).unwrap(), "zone,rss\nweb1,0\nweb1,18446744073709551615\n");
    ok(root.path(), &["export", "--to", &file("a.json"), "--table", "use"]);
    assert_eq!(std::fs::read_to_string(file("a.json")).unwrap().lines().count(), 8);
    ok(root.path(), &["export", "--to", &file("a.parquet"), "--table", "process"]);
    assert_eq!(zonescope_collector_columnar::store::damage::why(Path::new(&file("a.parquet"))), None);
    let ran = run(root.path(), &["export", "--to", &file("a.xls"), "--table", "cpu"]);
    assert!(ran.code == Some(2) && ran.err.contains(".parquet, .csv or .json"), "{}", ran.err);
    let ran = run(root.path(), &["export", "--to", &file("b.csv"), "select nothing from cpu"]);
    assert!(ran.code == Some(1) && !Path::new(&file("b.csv")).exists());
    assert!(root.files().iter().all(|f| f.extension().is_none_or(|e| e != "tmp")));
}

#[test]
fn exit_codes_tell_failures_from_mistakes() {
    let root = root();
    assert_eq!(run(root.path(), &["query", "select nothing from cpu"]).code, Some(1));
    assert_eq!(run(root.path(), &["query"]).code, Some(2));
    assert_eq!(run(root.path(), &["run", "--memory", "1MiB", "--check-config"]).code, Some(2));
    assert_eq!(run(root.path(), &["run", "--config", "/nonexistent", "--check-config"]).code, Some(2));
    let ran = run(&root.path().join("nowhere"), &["query", "select 1"]);
    assert!(ran.code == Some(1) && ran.err.contains("nowhere is no store"), "{}", ran.err);
    let _running = root.open();
    let ran = run(root.path(), &["run"]);
    assert!(ran.code == Some(1) && ran.err.contains(&format!("pid {}", std::process::id())), "{}", ran.err);
}

#[test]
fn help_version_and_completions() {
    let root = Root::new();
    assert!(ok(root.path(), &["--version"]).starts_with("zonescope-collector-columnar "));
    for (arguments, part) in [
        (vec!["--help"], "Exit codes: 0"),
        (vec!["run", "--help"], "Memory is bounded"),
        (vec!["query", "--help"], "NULL means"),
        (vec!["completions", "bash"], "complete -F"),
        (vec!["run", "--check-config"], "the configuration is right"),
    ] {
        assert!(ok(root.path(), &arguments).contains(part), "{arguments:?}");
    }
}

#[test]
fn a_damaged_file_is_named_and_the_answer_comes_from_the_rest() {
    let root = root();
    root.store(&[busy("web1", 9, 9)]);
    let file = root.parquet("frames").remove(0);
    std::fs::write(&file, b"no parquet").unwrap();
    let ran = run(root.path(), &["query", "--format", "csv", "select count(*) as n from frames"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "n\n1\n"));
    assert!(ran.err.contains(file.to_str().unwrap()) && ran.err.contains("damaged"), "{}", ran.err);
}

#[test]
fn compact_merges_and_says_nothing() {
    let root = root();
    root.store(&[frame("web1", 9)]);
    assert_eq!(root.parquet("frames").len(), 2);
    assert_eq!(ok(root.path(), &["compact"]), "");
    assert_eq!(root.parquet("frames").len(), 1);
    assert_eq!(root.count("select count(*) from frames"), 3);
}
