//! Any recording of a Linux host, or of packets of the 2013 system: samples whose frames can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| zonescope_fuzz::play(bytes));
