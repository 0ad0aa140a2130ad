//! Rows by series, then time, without comparing rows.
//!
//! Rows arrive by time already, and a series is told by few and small things: the number of its zone, of a core, of a process. So each
//! sort column becomes numbers that are ordered as its values are, and rows are distributed by them, least significant column
//! first (a radix sort: stable, and linear). Comparing row with row, column by column, took most of a flush.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, rank, take};
use arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow::error::ArrowError;

use super::places;
use crate::schema::{HOST, TIME, Table, ZONE};

/// Bits by which rows are distributed at once: the buckets fit the first cache.
const DIGIT: u32 = 11;

/// The rows of a batch that [`super::builder::TableBuilder::finish`] made, by series, then time.
///
/// # Errors
/// Where a column cannot be sorted: a defect of ours.
pub fn sorted(table: &Table, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut order: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
    let times = batch.column(TIME).as_primitive::<TimestampNanosecondType>().values();
    if !times.is_sorted() {
        distribute(&mut order, &times.iter().map(|t| t.cast_unsigned()).collect::<Vec<_>>());
    }
    let labels: Vec<usize> = table.labels().collect();
    for label in labels.into_iter().rev() {
        distribute(&mut order, &numbers(batch.column(label).as_ref())?);
    }
    let (hosts, zones) = (batch.column(HOST), batch.column(ZONE).as_dictionary::<UInt32Type>());
    let ranks = places::ranks(hosts.as_dictionary::<UInt32Type>().values(), zones.values());
    distribute(&mut order, &zones.keys().values().iter().map(|n| ranks[*n as usize]).collect::<Vec<_>>());
    let order = UInt32Array::from(order);
    // What a platform does not have is the same in any order.
    let ordered = |column: &ArrayRef| {
        if column.null_count() == column.len() { Ok(Arc::clone(column)) } else { take(column, &order, None) }
    };
    RecordBatch::try_new(batch.schema(), batch.columns().iter().map(ordered).collect::<Result<_, _>>()?)
}

/// Numbers that are ordered as the values of a column are.
fn numbers(column: &dyn Array) -> Result<Vec<u64>, ArrowError> {
    Ok(match column.data_type() {
        DataType::UInt64 if column.null_count() == 0 => column.as_primitive::<UInt64Type>().values().to_vec(),
        DataType::Int64 if column.null_count() == 0 => {
            let values = column.as_primitive::<Int64Type>().values();
            values.iter().map(|v| v.cast_unsigned() ^ (1 << 63)).collect()
        }
        DataType::Utf8 if column.null_count() == 0 => {
            let values = column.as_string::<i32>();
            let mut numbers: BTreeMap<&str, u64> = values.iter().flatten().map(|text| (text, 0)).collect();
            numbers.values_mut().zip(0..).for_each(|(number, next)| *number = next);
            values.iter().flatten().map(|text| numbers.get(text).copied().unwrap_or_default()).collect()
        }
        _ => rank(column, Some(SortOptions::default()))?.into_iter().map(u64::from).collect(),
    })
}

/// Orders rows by the numbers of their keys; equal ones stay as they are.
fn distribute(order: &mut Vec<u32>, keys: &[u64]) {
    let Some(first) = keys.first() else { return };
    let differing = keys.iter().fold(0, |bits, key| bits | (key ^ first));
    let mut next = vec![0; order.len()];
    for shift in (0..u64::BITS).step_by(DIGIT as usize) {
        let mask = (1u64 << DIGIT) - 1;
        if (differing >> shift) & mask == 0 {
            continue;
        }
        let digit = |row: u32| ((keys[row as usize] >> shift) & mask) as usize;
        let mut begins = [0usize; 1 << DIGIT];
        order.iter().for_each(|row| begins[digit(*row)] += 1);
        let mut sum = 0;
        for begin in &mut begins {
            (*begin, sum) = (sum, sum + *begin);
        }
        for row in order.iter() {
            let begin = &mut begins[digit(*row)];
            next[*begin] = *row;
            *begin += 1;
        }
        std::mem::swap(order, &mut next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_distributed_as_a_stable_sort_orders_them(
            keys in prop::collection::vec(prop_oneof![0..4u64, any::<u64>(), (0..9u64).prop_map(|k| k << 40)], 0..300)
        ) {
            let mut order: Vec<u32> = (0..keys.len() as u32).collect();
            let mut expected = order.clone();
            distribute(&mut order, &keys);
            expected.sort_by_key(|row| keys[*row as usize]);
            prop_assert_eq!(order, expected);
        }
    }
}
