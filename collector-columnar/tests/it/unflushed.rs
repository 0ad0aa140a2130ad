//! A query sees a store that is being written: everything once.

use zonescope_collector_columnar::store::Sealed;

use crate::support::*;

#[test]
fn what_has_not_been_flushed_is_seen() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &[busy("web1", 1, 5), busy("web1", 2, 6)]);
    store.tick(START).unwrap();
    assert_eq!(root.count("select count(*) from cpu"), 2);
    assert!(root.parquet("cpu").is_empty());
    assert_eq!(root.count("select count(*) from frames"), 2);
    assert_eq!(root.count("select count(*) from cpu where zone = 'web1' and nsec_user > 5"), 1);
}

#[test]
fn nothing_is_seen_twice_at_any_moment_of_a_flush() {
    let root = Root::new();
    root.store(&[busy("web1", 1, 1)]);
    let mut store = root.open();
    put(&mut store, &[busy("web1", 2, 2)]);
    let all = |root: &Root| (root.count("select count(*) from cpu"), root.count("select sum(nsec_user) from cpu"));

    let sealed: std::sync::Arc<Sealed> = store.seal(START).unwrap().unwrap();
    put(&mut store, &[busy("web1", 3, 4)]);
    store.tick(START).unwrap();
    assert_eq!(all(&root), (3, 7), "sealed, not written");

    // Written, and its segment of the log not yet removed: as at a crash between the two.
    let segment = root.log().remove(0);
    let copy = root.path().join("copy");
    std::fs::copy(&segment, &copy).unwrap();
    sealed.write().unwrap();
    assert_eq!(all(&root), (3, 7), "written");
    std::fs::rename(&copy, &segment).unwrap();
    assert_eq!(all(&root), (3, 7), "in Parquet and in the log");

    drop(store);
    let store = root.open();
    assert_eq!(all(&root), (3, 7), "recovered");
    drop(store);
    assert_eq!(root.parquet("cpu").len(), 3);
}

#[test]
fn a_query_in_the_middle_of_a_running_collector_always_counts_right() {
    let root = Root::new();
    let mut store = root.open();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let mut asked = 0;
            let mut last = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) || asked < 3 {
                let row = root.ask("select count(*), count(distinct time), max(nsec_user) from cpu").cells.remove(0);
                let [Cell::Int(rows), Cell::Int(distinct), max] = row.as_slice() else { panic!("{row:?}") };
                let max = if let Cell::Uint(max) = max { *max as i64 } else { 0 };
                assert!(rows == distinct && *rows == max, "{rows} rows, {distinct} distinct, the last is {max}");
                assert!(*rows >= last, "{rows} after {last}");
                last = *rows;
                asked += 1;
            }
            asked
        });
        for i in 1..=400 {
            put(&mut store, &[busy("web1", i, i)]);
            store.tick(START).unwrap();
            if i % 20 == 0 {
                store.flush(START).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(asker.join().unwrap() >= 3);
    });
    assert_eq!(root.count("select count(*) from cpu"), 400);
}

#[test]
fn time_bounds_read_only_the_hours_they_name_and_change_no_answer() {
    let root = Root::new();
    let hours: Vec<_> = (0..5).map(|h| busy("web1", 1 + h * 3600, h)).collect();
    root.store(&hours);
    let one = "select nsec_user from cpu where time >= '2025-11-21T10:00:00Z' and time < '2025-11-21T11:00:00Z'";
    assert_eq!(root.ask(one).column(), [Cell::Uint(2)]);
    assert_eq!(
        root.count("select count(*) from cpu where time = '2025-11-21T08:00:01Z' or time > '2025-11-21T11:30:00Z'"),
        2
    );
    assert_eq!(
        root.count("select count(*) from cpu where time between '2025-11-21T08:00:00Z' and '2025-11-21T09:59:59Z'"),
        2
    );
    assert_eq!(root.count("select count(*) from cpu where time > now()"), 0);
}
