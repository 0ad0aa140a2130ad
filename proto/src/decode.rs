//! Frames to bytes and back. Decoding is total: any bytes give a frame that keeps every limit, or a typed error.
//!
//! Limits are checked in two passes. The first walks the outermost tags only and counts rows before anything is
//! allocated for them: in protobuf two bytes can stand for an empty row that takes 200 in memory, so checking after
//! decoding would be too late. The second looks at what was decoded.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::families::{Family, REPEATED, Sink, Value, Visitor, walk};
use crate::fold::{InColumns, check as check_columns, unfold};
use crate::limits::*;
use crate::topic::{NameError, check_host_id, check_zone};
use crate::{FORMAT_VERSION, v1};

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than a frame may have.
    #[error("a frame of {0} bytes is larger than {MAX_FRAME_BYTES}")]
    TooLarge(usize),
    /// Not protobuf, or cut off, or of other types.
    #[error("not a frame: {0}")]
    Malformed(String),
    /// A frame without a header.
    #[error("a frame without a header")]
    NoHeader,
    /// A frame of another format version.
    #[error("format version {0}, and this program reads {FORMAT_VERSION}: upgrade the older side")]
    Version(u32),
    /// A zone or host id that is no name.
    #[error("{field}: {error}")]
    Name {
        /// Which field of the header.
        field: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// A header that cannot be: no epoch, no sequence, no time, no interval.
    #[error("the header's {0} is missing")]
    Header(&'static str),
    /// More of something than a frame may have.
    #[error("{what}: {count} are more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Numbers from the second to before the first, or from 0.
    #[error("the numbers {0} to {1}")]
    Range(u64, u64),
    /// A distribution whose bounds and counts do not pair.
    #[error("a distribution with {lower} lower bounds, {upper} upper bounds and {count} counts")]
    Unpaired {
        /// Lower bounds.
        lower: usize,
        /// Upper bounds.
        upper: usize,
        /// Counts.
        count: usize,
    },
    /// Columns of different lengths, or a row with a name that is not there.
    #[error("columns of oncpu_process that make no rows")]
    Columns,
}

/// Writes a frame as bytes.
///
/// # Errors
/// Where [`decode`] would not read them.
pub fn encode(frame: &v1::Frame, into: &mut Vec<u8>) -> Result<(), DecodeError> {
    let bytes = frame.encoded_len();
    if bytes > MAX_FRAME_BYTES {
        return Err(DecodeError::TooLarge(bytes));
    }
    check_header(frame)?;
    check_columns(frame)?;
    check_nested(frame)?;
    if bytes > MAX_TEXT_BYTES {
        check_texts(frame)?;
    }
    into.clear();
    into.resize(bytes, 0);
    // Nearly all bytes come one by one, and a Vec would be asked for room at each.
    frame.encode_raw(&mut into.as_mut_slice());
    count_rows(into).map(drop)
}

/// Reads a frame. Its header is there and valid, and every limit holds.
///
/// # Errors
/// Says what is wrong with the bytes; never panics, never allocates beyond a small multiple of
/// [`MAX_FRAME_BYTES`].
pub fn decode(bytes: &[u8]) -> Result<v1::Frame, DecodeError> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let mut frame = count_rows(bytes)?.room();
    frame.merge(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    unfold(&mut frame)?;
    check_header(&frame)?;
    check_nested(&frame)?;
    // No text is longer than what it stands in, and nearly every frame is shorter than a text may be.
    if bytes.len() > MAX_TEXT_BYTES {
        check_texts(&frame)?;
    }
    Ok(frame)
}

/// Counts rows before anything is allocated for them; gives how many come in columns, at most.
fn count_rows(bytes: &[u8]) -> Result<InColumns, DecodeError> {
    const ROWS: &str = "rows of one family";
    let (mut counts, mut in_columns) = ([0; NUMBERS], [0; NUMBERS]);
    let mut rows = InColumns::default();
    each_field(bytes, |number, value| match number {
        ANNOUNCEMENT => one_more(&mut counts, number, "announcements", MAX_ANNOUNCEMENTS),
        ONCPU_PROCESS_COLUMNS => each_field(value, |number, value| {
            // A number takes a byte or more.
            rows.process = if number == NAME { value.len() } else { rows.process };
            // Should columns stand twice, both count together: that is how they are decoded.
            one_more(&mut in_columns, number, ROWS, MAX_ROWS)
        }),
        _ if REPEATED.contains(&number) => {
            rows.core = if number == ONCPU_CORE_SAMPLES { value.len() } else { rows.core };
            one_more(&mut counts, number, ROWS, MAX_ROWS)
        }
        _ => Ok(()),
    })?;
    Ok(rows)
}

/// Counts repeated fields by their tags alone; `limit_of` names those that have a limit, by their number.
pub(crate) fn count_fields(
    bytes: &[u8],
    limit_of: impl Fn(u32) -> Option<(&'static str, usize)>,
) -> Result<(), DecodeError> {
    let mut counts = [0; NUMBERS];
    each_field(bytes, |number, _| {
        limit_of(number).map_or(Ok(()), |(what, most)| one_more(&mut counts, number, what, most))
    })
}

/// Fields are told apart by their number, up to this one.
const NUMBERS: usize = 64;

#[inline]
fn one_more(counts: &mut [usize; NUMBERS], number: u32, what: &'static str, most: usize) -> Result<(), DecodeError> {
    let count = &mut counts[number as usize % NUMBERS];
    *count += 1;
    limit(what, *count, most)
}

/// Walks over the outermost fields of a message: the number of each, and its bytes, where it is a text, a message or packed.
#[inline]
fn each_field<'a>(
    mut bytes: &'a [u8],
    mut see: impl FnMut(u32, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let malformed = |what: &str| DecodeError::Malformed(what.to_owned());
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).map_err(|e| malformed(&e.to_string()))?;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(&mut bytes).map_err(|e| malformed(&e.to_string()))?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut bytes).map_err(|e| malformed(&e.to_string()))?;
                usize::try_from(length).map_err(|_| malformed("a length beyond all bounds"))?
            }
            WireType::StartGroup | WireType::EndGroup => return Err(malformed("a group")),
        };
        let (value, rest) = bytes.split_at_checked(length).ok_or_else(|| malformed("cut off"))?;
        bytes = rest;
        see(number, value)?;
    }
    Ok(())
}

/// The numbers of fields in Frame.
const ONCPU_CORE_SAMPLES: u32 = 29;
const ONCPU_PROCESS_COLUMNS: u32 = 30;
const ANNOUNCEMENT: u32 = 50;
/// The number of a field in OnCpuProcessColumns.
const NAME: u32 = 2;

fn check_header(frame: &v1::Frame) -> Result<(), DecodeError> {
    let header = frame.header.as_ref().ok_or(DecodeError::NoHeader)?;
    if header.version != FORMAT_VERSION {
        return Err(DecodeError::Version(header.version));
    }
    let zone = header.zone.as_ref().map_or("", |z| z.name.as_str());
    if header.zone.is_some() && zone.is_empty() {
        return Err(DecodeError::Name { field: "zone", error: NameError::Empty });
    }
    check_host_id(&header.host_id).map_err(|error| DecodeError::Name { field: "host_id", error })?;
    check_zone(zone).map_err(|error| DecodeError::Name { field: "zone", error })?;
    for (field, value) in [
        ("epoch", header.epoch),
        ("sequence", header.sequence),
        ("time", header.time),
        ("interval", u64::from(header.interval_ms)),
    ] {
        if value == 0 {
            return Err(DecodeError::Header(field));
        }
    }
    check_text(&header.host)?;
    if let Some(zone) = &header.zone {
        check_text(&zone.brand)?;
        check_text(&zone.uuid)?;
        check_text(&zone.state)?;
    }
    Ok(())
}

fn check_nested(frame: &v1::Frame) -> Result<(), DecodeError> {
    for d in &frame.distribution {
        let (lower, upper, count) = (d.lower.len(), d.upper.len(), d.count.len());
        if lower != upper || lower != count {
            return Err(DecodeError::Unpaired { lower, upper, count });
        }
        limit("buckets", count, MAX_BUCKETS)?;
        check_text(&d.name)?;
        check_text(&d.unit)?;
        check_labels(&d.labels)?;
    }
    for row in &frame.custom {
        check_text(&row.table)?;
        check_labels(&row.labels)?;
        limit("values", row.values.len(), MAX_LABELS)?;
        for value in &row.values {
            check_text(&value.name)?;
            check_text(&value.unit)?;
            if let Some(v1::measure::Value::Text(text)) = &value.value {
                check_text(text)?;
            }
        }
    }
    limit("earlier epochs", frame.kept_epoch.len(), MAX_KEPT_EPOCHS)?;
    for a in &frame.announcement {
        check_text(&a.zone)?;
    }
    Ok(())
}

/// The texts of all rows.
fn check_texts(frame: &v1::Frame) -> Result<(), DecodeError> {
    let mut texts = Texts(Ok(()));
    walk(frame, &mut texts);
    texts.0
}

fn check_labels(labels: &[v1::Label]) -> Result<(), DecodeError> {
    limit("labels", labels.len(), MAX_LABELS)?;
    labels.iter().try_for_each(|l| check_text(&l.name).and_then(|()| check_text(&l.value)))
}

pub(crate) fn check_text(text: &str) -> Result<(), DecodeError> {
    limit("bytes of text", text.len(), MAX_TEXT_BYTES)
}

pub(crate) fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), DecodeError> {
    if count > limit { Err(DecodeError::TooMany { what, count, limit }) } else { Ok(()) }
}

/// Checks the length of every text in every row.
struct Texts(Result<(), DecodeError>);

impl Sink for Texts {
    fn row<F: Family>(&mut self, row: &F) {
        // A bucket's labels are joined of texts that are each checked where they stand.
        if F::SPEC.table != "distribution" {
            row.visit(self);
        }
    }

    fn custom(&mut self, _: &v1::Custom) {}
}

impl Visitor for Texts {
    fn value(&mut self, _: usize, value: Option<Value<'_>>) {
        if let (Ok(()), Some(Value::Text(text))) = (&self.0, value) {
            self.0 = check_text(text);
        }
    }
}
