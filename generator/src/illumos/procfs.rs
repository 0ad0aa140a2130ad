//! The files of a process that the generator reads, taken apart: `psinfo` and `usage` of proc(5).
//!
//! Both are C structures, in the data model of who reads them: 64 bits, the only one that there is for Rust. Offsets are
//! those of `psinfo_t` and `prusage_t` in usr/src/uts/common/sys/procfs.h of illumos-gate, as a C compiler lays them out;
//! the fields between those named here are skipped. Nothing is cast: each number is taken from its bytes, in the byte
//! order of the machine, which is the kernel's.

/// Size of psinfo_t, bytes.
pub const PSINFO_BYTES: usize = 416;

/// Size of prusage_t, bytes.
pub const PRUSAGE_BYTES: usize = 504;

/// Length of pr_fname with its NUL (PRFNSZ).
const NAME_BYTES: usize = 16;

/// `psinfo`: what a process is. Anybody may read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Psinfo {
    /// Threads; 0 of a zombie.
    pub nlwp: u32,
    /// Process id.
    pub pid: u32,
    /// Of its parent.
    pub ppid: u32,
    /// Effective user.
    pub euid: u32,
    /// Address space, bytes.
    pub size: u64,
    /// Resident memory, bytes.
    pub rssize: u64,
    /// Its start, ns since 1970 UTC; 0 of a zombie.
    pub start_ns: u64,
    /// CPU time, user and system, traps included (`prgetpsinfo`, fs/proc/prsubr.c).
    pub time_ns: u64,
    /// The program's name; empty of a zombie.
    pub fname: String,
    /// The zone it is in.
    pub zoneid: i32,
    /// The state of its representative thread, as ps prints it.
    pub sname: char,
}

/// `usage`: what a process has used. Anybody may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prusage {
    /// User mode.
    pub utime_ns: u64,
    /// System calls.
    pub stime_ns: u64,
    /// Other traps: page faults and the like.
    pub ttime_ns: u64,
    /// Waiting for a CPU.
    pub wtime_ns: u64,
    /// Page faults without I/O.
    pub minf: u64,
    /// Page faults with I/O.
    pub majf: u64,
    /// Blocks read.
    pub inblk: u64,
    /// Blocks written.
    pub oublk: u64,
    /// Characters read and written.
    pub ioch: u64,
}

impl Psinfo {
    /// Takes the file apart. `None` where it is too short.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let file = Struct(file.get(..PSINFO_BYTES)?);
        let name = file.0.get(136..136 + NAME_BYTES)?;
        let end = name.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
        Some(Psinfo {
            nlwp: file.u32(4)?,
            pid: file.u32(8)?,
            ppid: file.u32(12)?,
            euid: file.u32(28)?,
            size: file.u64(48)?.saturating_mul(1024),
            rssize: file.u64(56)?.saturating_mul(1024),
            start_ns: file.timestruc(88)?,
            time_ns: file.timestruc(104)?,
            fname: String::from_utf8_lossy(&name[..end]).into_owned(),
            zoneid: file.u32(276)?.cast_signed(),
            // pr_lwp at 288, in it pr_sname at 26
            sname: char::from(*file.0.get(288 + 26)?),
        })
    }

    /// Whether it has ended, and only its parent has not yet heard of it.
    pub fn is_zombie(&self) -> bool {
        self.nlwp == 0
    }
}

impl Prusage {
    /// Takes the file apart. `None` where it is too short.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let file = Struct(file.get(..PRUSAGE_BYTES)?);
        Some(Prusage {
            utime_ns: file.timestruc(72)?,
            stime_ns: file.timestruc(88)?,
            ttime_ns: file.timestruc(104)?,
            wtime_ns: file.timestruc(200)?,
            minf: file.u64(328)?,
            majf: file.u64(336)?,
            inblk: file.u64(352)?,
            oublk: file.u64(360)?,
            ioch: file.u64(416)?,
        })
    }
}

/// A structure's bytes.
struct Struct<'a>(&'a [u8]);

impl Struct<'_> {
    /// int, pid_t, uid_t, zoneid_t
    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    /// size_t, ulong_t
    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }

    /// timestruc_t: seconds and nanoseconds.
    fn timestruc(&self, at: usize) -> Option<u64> {
        Some(self.u64(at)?.saturating_mul(1_000_000_000).saturating_add(self.u64(at + 8)?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Lays fields one after the other as a C compiler does: each aligned to its size.
    #[derive(Default)]
    struct Layout(Vec<u8>);

    impl Layout {
        fn int(mut self, value: u32) -> Self {
            self.0.extend(value.to_ne_bytes());
            self
        }
        fn short(mut self, value: u16) -> Self {
            self.0.extend(value.to_ne_bytes());
            self
        }
        fn long(mut self, value: u64) -> Self {
            self.0.resize(self.0.len().next_multiple_of(8), 0);
            self.0.extend(value.to_ne_bytes());
            self
        }
        fn time(self, ns: u64) -> Self {
            self.long(ns / 1_000_000_000).long(ns % 1_000_000_000)
        }
        fn chars(mut self, text: &[u8], length: usize) -> Self {
            let end = self.0.len() + length;
            self.0.extend(text);
            self.0.resize(end, 0);
            self
        }
        fn times(mut self, ns: &[u64]) -> Self {
            for ns in ns {
                self = self.time(*ns);
            }
            self
        }
    }

    /// `psinfo`, field by field in the order of the header.
    pub(in crate::illumos) fn psinfo_file(p: &Psinfo) -> Vec<u8> {
        let head = Layout::default().int(0).int(p.nlwp).int(p.pid).int(p.ppid).int(901).int(902).int(903).int(p.euid);
        let sizes = head.int(904).int(905).long(906).long(p.size / 1024).long(p.rssize / 1024).long(0).long(907);
        let times = sizes.short(908).short(909).time(p.start_ns).time(p.time_ns).time(910);
        let names = times.chars(p.fname.as_bytes(), 16).chars(b"/usr/bin/some -thing", 80);
        let arguments = names.int(911).int(912).long(913).long(914).chars(&[2, 0, 0, 0], 4);
        let ids = arguments.int(915).int(916).int(917).int(918).int(p.zoneid.cast_unsigned()).int(919).int(920);
        let lwp = ids.int(921).int(922).long(923).long(924).chars(&[1, 2, p.sname as u8, 4], 4).short(925);
        let lwp = lwp.chars(&[5, 6], 2).int(926).short(927).short(928).time(929).time(930);
        let lwp = lwp.chars(b"TS", 8).chars(b"", 16).int(931).int(932).int(933).int(934);
        lwp.int(0).int(0).int(0).int(0).0
    }

    /// `usage`, likewise.
    pub(in crate::illumos) fn usage_file(u: &Prusage) -> Vec<u8> {
        let head = Layout::default().int(0).int(3).times(&[801, 802, 803, 804]);
        let cpu = head.times(&[u.utime_ns, u.stime_ns, u.ttime_ns, 805, 806, 807, 808, 809, u.wtime_ns, 810]);
        let filled = cpu.times(&[0; 6]).long(u.minf).long(u.majf).long(811).long(u.inblk).long(u.oublk);
        let counts = filled.long(812).long(813).long(814).long(815).long(816).long(817).long(u.ioch);
        (0..10).fold(counts, |layout, _| layout.long(0)).0
    }

    pub(in crate::illumos) fn psinfo(pid: u32, zoneid: i32, name: &str) -> Psinfo {
        Psinfo {
            nlwp: 7,
            pid,
            ppid: 1,
            euid: 60_001,
            size: 64 << 20,
            rssize: 12 << 20,
            start_ns: 1_700_000_000_123_456_789,
            time_ns: 5_000_000_001,
            fname: name.to_owned(),
            zoneid,
            sname: 'S',
        }
    }

    #[test]
    fn the_structures_have_the_size_that_the_header_gives_them() {
        assert_eq!(psinfo_file(&Psinfo::default()).len(), PSINFO_BYTES);
        assert_eq!(usage_file(&Prusage::default()).len(), PRUSAGE_BYTES);
    }

    #[test]
    fn every_field_is_found_at_its_place() {
        let expected = psinfo(4321, 17, "beam.smp");
        assert_eq!(Psinfo::parse(&psinfo_file(&expected)), Some(expected));
        let expected = Prusage {
            utime_ns: 1_000_000_001,
            stime_ns: 2_000_000_002,
            ttime_ns: 3,
            wtime_ns: 4,
            minf: 5,
            majf: 6,
            inblk: 7,
            oublk: 8,
            ioch: u64::MAX,
        };
        assert_eq!(Prusage::parse(&usage_file(&expected)), Some(expected));
    }

    #[test]
    fn a_file_cut_short_is_none_and_a_longer_one_is_read() {
        let file = psinfo_file(&psinfo(1, 0, "init"));
        assert_eq!(Psinfo::parse(&file[..PSINFO_BYTES - 1]), None);
        assert_eq!(Psinfo::parse(&[]), None);
        assert!(Psinfo::parse(&[file, vec![0; 64]].concat()).is_some(), "structures grow at their end");
        assert_eq!(Prusage::parse(&[0; PRUSAGE_BYTES - 1]), None);
    }

    #[test]
    fn a_name_without_its_nul_and_sizes_beyond_all_bounds_are_taken() {
        let mut file = psinfo_file(&psinfo(1, 0, "sixteen.letters."));
        file[48..56].copy_from_slice(&u64::MAX.to_ne_bytes());
        let parsed = Psinfo::parse(&file).unwrap();
        assert_eq!((parsed.fname.as_str(), parsed.size), ("sixteen.letters.", u64::MAX));
    }
}
