//! `kstat -j`: one array of objects. The real tool does not escape strings, so it is not always JSON; it does print every
//! name and value on a line of its own, and so it is read line by line.
//!
//! ```text
//! [{
//!     "module": "zones",
//!     "instance": 5,
//!     "name": "web1",
//!     "class": "zone_misc",
//!     "type": 1,
//!     "snaptime": 731090.835853093,
//!     "data": {
//!         "crtime": 52.586655842,
//!         "nsec_sys": 1971772437360,
//!         "snaptime": 731090.835853093
//!     }
//! },{
//! ```

use std::io::BufRead;

use super::owned::{Captured, OwnedKstat, OwnedStat, Problems};
use super::text_p::seconds;

/// Reads everything; lines that are none are counted.
///
/// # Errors
/// Where the file cannot be read.
pub fn read(reader: impl BufRead) -> std::io::Result<Captured> {
    let mut problems = Problems::default();
    let mut kstats: Vec<OwnedKstat> = Vec::new();
    let mut in_data = false;
    for (number, line) in reader.split(b'\n').enumerate() {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        match text {
            "[" | "]" | "}]" | "" => {}
            "[{" | "{" | "},{" => {
                in_data = false;
                kstats.push(OwnedKstat { stats: Some(Vec::new()), ..OwnedKstat::default() });
            }
            "}" | "}," => in_data = false,
            "\"data\": {" => in_data = true,
            _ => match (pair(text), kstats.last_mut()) {
                (Some((name, value)), Some(kstat)) if in_data => statistic(kstat, name, value),
                (Some((name, value)), Some(kstat)) => head(kstat, name, value),
                _ => problems.add(number + 1, "not `\"name\": value`"),
            },
        }
    }
    Ok(Captured::new(kstats, problems))
}

/// `"name": value,` as it stands.
fn pair(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('"')?.split_once("\": ")?;
    Some((name, value.strip_suffix(',').unwrap_or(value)))
}

/// What stands between the outer quotes, escaped or not.
fn unquoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

fn head(kstat: &mut OwnedKstat, name: &str, value: &str) {
    let text = unquoted(value).unwrap_or(value);
    match name {
        "module" => kstat.module = text.into(),
        "instance" => kstat.instance = text.parse().unwrap_or(0),
        "name" => kstat.name = text.into(),
        "class" => kstat.class = Some(text.into()),
        "snaptime" => kstat.snaptime_ns = seconds(text),
        _ => {}
    }
}

fn statistic(kstat: &mut OwnedKstat, name: &str, value: &str) {
    match name {
        "crtime" => kstat.crtime_ns = seconds(value),
        "snaptime" => {}
        _ => {
            let stat = unquoted(value).map_or_else(|| OwnedStat::parse(value), |text| OwnedStat::Text(text.into()));
            if let Some(stats) = &mut kstat.stats {
                stats.push((name.into(), stat));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_are_not_escaped_are_read() {
        let text = "[{\n\t\"module\": \"m\",\n\t\"instance\": -2,\n\t\"name\": \"n\",\n\t\"data\": {\n\t\t\"crtime\": 1.5,\n\t\t\"a\": \"x\"y\\z\",\n\t\t\"\": 7\n\t}\n}]\n";
        let captured = read(text.as_bytes()).unwrap();
        let kstat = &captured.kstats[0];
        assert_eq!((&*kstat.module, kstat.instance, kstat.crtime_ns), ("m", -2, Some(1_500_000_000)));
        assert_eq!(
            kstat.stats.as_ref().unwrap(),
            &[("a".into(), OwnedStat::Text("x\"y\\z".into())), ("".into(), OwnedStat::Uint(7))]
        );
        assert_eq!(captured.problems.skipped().kstats, 0);
    }
}
