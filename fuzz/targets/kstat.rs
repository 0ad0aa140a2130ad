//! Any capture of kstats, as text of `kstat -p` and `kstat -j` or as a recording: samples whose frames can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| zonescope_fuzz::play(bytes));
