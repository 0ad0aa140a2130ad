//! Packets of the 2013 system, as its sender made them: one JSON object a second and zone.
//!
//! | packet | family |
//! |---|---|
//! | ticks, processes, threads | oncpu |
//! | mem | memory, host_memory |
//! | cpu: samples by core | oncpu_core |
//! | disk `zone_vfs`, `zone_zfs`, any other | zone_vfs, zone_zfs, disk with disk_error |
//! | net | net |
//! | proc: samples by process and core | oncpu_process |

use std::io::{BufRead, Lines};
use std::path::PathBuf;

use serde::Deserialize;
use zonescope_proto::{ZoneName, v1};

use super::{Capture, open};
use crate::source::Sample;

/// One packet.
#[derive(Debug, Deserialize)]
struct Packet {
    zone: String,
    /// s since 1970 UTC
    time: u64,
    ticks: u64,
    processes: u64,
    threads: u64,
    mem: Mem,
    cpu: Vec<u64>,
    disk: Vec<Disk>,
    net: Vec<Net>,
    proc: Vec<Proc>,
}

#[derive(Debug, Deserialize)]
struct Mem {
    rss: Option<u64>,
    physcap: Option<u64>,
    swap: Option<u64>,
    swapcap: Option<u64>,
    physmem: Option<u64>,
    pp_kernel: Option<u64>,
    freemem: Option<u64>,
    nalloc: Option<u64>,
    nfree: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Disk {
    instance: String,
    nread: Option<u64>,
    nwritten: Option<u64>,
    reads: Option<u64>,
    writes: Option<u64>,
    wtime: Option<u64>,
    wlentime: Option<u64>,
    rtime: Option<u64>,
    rlentime: Option<u64>,
    harderror: Option<u64>,
    softerror: Option<u64>,
    tranerror: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Net {
    instance: String,
    obytes64: Option<u64>,
    rbytes64: Option<u64>,
    opackets: Option<u64>,
    ipackets: Option<u64>,
    oerrors: Option<u64>,
    ierrors: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Proc {
    pid: u64,
    execname: String,
    usage: u64,
    cpu: u64,
}

/// A file of packets.
pub struct Series {
    path: PathBuf,
    lines: Lines<Box<dyn BufRead + Send>>,
    errors: u64,
}

impl Series {
    /// Plays the packets at `path`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn open(path: PathBuf) -> std::io::Result<Self> {
        let lines = open::reader(&path)?.lines();
        Ok(Series { path, lines, errors: 0 })
    }
}

impl Capture for Series {
    fn next(&mut self, sample: &mut Sample) -> Option<Option<u64>> {
        loop {
            let line = self.lines.next()?;
            let packet = line
                .map_err(|e| e.to_string())
                .and_then(|l| serde_json::from_str::<Packet>(&l).map_err(|e| e.to_string()));
            let error = match packet {
                Ok(packet) => {
                    let time = packet.time.saturating_mul(1_000_000_000);
                    project(packet, sample);
                    sample.collect.push(collect(self.errors, None));
                    return Some(Some(time));
                }
                Err(error) => error,
            };
            self.errors += 1;
            tracing::warn!(file = %self.path.display(), "left out a packet that cannot be read: {error}");
            sample.collect.push(collect(self.errors, Some(error)));
        }
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.lines = open::reader(&self.path)?.lines();
        Ok(())
    }
}

fn collect(errors: u64, error: Option<String>) -> v1::Collect {
    v1::Collect {
        source: "recorded".to_owned(),
        family: "packet".to_owned(),
        success: Some(u64::from(error.is_none())),
        errors: Some(errors),
        error,
        ..v1::Collect::default()
    }
}

fn project(packet: Packet, sample: &mut Sample) {
    let frame = &mut sample.zone(&ZoneName::lossy(&packet.zone)).frame;
    frame.oncpu =
        Some(v1::OnCpu { ticks: Some(packet.ticks), processes: Some(packet.processes), threads: Some(packet.threads) });
    frame.oncpu_core =
        (0..).zip(packet.cpu).map(|(core, samples)| v1::OnCpuCore { core, samples: Some(samples) }).collect();
    frame.oncpu_process = packet
        .proc
        .into_iter()
        .map(|p| v1::OnCpuProcess { pid: p.pid, execname: p.execname, core: p.cpu, samples: Some(p.usage) })
        .collect();
    memory(&packet.mem, frame);
    for disk in packet.disk {
        match disk.instance.as_str() {
            "zone_vfs" => frame.zone_vfs = Some(zone_vfs(&disk)),
            "zone_zfs" => frame.zone_zfs = Some(zone_zfs(&disk)),
            _ => host_disk(disk, frame),
        }
    }
    frame.net = packet.net.into_iter().map(net).collect();
}

fn memory(mem: &Mem, frame: &mut v1::Frame) {
    frame.memory = Some(v1::Memory {
        rss: mem.rss,
        physcap: mem.physcap,
        swap: mem.swap,
        swapcap: mem.swapcap,
        ..v1::Memory::default()
    });
    let host = v1::HostMemory {
        physmem: mem.physmem,
        pp_kernel: mem.pp_kernel,
        freemem: mem.freemem,
        nalloc: mem.nalloc,
        nfree: mem.nfree,
        ..v1::HostMemory::default()
    };
    frame.host_memory = (host != v1::HostMemory::default()).then_some(host);
}

fn zone_vfs(disk: &Disk) -> v1::ZoneVfs {
    v1::ZoneVfs {
        nread: disk.nread,
        reads: disk.reads,
        rtime: disk.rtime,
        rlentime: disk.rlentime,
        nwritten: disk.nwritten,
        writes: disk.writes,
        wtime: disk.wtime,
        wlentime: disk.wlentime,
        ..v1::ZoneVfs::default()
    }
}

fn zone_zfs(disk: &Disk) -> v1::ZoneZfs {
    v1::ZoneZfs {
        nread: disk.nread,
        reads: disk.reads,
        rtime: disk.rtime,
        rlentime: disk.rlentime,
        nwritten: disk.nwritten,
        writes: disk.writes,
        wtime: disk.wtime,
        wlentime: disk.wlentime,
        ..v1::ZoneZfs::default()
    }
}

fn host_disk(disk: Disk, frame: &mut v1::Frame) {
    if disk.harderror.or(disk.softerror).or(disk.tranerror).is_some() {
        frame.disk_error.push(v1::DiskError {
            device: disk.instance.clone(),
            hard_errors: disk.harderror,
            soft_errors: disk.softerror,
            transport_errors: disk.tranerror,
            ..v1::DiskError::default()
        });
    }
    frame.disk.push(v1::Disk {
        device: disk.instance,
        nread: disk.nread,
        nwritten: disk.nwritten,
        reads: disk.reads,
        writes: disk.writes,
        wtime: disk.wtime,
        wlentime: disk.wlentime,
        rtime: disk.rtime,
        rlentime: disk.rlentime,
        ..v1::Disk::default()
    });
}

fn net(net: Net) -> v1::Net {
    v1::Net {
        link: net.instance,
        rbytes64: net.rbytes64,
        obytes64: net.obytes64,
        ipackets: net.ipackets,
        opackets: net.opackets,
        ierrors: net.ierrors,
        oerrors: net.oerrors,
        ..v1::Net::default()
    }
}
