//! `kstat -p`: a statistic a line, `module:instance:name:statistic<TAB>value`.
//!
//! Traps of the format, all seen in real captures: a statistic's name may hold colons, blanks, commas and brackets, or
//! be empty; the same name may come twice; instances may be negative; a value may be empty. So a line is split at its
//! first tab, and what stands left of it at the first three colons. `class`, `crtime` and `snaptime` stand among the
//! statistics.

use std::io::BufRead;

use super::owned::{Captured, OwnedKstat, OwnedStat, Problems};

/// Reads everything; lines that are none are counted.
///
/// # Errors
/// Where the file cannot be read.
pub fn read(reader: impl BufRead) -> std::io::Result<Captured> {
    let mut problems = Problems::default();
    let mut kstats: Vec<OwnedKstat> = Vec::new();
    for (number, line) in reader.split(b'\n').enumerate() {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        match parse(&text) {
            Some((module, instance, name, statistic, value)) => {
                let last =
                    kstats.last().is_some_and(|k| *k.module == *module && k.instance == instance && *k.name == *name);
                if !last {
                    kstats.push(OwnedKstat {
                        module: module.into(),
                        instance,
                        name: name.into(),
                        stats: Some(Vec::new()),
                        ..OwnedKstat::default()
                    });
                }
                if let Some(kstat) = kstats.last_mut() {
                    add(kstat, statistic, value);
                }
            }
            None => problems.add(number + 1, "not module:instance:name:statistic<TAB>value"),
        }
    }
    Ok(Captured::new(kstats, problems))
}

fn parse(line: &str) -> Option<(&str, i32, &str, &str, &str)> {
    let (left, value) = line.split_once('\t')?;
    let mut parts = left.splitn(4, ':');
    let (module, instance, name, statistic) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some((module, instance.parse().ok()?, name, statistic, value.trim_end_matches('\r')))
}

fn add(kstat: &mut OwnedKstat, statistic: &str, value: &str) {
    match statistic {
        "class" if kstat.class.is_none() => kstat.class = Some(value.into()),
        "crtime" => kstat.crtime_ns = seconds(value),
        "snaptime" => kstat.snaptime_ns = seconds(value),
        _ => {
            if let Some(stats) = &mut kstat.stats {
                stats.push((statistic.into(), OwnedStat::parse(value)));
            }
        }
    }
}

/// `9918612.653269438` as ns, exactly.
pub fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> OwnedKstat {
        read(text.as_bytes()).unwrap().kstats.remove(0)
    }

    #[test]
    fn a_line_is_split_at_its_first_tab_and_then_at_three_colons() {
        let kstat = one("sderr:-1:sd0,err:a: b,[c]\tx\ty:z\n");
        assert_eq!((&*kstat.module, kstat.instance, &*kstat.name), ("sderr", -1, "sd0,err"));
        assert_eq!(kstat.stats.unwrap(), [("a: b,[c]".into(), OwnedStat::Text("x\ty:z".into()))]);
    }

    #[test]
    fn empty_names_empty_values_and_repeated_names_are_kept() {
        let stats = one("m:0:n:\t\nm:0:n:\t\nm:0:n:a\t1\nm:0:n:a\t2\n").stats.unwrap();
        assert_eq!(stats.len(), 4);
        assert_eq!(stats[3], ("a".into(), OwnedStat::Uint(2)));
    }

    #[test]
    fn values_keep_all_64_bits_and_their_sign() {
        let stats = one("m:0:n:a\t18446744073709551615\nm:0:n:b\t-1\nm:0:n:c\t1.5\n").stats.unwrap();
        assert_eq!(stats[0].1, OwnedStat::Uint(u64::MAX));
        assert_eq!(stats[1].1, OwnedStat::Int(-1));
        assert_eq!(stats[2].1, OwnedStat::Double(1.5));
    }

    #[test]
    fn times_are_exact_nanoseconds() {
        let kstat = one("m:0:n:crtime\t52.586655842\nm:0:n:snaptime\t0\n");
        assert_eq!((kstat.crtime_ns, kstat.snaptime_ns), (Some(52_586_655_842), Some(0)));
    }

    #[test]
    fn a_line_cut_in_the_middle_is_a_problem_and_nothing_else() {
        let captured = read("m:0:n:a\t1\nm:0:n".as_bytes()).unwrap();
        assert_eq!(captured.problems.skipped().kstats, 1);
        assert_eq!(captured.kstats.len(), 1);
    }
}
