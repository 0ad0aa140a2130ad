//! A chain held in memory: what captures are read into, tick by tick.

use super::chain::{Chain, Id, Kstat, Moment, Skipped, Stat, Visitor};

/// A value that owns its text.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnedStat {
    /// Not negative.
    Uint(u64),
    /// Negative.
    Int(i64),
    /// With a fraction.
    Double(f64),
    /// Anything else.
    Text(Box<str>),
}

impl OwnedStat {
    /// Reads a value as a capture prints it: a whole number if it is one, in all 64 bits.
    pub fn parse(text: &str) -> Self {
        if let Ok(v) = text.parse() {
            return OwnedStat::Uint(v);
        }
        if let Ok(v) = text.parse() {
            return OwnedStat::Int(v);
        }
        match text.parse::<f64>() {
            // Texts such as `inf` or `nan` are names, not numbers.
            Ok(v) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => OwnedStat::Double(v),
            _ => OwnedStat::Text(text.into()),
        }
    }

    fn borrow(&self) -> Stat<'_> {
        match self {
            OwnedStat::Uint(v) => Stat::Uint(*v),
            OwnedStat::Int(v) => Stat::Int(*v),
            OwnedStat::Double(v) => Stat::Double(*v),
            OwnedStat::Text(v) => Stat::Text(v),
        }
    }
}

/// A kstat that owns its text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnedKstat {
    /// Module.
    pub module: Box<str>,
    /// Instance.
    pub instance: i32,
    /// Name.
    pub name: Box<str>,
    /// Class, where the capture says so.
    pub class: Option<Box<str>>,
    /// hrtime ns.
    pub crtime_ns: Option<u64>,
    /// hrtime ns.
    pub snaptime_ns: Option<u64>,
    /// Statistics in order; `None` where the capture could not read them (raw kstats).
    pub stats: Option<Vec<(Box<str>, OwnedStat)>>,
}

impl OwnedKstat {
    /// Which kstat it is.
    pub fn id(&self) -> Id<'_> {
        Id { module: &self.module, instance: self.instance, name: &self.name }
    }
}

/// Hands those of `kstats` that `visitor` wants to it.
pub fn visit(kstats: &[OwnedKstat], visitor: &mut dyn Visitor) -> Skipped {
    let mut skipped = Skipped::default();
    let mut borrowed = Vec::new();
    for kstat in kstats {
        if !visitor.wants(kstat.id()) {
            continue;
        }
        let Some(stats) = &kstat.stats else {
            skipped.add(format_args!("{} is raw: its layout is its driver's own", kstat.id()));
            continue;
        };
        borrowed.clear();
        borrowed.extend(stats.iter().map(|(name, stat)| (&**name, stat.borrow())));
        let (crtime_ns, snaptime_ns) = (kstat.crtime_ns, kstat.snaptime_ns);
        visitor.kstat(&Kstat { id: kstat.id(), crtime_ns, snaptime_ns, stats: &borrowed });
    }
    skipped
}

/// Most problems that are described; the rest are only counted.
const DESCRIBED: u64 = 8;

/// What of a capture could not be read.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    described: u64,
    /// Since they were last forgotten.
    skipped: Skipped,
}

impl Problems {
    /// Counts a line that could not be read, and describes the first of them in the log.
    pub fn add(&mut self, line: usize, what: impl std::fmt::Display) {
        self.described += 1;
        if self.described <= DESCRIBED {
            tracing::warn!("line {line} of the capture is left out: {what}");
        } else if self.described == DESCRIBED + 1 {
            tracing::warn!("more lines of the capture are left out; they are counted in `collect`");
        }
        self.skipped.add(format_args!("line {line}: {what}"));
    }

    /// Those since the last call of [`Problems::forget`].
    pub fn skipped(&self) -> Skipped {
        self.skipped.clone()
    }

    /// Begins to count anew.
    pub fn forget(&mut self) {
        self.skipped = Skipped::default();
    }
}

/// One chain of a capture: what `kstat` printed once.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    /// In the order of the capture.
    pub kstats: Vec<OwnedKstat>,
    /// What could not be read.
    pub problems: Problems,
    played: bool,
}

impl Captured {
    /// Of kstats that have been read.
    pub fn new(kstats: Vec<OwnedKstat>, problems: Problems) -> Self {
        Captured { kstats, problems, played: false }
    }
}

impl Chain for Captured {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        let first = !std::mem::replace(&mut self.played, true);
        Ok(first.then_some(Moment { page_size: super::X86_PAGE_SIZE, ..Moment::default() }))
    }

    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped {
        visit(&self.kstats, visitor)
    }

    fn left_out(&self) -> Skipped {
        self.problems.skipped()
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.played = false;
        Ok(())
    }
}
