//! What real chains and real captures do, and any reader of kstats must survive. Each test is named after it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::io::Cursor;

use proptest::prelude::*;
use zonescope_generator::kstat::chain::{Chain, Id, Kstat, Moment, Skipped, Stat, Visitor};
use zonescope_generator::kstat::replay::Replay;
use zonescope_generator::kstat::{KstatSource, text_j, text_p};
use zonescope_generator::recorded::{Playing, Recorded};
use zonescope_generator::source::{End, Sample, Source, Tick, ZoneSample};
use zonescope_proto::rate::{Identity, delta};
use zonescope_proto::resource::{Resource, Usage, usage};
use zonescope_proto::{ZoneName, family_named, v1};

const SECOND_NS: u64 = 1_000_000_000;

/// Every tick of a chain.
fn play(chain: impl Chain + 'static) -> Vec<Sample> {
    let source = KstatSource::new(Box::new(chain));
    let mut source = Recorded::new(Box::new(source), Playing { repeat: false, zones: 0 });
    let mut samples = Vec::new();
    loop {
        let mut sample = Sample::default();
        match source.sample(Tick { time_ns: SECOND_NS, interval_ns: SECOND_NS }, &mut sample) {
            Ok(()) => samples.push(sample),
            Err(End) => return samples,
        }
    }
}

/// JSON lines.
fn lines(text: impl Into<Vec<u8>>) -> Vec<Sample> {
    let text: Vec<u8> = text.into();
    play(Replay::new(Box::new(move || Ok(Box::new(Cursor::new(text.clone()))))).unwrap())
}

/// `kstat -p`.
fn printed(text: &[u8]) -> Sample {
    play(text_p::read(text).unwrap()).remove(0)
}

/// A recording: for each tick its kstats, `module:instance:name:crtime statistic=value,...`. Values that begin with a
/// letter are texts.
fn recording(ticks: &[&[&str]]) -> Vec<Sample> {
    let mut text = String::from("{\"zonescope\": \"kstat\", \"version\": 1, \"page_size\": 4096}\n");
    for (tick, kstats) in ticks.iter().enumerate() {
        let ns = (tick as u64 + 1) * SECOND_NS;
        writeln!(text, "{{\"tick\": {{\"utc_ns\": {ns}, \"hrtime_ns\": {ns}}}}}").unwrap();
        for kstat in *kstats {
            let (id, stats) = kstat.split_once(' ').unwrap();
            let [module, instance, name, crtime] = id.split(':').collect::<Vec<_>>().try_into().unwrap();
            let stats: Vec<String> = stats.split(',').map(|stat| stat.split_once('=').unwrap()).map(json).collect();
            let stats = stats.join(", ");
            writeln!(
                text,
                "{{\"module\": \"{module}\", \"instance\": {instance}, \"name\": \"{name}\", \"crtime_ns\": {crtime}, \
                 \"snaptime_ns\": {ns}, \"data\": {{{stats}}}}}"
            )
            .unwrap();
        }
    }
    lines(text)
}

fn json((name, value): (&str, &str)) -> String {
    let quote = if value.starts_with(|c: char| c.is_ascii_alphabetic()) { "\"" } else { "" };
    format!("\"{name}\": {quote}{value}{quote}")
}

fn zone<'a>(sample: &'a Sample, name: &str) -> &'a ZoneSample {
    &sample.zones[&ZoneName::lossy(name)]
}

fn collect<'a>(sample: &'a Sample, family: &str) -> &'a v1::Collect {
    sample.collect.iter().find(|c| c.family == family).unwrap()
}

/// What `use` says of a zone at its second tick.
fn used(samples: &[Sample], name: &str, resource: Resource) -> Usage {
    let frame = |at: usize| {
        let zone = zone(&samples[at], name);
        let header =
            v1::Header { zone: Some(zone.zone.clone()), time: (at as u64 + 1) * SECOND_NS, ..v1::Header::default() };
        v1::Frame { header: Some(header), ..*zone.frame.clone() }
    };
    usage(Some(&frame(0)), &frame(1)).into_iter().find(|u| u.resource == resource).unwrap()
}

#[test]
fn empty_statistic_names_are_slots_that_the_kernel_left_empty() {
    // memory_cap has had two of them since its page-fault throttle went: zone_mcap_kstat_create, os/zone.c.
    let sample = printed(
        b"memory_cap:7:web1:\t\nmemory_cap:7:web1:\t\nmemory_cap:7:web1:rss\t5\nmemory_cap:7:web1:zonename\tweb1\n",
    );
    assert_eq!(zone(&sample, "web1").frame.memory.as_ref().unwrap().rss, Some(5));
    assert_eq!((collect(&sample, "memory").drops, collect(&sample, "memory").errors), (Some(0), Some(0)));
}

#[test]
fn of_two_statistics_with_one_name_the_first_counts() {
    // As kstat_data_lookup(3KSTAT) finds it.
    let sample = printed(b"memory_cap:7:web1:rss\t5\nmemory_cap:7:web1:rss\t6\nmemory_cap:7:web1:zonename\tweb1\n");
    assert_eq!(zone(&sample, "web1").frame.memory.as_ref().unwrap().rss, Some(5));
}

#[test]
fn strings_that_are_not_utf8_cost_nothing_but_their_letters() {
    let mut text =
        b"zones:7:web1:zonename\tweb1\nsderr:0:sd0,err:Vendor\tAT\xff\xfe\nsderr:0:sd0,err:Hard Errors\t3\n".to_vec();
    let sample = printed(&text);
    assert_eq!(zone(&sample, "global").frame.disk_error[0].hard_errors, Some(3));
    text = b"{\"module\":\"sderr\",\"instance\":0,\"name\":\"sd0,err\",\"data\":{\"Vendor\":\"AT\xff\",\"Hard Errors\":3}}\n".to_vec();
    let samples = lines(text);
    assert_eq!(zone(&samples[0], "global").frame.disk_error[0].hard_errors, Some(3));
    assert_eq!(collect(&samples[0], "chain").drops, Some(0));
}

#[test]
fn a_limit_of_all_ones_is_no_limit() {
    // Once as the limits of swap and projects say it, once as 32 bits of pages.
    for none in ["18446744073709551615", "17592186040320"] {
        let memory = format!("memory_cap:7:web1:9 zonename=web1,rss=1073741824,physcap={none},swapcap={none}");
        let caps = format!("caps:7:physicalmem_zone_7:9 zonename=web1,usage=1073741824,value={none}");
        let tick: &[&str] = &["unix:0:system_pages:0 physmem=1048576", &memory, &caps];
        let samples = recording(&[tick, tick]);
        let frame = &zone(&samples[1], "web1").frame;
        assert_eq!(frame.memory.as_ref().unwrap().physcap, Some(u64::MAX));
        assert_eq!(frame.caps[0].value, Some(u64::MAX));
        let memory = used(&samples, "web1", Resource::Memory);
        assert_eq!((memory.cap, memory.utilization), (None, Some(0.25)), "of the host's 4 GiB");
    }
}

#[test]
fn a_counter_that_steps_back_by_milliseconds_has_not_grown_and_was_not_reset() {
    // sd1 of the SmartOS host of 2013.
    let tick = |rtime| format!("sd:1:sd1:5 rtime={rtime},rlentime=9000000000,rlastupdate=1");
    let (one, two) = (tick(2_435_301_100_932u64), tick(2_435_299_100_932));
    let samples = recording(&[&[&one], &[&two]]);
    assert_eq!(used(&samples, "global", Resource::Disk).utilization, Some(0.0));
}

#[test]
fn a_counter_of_32_bits_wraps() {
    let tick = |errors: u32| format!("link:0:net0:5 zonename=web1,ierrors={errors},oerrors=0");
    let (one, two) = (tick(u32::MAX - 4), tick(6));
    let samples = recording(&[&[&one], &[&two]]);
    assert_eq!(used(&samples, "web1", Resource::Net).errors, Some(11.0));
    // So do the operations of every kstat_io (kstat.h), and what the kernel copies from one.
    for (table, fields) in
        [("disk", ["reads", "writes"]), ("zpool", ["reads", "writes"]), ("zone_vfs", ["reads", "writes"])]
    {
        let family = family_named(table).unwrap();
        assert!(fields.iter().all(|f| family.fields[family.field(f).unwrap()].bits == 32), "{table}");
    }
}

#[test]
fn a_raw_kstat_is_counted_and_said_to_be_raw() {
    let samples = lines(
        "{\"module\":\"zones\",\"instance\":7,\"name\":\"web1\",\"data\":null}\n\
         {\"module\":\"link\",\"instance\":0,\"name\":\"net0\",\"data\":{\"zonename\":\"web1\",\"rbytes64\":1}}\n",
    );
    let chain = collect(&samples[0], "chain");
    assert!(chain.error.as_deref().unwrap().contains("zones:7:web1 is raw"), "{chain:?}");
    assert_eq!(chain.success, Some(0));
    assert_eq!(zone(&samples[0], "web1").frame.net[0].rbytes64, Some(1));
}

#[test]
fn a_chain_without_zones_gives_an_empty_tick() {
    let samples = recording(&[&[], &["kmem_cache:0:kmem_magazine_1:5 buf_size=16"]]);
    assert!(samples.iter().all(|s| s.zones.is_empty() && collect(s, "cpu").rows == Some(0)));
}

#[test]
fn a_capture_cut_in_the_middle_of_a_line_gives_the_rest_and_says_so() {
    let printed = printed(b"memory_cap:7:web1:rss\t5\nmemory_cap:7:web1:zonename\tweb1\nmemory_cap:7:web1:sw");
    assert_eq!(zone(&printed, "web1").frame.memory.as_ref().unwrap().rss, Some(5));
    let listed = b"[{\n\t\"module\": \"zones\",\n\t\"instance\": 7,\n\t\"name\": \"web1\",\n\t\"data\": {\n\t\t\"nsec_user\": 3,\n\t\t\"nsec";
    let listed = play(text_j::read(listed.as_slice()).unwrap()).remove(0);
    assert_eq!(zone(&listed, "web1").frame.cpu.as_ref().unwrap().nsec_user, Some(3));
    let cut = "{\"module\":\"zones\",\"instance\":7,\"name\":\"web1\",\"data\":{\"nsec_user\":3}}\n{\"module\":\"zones\",\"insta";
    let cut = lines(cut).remove(0);
    assert_eq!(zone(&cut, "web1").frame.cpu.as_ref().unwrap().nsec_user, Some(3));
    for sample in [printed, listed, cut] {
        let chain = collect(&sample, "chain");
        assert_eq!((chain.drops, chain.success), (Some(1), Some(0)), "{chain:?}");
    }
}

#[test]
fn zones_whose_kstats_share_a_truncated_name_are_two() {
    let (one, two) = ("shop-frontend-of-the-north-east-1", "shop-frontend-of-the-north-east-2");
    let kstat = |id: u64, zone: &str| format!("zones:{id}:{}:5 zonename={zone},nsec_user={id}", &zone[..30]);
    let samples = recording(&[&[&kstat(6, one), &kstat(8, two)]]);
    let user = |name: &str| zone(&samples[0], name).frame.cpu.as_ref().unwrap().nsec_user;
    assert_eq!((user(one), user(two)), (Some(6), Some(8)));
}

#[test]
fn a_zone_that_reboots_is_another_instance_and_its_counters_are_new() {
    let samples = recording(&[
        &[
            "unix:0:system_misc:0 ncpus=1",
            "zones:7:web1:100 zonename=web1,boot_time=1000,nsec_user=900000000,nsec_sys=0",
        ],
        // More than before within a second: without the other id it would look like growth.
        &[
            "unix:0:system_misc:0 ncpus=1",
            "zones:9:web1:200 zonename=web1,boot_time=2000,nsec_user=950000000,nsec_sys=0",
        ],
    ]);
    let instance = |at: usize| {
        let zone = zone(&samples[at], "web1");
        (zone.zone.id, zone.zone.boot_time / SECOND_NS, zone.frame.cpu.as_ref().unwrap().crtime)
    };
    assert_eq!((instance(0), instance(1)), ((7, 1000, Some(100)), (9, 2000, Some(200))));
    assert_eq!(used(&samples, "web1", Resource::Cpu).utilization, Some(0.95));
    assert_eq!(delta(900_000_000, 950_000_000, 64, Identity::Changed), 950_000_000);
}

#[test]
fn an_id_that_is_used_again_is_another_zones() {
    let samples = recording(&[
        &["zones:7:web1:100 zonename=web1,nsec_user=1", "tcp:7:tcp:100 inSegs=1"],
        &["zones:7:db1:200 zonename=db1,nsec_user=2", "tcp:7:tcp:200 inSegs=2"],
    ]);
    assert_eq!(samples[1].zones.keys().map(ZoneName::as_str).collect::<Vec<_>>(), ["db1"]);
    assert_eq!(zone(&samples[0], "web1").frame.tcp.as_ref().unwrap().in_segs, Some(1));
    assert_eq!(zone(&samples[1], "db1").frame.tcp.as_ref().unwrap().in_segs, Some(2));
}

#[test]
fn a_kstat_that_vanished_is_absent_and_a_zone_without_kstats_has_no_frame() {
    let samples = recording(&[
        &[
            "zones:7:web1:1 zonename=web1,nsec_user=1",
            "caps:7:cpucaps_zone_7:1 zonename=web1,value=100",
            "zones:8:db1:1 zonename=db1,nsec_user=1",
        ],
        &["zones:7:web1:1 zonename=web1,nsec_user=2"],
    ]);
    assert!(zone(&samples[0], "web1").frame.cpucaps.is_some());
    assert!(zone(&samples[1], "web1").frame.cpucaps.is_none(), "no cap is not a cap of 0");
    assert_eq!((samples[0].zones.len(), samples[1].zones.len()), (2, 1));
}

/// A live chain whose ticks start late, each by another time, and of which one zone uses exactly one CPU.
struct Late {
    late_ns: std::vec::IntoIter<u64>,
    tick: u64,
    now_ns: u64,
}

impl Chain for Late {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        self.tick += 1;
        self.now_ns = self.tick * SECOND_NS + self.late_ns.next().unwrap();
        Ok(Some(Moment { hrtime_ns: Some(77 + self.now_ns), utc_ns: Some(self.now_ns), page_size: 4096 }))
    }

    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped {
        let mut show = |module, name, stats: &[(&str, Stat<'_>)]| {
            let id = Id { module, instance: 7, name };
            if visitor.wants(id) {
                visitor.kstat(&Kstat { id, crtime_ns: Some(1), snaptime_ns: Some(77 + self.now_ns), stats });
            }
        };
        show(
            "zones",
            "web1",
            &[("zonename", Stat::Text("web1")), ("nsec_user", Stat::Uint(self.now_ns)), ("nsec_sys", Stat::Uint(0))],
        );
        show("unix", "system_misc", &[("ncpus", Stat::Uint(1))]);
        Skipped::default()
    }
}

#[test]
fn a_tick_that_starts_late_does_not_make_a_zone_look_busier() {
    let mut source =
        KstatSource::new(Box::new(Late { late_ns: vec![1_000_000, 250_000_000].into_iter(), tick: 0, now_ns: 0 }));
    let mut samples = Vec::new();
    for tick in 1..=2 {
        let mut sample = Sample::default();
        source.sample(Tick { time_ns: tick * SECOND_NS, interval_ns: SECOND_NS }, &mut sample).unwrap();
        samples.push(sample);
    }
    assert_eq!(zone(&samples[1], "web1").frame.cpu.as_ref().unwrap().snaptime, Some(250_000_000));
    assert_eq!(used(&samples, "web1", Resource::Cpu).utilization, Some(1.0));
}

#[test]
fn unknown_and_retyped_statistics_are_counted_and_named_and_the_rest_is_read() {
    let kstat = "zones:7:web1:1 zonename=web1,nsec_user=words,nsec_sys=2,brand_new=3";
    let samples = recording(&[&[kstat], &[kstat]]);
    let cpu = collect(&samples[1], "cpu");
    assert_eq!((cpu.drops, cpu.errors, cpu.success), (Some(2), Some(2), Some(0)), "since the start");
    assert_eq!(cpu.error.as_deref(), Some("statistic \"nsec_user\" is of another type"));
    let row = zone(&samples[1], "web1").frame.cpu.as_ref().unwrap();
    assert_eq!((row.nsec_user, row.nsec_sys), (None, Some(2)));
}

#[test]
fn ip_and_udp_belong_to_the_zone_that_we_run_in_unless_its_stack_is_the_hosts() {
    let (web1, ip) = ("zones:7:web1:1 zonename=web1,nsec_user=1", "ip:0:ip:1 inReceives=5");
    let own = recording(&[&[web1, ip, "tcp:7:tcp:1 inSegs=1"]]);
    assert!(zone(&own[0], "web1").frame.ip.is_some() && zone(&own[0], "web1").frame.udp.is_some());
    let shared = recording(&[&[web1, ip, "tcp:0:tcp:1 inSegs=1"]]);
    assert!(zone(&shared[0], "web1").frame.ip.is_none() && zone(&shared[0], "global").frame.ip.is_some());
    let from_global = recording(&[&[web1, "zones:0:global:1 zonename=global,nsec_user=1", ip, "tcp:7:tcp:1 inSegs=1"]]);
    assert!(zone(&from_global[0], "global").frame.ip.is_some());
}

#[test]
fn a_vms_cpus_belong_to_the_zone_that_it_is_named_after_and_those_it_has_not_are_left_out() {
    let samples = recording(&[&[
        "zones:0:global:1 zonename=global,nsec_user=1",
        "zones:7:vm1:1 zonename=vm1,nsec_user=1",
        "vmm:3:vm:1 vm_name=vm1",
        "vmm:3:vcpu0:1 vcpu=0,time_init=1,time_run=2,time_idle=3,time_emu_kern=4,time_emu_user=5,time_sched=6",
        "vmm:3:vcpu1:1 vcpu=1,time_init=0,time_run=0,time_idle=0,time_emu_kern=0,time_emu_user=0,time_sched=0",
        "vmm:4:vm:1 vm_name=of_the_hosts_own",
        "vmm:4:vcpu0:1 vcpu=0,time_run=9",
    ]]);
    let vcpus =
        |name: &str| zone(&samples[0], name).frame.vcpu.iter().map(|v| (v.vcpu, v.time_run)).collect::<Vec<_>>();
    assert_eq!((vcpus("vm1"), vcpus("global")), (vec![(0, Some(2))], vec![(0, Some(9))]));
    assert_eq!(collect(&samples[0], "vcpu").drops, Some(0));
}

#[test]
fn the_load_comes_from_system_misc_where_the_zones_own_kstat_lacks_it() {
    let misc = "unix:0:system_misc:0 ncpus=4,avenrun_1min=256,avenrun_5min=128,avenrun_15min=64";
    let old = recording(&[&[
        misc,
        "zones:0:global:1 zonename=global,nsec_user=1",
        "zones:7:web1:1 zonename=web1,nsec_user=1",
    ]]);
    let load = |name: &str| zone(&old[0], name).frame.cpu.as_ref().unwrap().avenrun_1min;
    assert_eq!((load("global"), load("web1")), (Some(256), None));
    let new = recording(&[&[misc, "zones:0:global:1 zonename=global,avenrun_1min=7"]]);
    assert_eq!(zone(&new[0], "global").frame.cpu.as_ref().unwrap().avenrun_1min, Some(7));
}

const PRINTED: &[u8] = include_bytes!("../fixtures/kstat/omnios-2021.kstat-p.txt");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_give_a_tick_in_every_form(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        printed(&bytes);
        play(text_j::read(bytes.as_slice()).unwrap());
        lines(bytes);
    }

    /// Damage to a real capture reaches deeper than noise does.
    #[test]
    fn a_damaged_capture_gives_a_tick(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = PRINTED.to_vec();
        for (at, to) in damage {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        printed(&bytes);
    }

    #[test]
    fn any_numbers_give_a_tick(tick in any::<(u64, u64)>(), page_size in any::<u64>(), times in any::<(u64, u64)>(), instance in any::<i32>(), value in any::<u64>()) {
        let kstat = |module: &str, statistic: &str| format!(
            "{{\"module\":\"{module}\",\"instance\":{instance},\"name\":\"vcpu{value}\",\"crtime_ns\":{},\"snaptime_ns\":{},\"data\":{{\"{statistic}\":{value}}}}}\n",
            times.0, times.1
        );
        let mut text = format!("{{\"zonescope\":\"kstat\",\"page_size\":{page_size}}}\n{{\"tick\":{{\"utc_ns\":{},\"hrtime_ns\":{}}}}}\n", tick.0, tick.1);
        for (module, statistic) in [("zones", "boot_time"), ("memory_cap", "physcap"), ("vmm", "time_run"), ("link", "rbytes64"), ("cpu", "intr")] {
            text += &kstat(module, statistic);
        }
        text += &format!("{{\"module\":\"unix\",\"instance\":0,\"name\":\"system_pages\",\"data\":{{\"physmem\":{value}}}}}\n");
        prop_assert_eq!(lines(text).len(), 1);
    }
}
