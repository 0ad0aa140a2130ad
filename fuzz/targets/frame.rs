//! Any bytes: a frame that can be walked and written again as it was, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonescope_fuzz as _;
use zonescope_proto::fold::fold;
use zonescope_proto::{Family, Sink, Value, decode, encode, v1, walk};

struct Count(usize);

impl Sink for Count {
    fn row<F: Family>(&mut self, row: &F) {
        row.visit(&mut |_: usize, value: Option<Value<'_>>| self.0 += usize::from(value.is_some()));
    }

    fn custom(&mut self, row: &v1::Custom) {
        self.0 += row.values.len();
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = decode(bytes) {
        walk(&frame, &mut Count(0));
        let mut again = Vec::new();
        if encode(&frame, &mut again).is_ok() {
            // Written again, not compared as values: NaN is not itself.
            let mut third = Vec::new();
            let read = decode(&again).expect("what was written is read");
            encode(&read, &mut third).expect("it is as long as before");
            assert_eq!(again, third);
            folded(read, &again);
        }
    }
});

/// As columns it says the same.
fn folded(mut frame: v1::Frame, unfolded: &[u8]) {
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    fold(&mut frame);
    if encode(&frame, &mut columns).is_ok() {
        encode(&decode(&columns).expect("what was written is read"), &mut rows).expect("it was written before");
        assert_eq!(rows, unfolded);
    }
}
