//! Utilization, saturation and errors, as the operator is promised them.

#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking; the numbers are exact")]

use zonescope_proto::resource::{Resource, Tracker, Usage, usage};
use zonescope_proto::v1::*;

const S: u64 = 1_000_000_000;

/// A frame of zone `web1`, so many seconds after the first.
fn at(second: u64, frame: Frame) -> Frame {
    let zone = Some(Zone { name: "web1".into(), id: 5, ..Zone::default() });
    let header = Header { host_id: "h".into(), zone, time: 1000 * S + second * S, ..Header::default() };
    Frame { header: Some(header), ..frame }
}

fn of(resource: Resource, previous: Frame, current: Frame) -> Usage {
    usage(Some(&at(0, previous)), &at(1, current))[resource as usize]
}

fn cpu(cpu: Cpu) -> Frame {
    Frame { cpu: Some(cpu), ..Frame::default() }
}

fn busy(nsec_user: u64) -> Cpu {
    Cpu { nsec_user: Some(nsec_user), nsec_sys: Some(0), ncpus: Some(4), ..Cpu::default() }
}

#[test]
fn cpu_is_measured_against_the_host_where_there_is_no_cap() {
    let usage = of(Resource::Cpu, cpu(busy(0)), cpu(busy(2 * S)));
    assert_eq!((usage.utilization, usage.cap), (Some(0.5), None));
}

#[test]
fn cpu_is_measured_against_the_cap_and_may_pass_it_in_a_burst() {
    let capped = |nsec| Frame {
        cpucaps: Some(CpuCaps { value: Some(100), nwait: Some(3), ..CpuCaps::default() }),
        ..cpu(busy(nsec))
    };
    let usage = of(Resource::Cpu, capped(0), capped(2 * S));
    assert_eq!((usage.utilization, usage.cap, usage.throttled), (Some(2.0), Some(1.0), Some(3.0)));
}

#[test]
fn a_linux_quota_is_a_cap() {
    let quota = |nsec| cpu(Cpu { quota_usec: Some(50_000), period_usec: Some(100_000), ..busy(nsec) });
    let usage = of(Resource::Cpu, quota(0), quota(S / 4));
    assert_eq!((usage.utilization, usage.cap), (Some(0.5), Some(0.5)));
}

#[test]
fn a_cap_of_u64_max_is_none() {
    let memory = |rss| Frame {
        memory: Some(Memory { rss: Some(rss), physcap: Some(u64::MAX), physmem: Some(1000), ..Memory::default() }),
        ..Frame::default()
    };
    let usage = of(Resource::Memory, memory(0), memory(250));
    assert_eq!((usage.utilization, usage.cap), (Some(0.25), None));
}

#[test]
fn the_page_cache_that_can_be_dropped_is_no_use_of_memory() {
    let frame = Frame {
        memory: Some(Memory {
            memory_current: Some(800),
            inactive_file: Some(300),
            physcap: Some(1000),
            ..Memory::default()
        }),
        ..Frame::default()
    };
    assert_eq!(of(Resource::Memory, frame.clone(), frame).utilization, Some(0.5));
}

#[test]
fn a_global_zone_that_reports_no_rss_has_the_hosts_memory() {
    let frame = Frame {
        memory: Some(Memory { rss: Some(0), physcap: Some(u64::MAX), physmem: Some(4096), ..Memory::default() }),
        host_memory: Some(HostMemory { physmem: Some(100), freemem: Some(40), ..HostMemory::default() }),
        ..Frame::default()
    };
    assert_eq!(of(Resource::Memory, frame.clone(), frame).utilization, Some(0.6));
}

#[test]
fn zone_vfs_is_reads_and_writes_under_way_and_no_queue() {
    let vfs = |rtime, wtime, rlentime, delay| Frame {
        zone_vfs: Some(ZoneVfs {
            rtime: Some(rtime),
            wtime: Some(wtime),
            rlentime: Some(rlentime),
            wlentime: Some(0),
            delay_time: Some(delay),
            ..ZoneVfs::default()
        }),
        ..Frame::default()
    };
    let usage = of(Resource::Disk, vfs(0, 0, 0, 0), vfs(S / 4, S / 2, 2 * S, 100_000));
    assert_eq!((usage.utilization, usage.saturation, usage.saturation_unit), (Some(0.5), Some(2.0), "operations"));
    assert_eq!(usage.throttled, Some(0.1));
}

#[test]
fn linux_pressure_is_a_share_of_time() {
    let psi = |some, full| Frame {
        pressure: Some(Pressure { io_some: Some(some), io_full: Some(full), ..Pressure::default() }),
        ..Frame::default()
    };
    let usage = of(Resource::Disk, psi(0, 0), psi(500_000, 250_000));
    assert_eq!((usage.utilization, usage.saturation, usage.saturation_unit), (Some(0.25), Some(0.5), "share of time"));
}

#[test]
fn the_busiest_link_counts_in_its_busier_direction() {
    let net = |rbytes, obytes| Frame {
        net: vec![
            Net { link: "lo".into(), rbytes64: Some(obytes * 9), obytes64: Some(obytes * 9), ..Net::default() },
            Net {
                link: "net0".into(),
                rbytes64: Some(rbytes),
                obytes64: Some(obytes),
                ifspeed: Some(8_000_000),
                ierrors: Some(rbytes / 1000),
                ..Net::default()
            },
        ],
        ..Frame::default()
    };
    let usage = of(Resource::Net, net(0, 0), net(100_000, 500_000));
    assert_eq!((usage.utilization, usage.errors), (Some(0.5), Some(100.0)));
}

#[test]
fn what_the_platform_does_not_say_is_none_and_not_zero() {
    for row in usage(Some(&at(0, Frame::default())), &at(1, Frame::default())) {
        assert_eq!((row.utilization, row.saturation, row.errors, row.throttled), (None, None, None, None));
    }
    let first = usage(None, &at(0, cpu(busy(5))))[0];
    assert_eq!(first.utilization, None, "one reading makes no rate");
}

#[test]
fn deltas_are_taken_between_readings_and_not_between_ticks() {
    let late = cpu(Cpu { snaptime: Some(S as i64), ..busy(4 * S) });
    let usage = of(Resource::Cpu, cpu(Cpu { snaptime: Some(0), ..busy(0) }), late);
    assert_eq!(usage.utilization, Some(0.5), "4 s of CPU in 2 s on 4 CPUs");
}

#[test]
fn another_instance_of_the_zone_has_counted_since_its_start() {
    let mut reborn = at(1, cpu(busy(S)));
    reborn.header.as_mut().unwrap().zone.as_mut().unwrap().id = 6;
    let usage = usage(Some(&at(0, cpu(busy(900 * S)))), &reborn);
    assert_eq!(usage[0].utilization, Some(0.25));
}

#[test]
fn a_tracker_needs_two_frames_in_order_and_forgets_the_dead() {
    let mut tracker = Tracker::default();
    assert_eq!(tracker.observe(at(0, cpu(busy(0)))).unwrap()[0].utilization, None);
    assert_eq!(tracker.observe(at(1, cpu(busy(S)))).unwrap()[0].utilization, Some(0.25));
    assert!(tracker.observe(at(1, cpu(busy(S)))).is_none(), "a frame twice");
    tracker.forget_before(2000 * S);
    assert_eq!(tracker.observe(at(2000, cpu(busy(2 * S)))).unwrap()[0].utilization, None);
}
