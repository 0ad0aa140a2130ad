//! A chain held in memory: what captures are read into.

use super::chain::{Chain, Id, Kstat, Moment, Skipped, Stat};

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

/// Chains of a capture, one a tick.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    /// Each with its moment.
    pub ticks: Vec<(Moment, Vec<OwnedKstat>)>,
    next: usize,
}

impl Captured {
    /// Of chains that have been read.
    pub fn new(ticks: Vec<(Moment, Vec<OwnedKstat>)>) -> Self {
        Captured { ticks, next: 0 }
    }

    fn current(&self) -> &[OwnedKstat] {
        self.next.checked_sub(1).and_then(|i| self.ticks.get(i)).map_or(&[], |(_, kstats)| kstats)
    }
}

impl Chain for Captured {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        let moment = self.ticks.get(self.next).map(|(moment, _)| *moment);
        self.next += usize::from(moment.is_some());
        Ok(moment)
    }

    fn visit(&self, wanted: &dyn Fn(Id<'_>) -> bool, visit: &mut dyn FnMut(Kstat<'_>)) -> Skipped {
        let mut skipped = Skipped::default();
        for kstat in self.current().iter().filter(|k| wanted(k.id())) {
            let Some(stats) = &kstat.stats else {
                skipped.add(format_args!("{}:{}:{} is raw", kstat.module, kstat.instance, kstat.name));
                continue;
            };
            let stats: Vec<(&str, Stat<'_>)> = stats.iter().map(|(name, stat)| (&**name, stat.borrow())).collect();
            visit(Kstat { id: kstat.id(), crtime_ns: kstat.crtime_ns, snaptime_ns: kstat.snaptime_ns, stats: &stats });
        }
        skipped
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.next = 0;
        Ok(())
    }
}
