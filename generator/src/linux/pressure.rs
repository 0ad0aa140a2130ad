//! Family `pressure`: time lost waiting (PSI). v1 has none; a hybrid has it for the groups that are in v2 too.

use zonescope_proto::v1;

use super::Pass;
use super::parse::{Field, Malformed, lines, number, words};
use super::reader::Reader;

/// A resource, and the fields of `some` and `full`.
type Stall = (&'static str, Field<v1::Pressure>, Field<v1::Pressure>);

const STALLS: [Stall; 3] = [
    ("cpu", |p| &mut p.cpu_some, |p| &mut p.cpu_full),
    ("memory", |p| &mut p.memory_some, |p| &mut p.memory_full),
    ("io", |p| &mut p.io_some, |p| &mut p.io_full),
];

pub(super) fn read(pass: &mut Pass<'_>) {
    pass.host.pressure = of(&mut pass.reader, &["/proc/pressure/"], "");
    if let Some(row) = &mut pass.host.pressure {
        // The kernel prints it for the whole system too, where it means nothing and is always 0.
        row.cpu_full = None;
    }
    for zone in &mut pass.zones {
        let Some(dir) = zone.unified() else { continue };
        zone.frame.pressure = of(&mut pass.reader, &dir.file(""), ".pressure");
    }
}

fn of(reader: &mut Reader<'_>, directory: &[&str], suffix: &str) -> Option<v1::Pressure> {
    let mut row = v1::Pressure::default();
    for (resource, some, full) in STALLS {
        let path: Vec<&str> = directory.iter().copied().chain([resource, suffix]).collect();
        let read = reader.take(&path, &mut row, |text, row| project(text, some, full, row));
        row.snaptime = row.snaptime.or(read);
    }
    row.snaptime.map(|_| row)
}

/// `some avg10=8.54 avg60=7.05 avg300=3.31 total=33471551`, and the same of `full`, which old kernels lack for cpu.
fn project(
    text: &[u8],
    some: Field<v1::Pressure>,
    full: Field<v1::Pressure>,
    row: &mut v1::Pressure,
) -> Result<(), Malformed> {
    for line in lines(text) {
        let field = match words(line).next() {
            Some(b"some") => some,
            Some(b"full") => full,
            _ => continue,
        };
        let total = words(line).find_map(|word| word.strip_prefix(b"total=")).and_then(number);
        *field(row) = Some(total.ok_or(Malformed("no total"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_taken_and_a_missing_line_is_absent() {
        let mut row = v1::Pressure::default();
        let (_, some, full) = STALLS[2];
        let text = b"some avg10=1.01 avg60=0.85 avg300=0.40 total=4877100\nfull avg10=0.00 avg60=0.02 avg300=0.14 total=3386909\n";
        project(text, some, full, &mut row).unwrap();
        assert_eq!((row.io_some, row.io_full), (Some(4_877_100), Some(3_386_909)));
        let (_, some, full) = STALLS[0];
        project(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", some, full, &mut row).unwrap();
        assert_eq!((row.cpu_some, row.cpu_full), (Some(5), None));
        assert!(project(b"some avg10=0.00\n", some, full, &mut row).is_err());
    }
}
