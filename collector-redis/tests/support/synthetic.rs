//! Frames with as many values as one wants, of the families that zones have.

use zonescope_proto::{FAMILIES, Kind, Type, Value, add_row, v1};

/// The frame of zone `zone` at second `n` with `values` values. Counters grow, each at its own pace and unevenly; gauges move;
/// rows are read a little after the tick, never at the same moment of it.
pub fn frame(zone: u64, n: u64, values: usize) -> v1::Frame {
    let mut frame = v1::Frame::default();
    let mut count = 0;
    for family in FAMILIES.iter().filter(|f| !f.many) {
        let row: Vec<Option<Value<'_>>> = family
            .fields
            .iter()
            .map(|field| {
                count += 1;
                let seed = zone * 1009 + count as u64 * 7919;
                (count <= values).then(|| value(field.ty, field.kind, seed, n))
            })
            .collect();
        if row.iter().any(Option::is_some) {
            add_row(&mut frame, family.index, &row);
        }
    }
    frame
}

fn value(ty: Type, kind: Kind, seed: u64, n: u64) -> Value<'static> {
    let pace = seed % 100_003 + 1;
    match (ty, kind) {
        (Type::Uint, Kind::Counter) => Value::Uint(seed * 1_000_003 + n * pace + noise(seed, n) % pace),
        (Type::Uint, Kind::Gauge) => Value::Uint((seed + noise(seed, n) % 1000) * 4096),
        (Type::Uint, _) => Value::Uint(seed),
        (Type::Int, _) => Value::Int((noise(seed, n) % 2_000_000).cast_signed()),
        (Type::Double, _) => Value::Double(0.5),
        (Type::Text, _) => Value::Text("running"),
    }
}

/// SplitMix64: any two seconds look unrelated.
fn noise(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
