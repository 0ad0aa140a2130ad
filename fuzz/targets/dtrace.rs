//! Any output of a D program, in both dialects, in pieces of any length: samples whose frames can be read. Of a user's program
//! the header too: the input is the program up to a NUL, then what it prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonescope_fuzz::publish;
use zonescope_generator::dtrace::ZoneOfPid;
use zonescope_generator::dtrace::complaint::Complaint;
use zonescope_generator::dtrace::header::Header;
use zonescope_generator::dtrace::lines::Lines;
use zonescope_generator::dtrace::project::{self, Zones};
use zonescope_generator::dtrace::reader::Reader;
use zonescope_generator::dtrace::users;
use zonescope_generator::source::Sample;

const MARK: &str = "0123456789ab";
/// Few, so that the bound is met.
const MOST_KEYS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let (program, output) = match bytes.iter().position(|b| *b == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&[][..], bytes),
    };
    let header = Header::parse(&String::from_utf8_lossy(program)).ok();
    let mut reader = Reader::new(MARK, header.as_ref(), MOST_KEYS);
    let mut intervals = Vec::new();
    let mut lines = Lines::default();
    for piece in output.chunks(1 + program.len() % 61) {
        lines.feed(piece, |line| {
            let _ = Complaint::read(&String::from_utf8_lossy(line));
            intervals.extend(reader.line(line));
        });
    }
    intervals.push(reader.finish());
    let zone_of_pid = ZoneOfPid::default();
    for interval in intervals {
        assert!(interval.rows.len() <= MOST_KEYS);
        let mut sample = Sample::default();
        let mut zones = Zones::new(&zone_of_pid);
        match &header {
            None => project::project(interval.rows, &mut zones, &mut sample),
            Some(header) => users::project(interval.rows, header, &mut zones, &mut sample),
        };
        publish(sample);
    }
});
