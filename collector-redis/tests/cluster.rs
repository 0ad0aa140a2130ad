//! A cluster of three masters: one is killed, slots move. Zones elsewhere do not notice, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and runs redis-cli")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::captures::{compare, packets, play};
use support::{Collector, Feed, Redis, ask, counted, wait_until, zone_number};

const SLOTS: u16 = 16384;

struct Cluster {
    masters: Vec<Redis>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let arguments = [
            ["--cluster-enabled", "yes"],
            ["--cluster-node-timeout", "2000"],
            ["--cluster-require-full-coverage", "no"],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
        ];
        let masters: Vec<Redis> = (0..3).map_while(|_| Redis::start(arguments.as_flattened())).collect();
        if masters.len() < 3 {
            return None;
        }
        for (place, master) in (0..3u16).zip(&masters) {
            let mut client = master.client();
            let (from, to) = (SLOTS / 3 * place, if place == 2 { SLOTS } else { SLOTS / 3 * (place + 1) });
            redis::cmd("CLUSTER").arg("ADDSLOTS").arg((from..to).collect::<Vec<_>>()).exec(&mut client).unwrap();
            let _: String = ask(&mut client, &["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            let _: String = ask(&mut client, &["CLUSTER", "MEET", "127.0.0.1", &masters[0].port.to_string()]);
        }
        let cluster = Cluster { masters };
        cluster.wait_until_well();
        Some(cluster)
    }

    fn wait_until_well(&self) {
        for master in &self.masters {
            let mut client = master.client();
            wait_until("the cluster to be well", || {
                let info: String = ask(&mut client, &["CLUSTER", "INFO"]);
                ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"].iter().all(|l| info.contains(l))
            });
        }
    }

    fn urls(&self) -> String {
        self.masters.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    fn client(&self) -> redis::cluster::ClusterConnection {
        let urls = self.masters.iter().map(Redis::url).collect::<Vec<_>>();
        redis::cluster::ClusterClient::new(urls).unwrap().get_connection().unwrap()
    }

    /// Which master has the zone.
    fn master_of(&self, zone: &str) -> usize {
        let slot: u16 = ask(&mut self.masters[0].client(), &["CLUSTER", "KEYSLOT", &format!("{{h/{zone}}}")]);
        usize::from(slot / (SLOTS / 3)).min(2)
    }
}

#[test]
fn a_captured_series_is_in_the_cluster_while_a_master_is_killed() {
    let Some(mut cluster) = Cluster::start() else { return };
    let name = "global-20130813T1645.packets.jsonl.zst";
    let packets = packets(name);
    let zone = packets[0]["zone"].as_str().unwrap();
    let mut feed = Feed::new("h");
    let urls = cluster.urls();
    let mut collector =
        Collector::run(&["--connect", &feed.endpoint(), "--cluster", "--redis", &urls, "--keep", "31d"]);
    feed.wait_for_collector();
    let victim = cluster.master_of(zone);
    play(name, &mut feed, |tick| {
        std::thread::sleep(Duration::from_millis(10));
        match tick {
            150 => cluster.masters[victim].kill(),
            300 => cluster.masters[victim].launch(),
            _ => {}
        }
    });
    let mut redis = cluster.client();
    wait_until("all frames to be in the cluster", || {
        zone_number(&mut redis, "h", zone, "frames") == packets.len() as u64
    });
    collector.wait_for("Redis is well again");
    assert_eq!(collector.end(), 0);
    let equal = compare(&packets, &mut redis, "h");
    assert!(equal > packets.len() * 100, "{equal} values");
    assert_eq!(zone_number(&mut redis, "h", zone, "missing"), 0);
    println!("{equal} values are equal");
}

#[test]
fn zones_of_other_masters_go_on_while_one_is_dead() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut feed = Feed::new("h");
    let urls = cluster.urls();
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--cluster", "--redis", &urls]);
    feed.wait_for_collector();
    const ZONES: usize = 30;
    feed.tick(ZONES, 1);
    let names: Vec<String> = (0..ZONES).map(|n| format!("z{n:03}")).collect();
    let victim = cluster.master_of("z000");
    let (dead, alive): (Vec<_>, Vec<_>) = names.iter().partition(|zone| cluster.master_of(zone) == victim);
    assert!(!alive.is_empty());
    let mut redis = cluster.client();
    let mut reach = |zones: &[&String], n: u64| {
        for zone in zones {
            wait_until(&format!("{zone} to reach {n}"), || counted(&mut redis, "h", zone).last() == Some(&n));
            assert_eq!(counted(&mut redis, "h", zone), (1..=n).collect::<Vec<_>>(), "{zone}");
        }
    };
    reach(&names.iter().collect::<Vec<_>>(), 1);
    cluster.masters[victim].kill();
    // Long after the cluster has noticed, too.
    for n in 2..=16 {
        feed.tick(ZONES, n);
        let sent = Instant::now();
        std::thread::sleep(Duration::from_millis(500));
        reach(&alive, n);
        assert!(sent.elapsed() < Duration::from_secs(5), "{:?} for tick {n}", sent.elapsed());
    }
    cluster.masters[victim].launch();
    cluster.wait_until_well();
    feed.tick(ZONES, 17);
    reach(&alive, 17);
    reach(&dead, 17);
    assert_eq!(collector.end(), 0);
}

#[test]
fn slots_that_move_take_their_zones_along() {
    let Some(cluster) = Cluster::start() else { return };
    if Command::new("redis-cli").arg("--version").output().is_err() {
        return support::skipped("resharding a Redis Cluster", "redis-cli is not installed");
    }
    let mut feed = Feed::new("h");
    let urls = cluster.urls();
    let collector = Collector::run(&["--connect", &feed.endpoint(), "--cluster", "--redis", &urls]);
    feed.wait_for_collector();
    const ZONES: usize = 60;
    feed.tick(ZONES, 1);
    let id = |place: usize| ask::<String>(&mut cluster.masters[place].client(), &["CLUSTER", "MYID"]);
    // It says much: a pipe that nobody reads meanwhile would stop it.
    let log = cluster.masters[0].directory.path().join("reshard");
    let mut reshard = Command::new("redis-cli")
        .args(["--cluster", "reshard", &format!("127.0.0.1:{}", cluster.masters[0].port)])
        .args(["--cluster-from", &id(0), "--cluster-to", &id(1), "--cluster-slots", "5000", "--cluster-yes"])
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut n = 1;
    let moved = loop {
        if let Some(status) = reshard.try_wait().unwrap() {
            break status;
        }
        n += 1;
        feed.tick(ZONES, n);
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(moved.success(), "{}", std::fs::read_to_string(log).unwrap());
    n += 1;
    feed.tick(ZONES, n);
    let mut redis = cluster.client();
    for zone in 0..ZONES {
        let zone = format!("z{zone:03}");
        wait_until(&format!("{zone} to reach {n}"), || counted(&mut redis, "h", &zone).last() == Some(&n));
        assert_eq!(counted(&mut redis, "h", &zone), (1..=n).collect::<Vec<_>>(), "{zone}");
    }
    assert_eq!(collector.end(), 0);
}
