//! How each column is written, and why.
//!
//! Rows are sorted by series (host, zone, labels), then time, so a column holds one series' values after another.
//! What that makes of a column depends on what its values are:
//!
//! | column | encoding | because |
//! |---|---|---|
//! | host, zone, labels, text | dictionary | few distinct values in long runs |
//! | time, sequence, epoch | delta | steps are all alike: some hundredths of a byte a row; a dictionary would take 2.3 bytes |
//! | counters, snaptime, crtime | delta | steps are small where values are large |
//! | gauges, deltas, states | dictionary, delta when it grows too large | mostly a few values that come again and again |
//! | floating point | byte stream split | exponents and leading digits are alike, and then compress |
//!
//! All are plain Parquet, which every reader of these years knows. Everything is compressed with zstd, as tightly as pays: see
//! [`Packing`].

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use zonescope_proto::{Kind, Type};

use crate::limits::{DICTIONARY_BYTES, PAGE_BYTES, PAGE_ROWS, ROW_GROUP_ROWS};
use crate::schema::{COMMON, Column, TIME, Table, ZONE, ZONE_ID};

/// How tightly a file is packed. zstd's level 9 takes 2 % less than 3, and a merge a sixth more CPU time; reading either is as fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// While frames wait: one of many small files, soon to be merged. With a bloom filter on `zone`, where it has many.
    Quick {
        /// Whether it has.
        bloom: bool,
    },
    /// Once, for as long as the rows are kept.
    Tight,
}

impl Packing {
    fn zstd_level(self) -> i32 {
        match self {
            Packing::Quick { .. } => 3,
            Packing::Tight => 9,
        }
    }

    fn has_bloom(self) -> bool {
        !matches!(self, Packing::Quick { bloom: false })
    }
}

/// One zone in a hundred is looked for in vain.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Dictionary,
    Delta,
    DictionaryThenDelta,
    ByteStreamSplit,
}

fn how(column: &Column) -> How {
    match (column.ty, column.kind) {
        (Type::Text, _) | (_, Kind::Label) => How::Dictionary,
        (Type::Double, _) => How::ByteStreamSplit,
        (_, Kind::Counter) => How::Delta,
        // Of two states that change with every row: numbers of frames, and times of reading.
        (_, Kind::State) if column.unit == "ns" || column.name == "sequence" => How::Delta,
        (_, Kind::Gauge | Kind::Delta | Kind::State) => How::DictionaryThenDelta,
    }
}

/// How a table's files are written.
///
/// # Errors
/// Never in practice: the compression level is a constant.
pub fn properties(table: &Table, packing: Packing) -> Result<Arc<WriterProperties>, ParquetError> {
    let sorting = table.sort_columns().into_iter();
    let sorting = sorting
        .map(|i| SortingColumn {
            column_idx: i32::try_from(i).unwrap_or(i32::MAX),
            descending: false,
            nulls_first: true,
        })
        .collect();
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("zonescope ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(packing.zstd_level())?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting));
    if packing.has_bloom() {
        // Sized for the worst, then folded to what the zones need.
        let zone = ColumnPath::from(COMMON[ZONE]);
        builder = builder
            .set_column_bloom_filter_fpp(zone.clone(), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(zone, ROW_GROUP_ROWS as u64);
    }
    builder = set(builder, COMMON[TIME], How::Delta);
    builder = set(builder, COMMON[ZONE_ID], How::Dictionary);
    for column in &table.columns {
        builder = set(builder, &column.name, how(column));
    }
    Ok(Arc::new(builder.build()))
}

fn set(builder: WriterPropertiesBuilder, name: &str, how: How) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    match how {
        How::Dictionary => builder,
        How::Delta => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        How::DictionaryThenDelta => builder
            .set_column_dictionary_page_size_limit(path.clone(), DICTIONARY_BYTES)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        How::ByteStreamSplit => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
    }
}
