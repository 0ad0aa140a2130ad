//! The checks that programs share.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};

use super::publisher::{Publisher, Silent, ask, host_and_port};
use super::{Finding, Verdict};
use crate::clock::Clock;
use crate::transport::{Credentials, Endpoint};

/// No host that runs this is older, ns since 1970 UTC: 2026-01-01. A clock before it was never set.
const OLDEST_CLOCK_NS: u64 = 1_767_225_600_000_000_000;

/// Clocks that differ by more than a few ticks put rows of one instant far apart.
const CLOCKS_DIFFER_NS: u64 = 2_000_000_000;

/// Connecting to a port, to see whether it is open.
const CONNECT: Duration = Duration::from_secs(3);

/// Whether the clock was ever set.
pub fn clock(clock: &dyn Clock) -> Finding {
    let now_ns = clock.now_ns();
    if now_ns < OLDEST_CLOCK_NS {
        let found = format!("it is {} s since 1970: the clock was never set", now_ns / 1_000_000_000);
        return Finding::fail("clock", found, "set it, and keep it: ntpd, chronyd or systemd-timesyncd");
    }
    Finding::ok("clock", "was set; each generator's is compared below, where one answers")
}

/// Whether `endpoint` can be listened on, or is listened on by our own host's generator: then who that is, if it says so within
/// `patience`. `start` says how to start what does not run.
pub async fn listen(
    endpoint: &str,
    credentials: &Credentials,
    host_id: &str,
    patience: Duration,
    start: &str,
    clock: &dyn Clock,
) -> (Finding, Option<Publisher>) {
    let finding = match free(endpoint) {
        Ok(()) => Finding::warn("port", format!("{endpoint} is free: no generator runs here"), start),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match ask(endpoint, credentials, patience, clock).await {
            Ok(it) if it.host_id == host_id => {
                return (Finding::ok("port", format!("{endpoint} is ours: {}", describe(&it))), Some(it));
            }
            Ok(it) => Finding::fail(
                "port",
                format!("{endpoint} is taken by the generator of another host_id: {}", describe(&it)),
                "end that one, or name another address in `bind`",
            ),
            Err(silent @ Silent::Nothing(_)) => Finding::fail(
                "port",
                format!("{endpoint} is taken: {silent}"),
                "if it is our generator it hangs: restart it, and send its log; else name another address in `bind`",
            ),
            Err(silent) => Finding::fail(
                "port",
                format!("{endpoint} is taken, and not by a generator: {silent}"),
                "find who has it (ss -ltnp; on illumos pfiles of the suspects), or name another address in `bind`",
            ),
        },
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Finding::fail(
            "port",
            format!("{endpoint}: this host has no such address"),
            "name one that it has in `bind` (ip address; on illumos ipadm show-addr)",
        ),
        Err(error) => Finding::fail("port", format!("{endpoint}: {error}"), "name another address in `bind`"),
    };
    (finding, None)
}

/// Whether `endpoint` can be listened on.
///
/// # Errors
/// Why not.
pub fn free(endpoint: &str) -> std::io::Result<()> {
    let (host, port) = host_and_port(endpoint)?;
    TcpListener::bind((host, port)).map(drop)
}

/// Whether a generator publishes at each of `endpoints`, which it is, and whether it can be asked for what was missed.
pub async fn peers(endpoints: &[Endpoint], patience: Duration, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Endpoint { address, credentials } in endpoints {
        match ask(address, credentials, patience, clock).await {
            Ok(publisher) => findings.extend([peer(address, &publisher), recovery(address, &publisher)]),
            Err(silent) => findings.push(unanswered(address, &silent)),
        }
    }
    findings
}

fn peer(endpoint: &str, publisher: &Publisher) -> Finding {
    let found = format!("{endpoint}: {}", describe(publisher));
    if publisher.behind_ns.unsigned_abs() > CLOCKS_DIFFER_NS {
        let seconds = publisher.behind_ns as f64 / 1e9;
        let found = format!("{found}; its frame is {seconds:.1} s old by our clock");
        return Finding::warn("peer", found, "one of the two clocks is wrong: look at both hosts' ntpd or chronyd");
    }
    Finding::ok("peer", found)
}

fn unanswered(endpoint: &str, silent: &Silent) -> Finding {
    let next = match silent {
        Silent::Unreachable(_) => {
            "start the generator there; it must publish on an address that is not 127.0.0.1 (`bind`), \
                                   and a firewall must let in that port and the one above it"
        }
        Silent::NotZeroMq => "another program has that port: correct `connect`",
        Silent::Nothing(_) => "its interval may be longer, or it hangs: zonescope-generator doctor, there",
        Silent::NoFrame(_) => "another program publishes there, or one of the two is too old: compare --version",
    };
    let found = format!("{endpoint}: {silent}");
    // A generator may tick once an hour.
    match silent {
        Silent::Nothing(_) => Finding::warn("peer", found, next),
        _ => Finding::fail("peer", found, next),
    }
}

/// Whether `publisher`, at `endpoint`, can be asked for what was missed.
pub fn recovery(endpoint: &str, publisher: &Publisher) -> Finding {
    let Ok(port @ 1..) = u16::try_from(publisher.recovery_port) else {
        let found = format!("{endpoint} keeps nothing for those who miss something");
        return Finding::warn("recovery", found, "unless that is wanted, remove `recovery_bind = \"off\"` there");
    };
    match connect(endpoint, port) {
        Ok(()) => Finding::ok("recovery", format!("{endpoint} can be asked for what was missed, on port {port}")),
        Err(error) => Finding::warn(
            "recovery",
            format!("port {port} of {endpoint}: {error}: what is missed is lost"),
            format!("let port {port} through the firewall as well"),
        ),
    }
}

fn connect(endpoint: &str, port: u16) -> std::io::Result<()> {
    let (host, _) = host_and_port(endpoint)?;
    let mut last = std::io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn describe(publisher: &Publisher) -> String {
    let Publisher { host, host_id, version, epoch, time_ns, zones, interval_ms, .. } = publisher;
    let up_s = time_ns.saturating_sub(*epoch) / 1_000_000_000;
    format!(
        "host {host} ({host_id}), format {version}, epoch {epoch} (up {up_s} s), {zones} zones every {interval_ms} ms"
    )
}

/// Whether there are `least` bytes for us on the filesystem of `path`, which need not be there yet.
pub fn room(path: &Path, least: u64, why: &str) -> Finding {
    const MIB: u64 = 1 << 20;
    let there = nearest(path);
    match statvfs(&there) {
        Err(error) => {
            Finding::fail("disk", format!("{}: {error}", there.display()), "mount it, or name another directory")
        }
        Ok(filesystem) => {
            let free = filesystem.f_bavail.saturating_mul(filesystem.f_frsize);
            let found = format!("{}: {} MiB free, {why} {} MiB", path.display(), free / MIB, least.div_ceil(MIB));
            if free < least {
                Finding::fail("disk", found, "make room, or name a directory on a larger filesystem")
            } else {
                Finding::ok("disk", found)
            }
        }
    }
}

/// Whether we may write to `path`, or make it.
pub fn writable(path: &Path) -> Finding {
    let there = nearest(path);
    let uid = rustix::process::getuid().as_raw();
    match access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok("directory", format!("{} can be written by uid {uid}", path.display())),
        Err(error) => Finding {
            check: "directory",
            verdict: Verdict::Fail,
            found: format!("{} cannot be written by uid {uid}: {error}", there.display()),
            next: Some(
                "run as the account of the service (zonescope) or as root, or hand the directory over".to_owned(),
            ),
        },
    }
}

/// `path`, or the nearest of its parents that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Clock for Fixed {
        fn now_ns(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_clock_that_was_never_set_fails() {
        assert_eq!(clock(&Fixed(60_000_000_000)).verdict, Verdict::Fail);
        assert_eq!(clock(&Fixed(OLDEST_CLOCK_NS + 1)).verdict, Verdict::Ok);
    }

    #[test]
    fn room_is_that_of_the_filesystem_where_a_directory_will_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/there/yet");
        assert_eq!(room(&path, 1, "needs").verdict, Verdict::Ok);
        let full = room(&path, u64::MAX, "needs");
        assert!(full.verdict == Verdict::Fail && full.found.contains("not/there/yet"), "{full:?}");
        assert_eq!(writable(&path).verdict, Verdict::Ok);
        assert_eq!(writable(Path::new("/proc/self/not")).verdict, Verdict::Fail);
    }

    #[test]
    fn clocks_that_differ_are_noticed() {
        let mut publisher = Publisher {
            host_id: "h1".into(),
            host: "one".into(),
            version: 1,
            epoch: 5,
            time_ns: 6,
            zones: 3,
            interval_ms: 1000,
            behind_ns: 40_000_000,
            recovery_port: 0,
        };
        assert_eq!(peer("tcp://a:1", &publisher).verdict, Verdict::Ok);
        publisher.behind_ns = -90_000_000_000;
        let late = peer("tcp://a:1", &publisher);
        assert!(late.verdict == Verdict::Warn && late.found.contains("-90.0 s old"), "{late:?}");
        assert_eq!(recovery("tcp://a:1", &publisher).verdict, Verdict::Warn);
    }
}
