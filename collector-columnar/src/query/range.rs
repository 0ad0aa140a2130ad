//! What a query's WHERE says of time and of names, as far as it helps to read less. Everything is filtered again
//! afterwards, so what is not understood here costs time and never rows.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator, TryCast};
use datafusion::scalar::ScalarValue;

use crate::schema::{COMMON, TIME};
use crate::store::layout::Hour;

/// A range of time in ns since 1970 UTC, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Its first ns.
    pub from: i64,
    /// Its last ns.
    pub to: i64,
}

/// A comparison in whole seconds is as true of times a little beyond it.
const COARSEST_UNIT_NS: i64 = 1_000_000_000;

impl TimeRange {
    /// All of time.
    pub const ALL: TimeRange = TimeRange { from: i64::MIN, to: i64::MAX };

    /// Where rows that pass all the filters can be.
    pub fn of(filters: &[Expr]) -> Self {
        filters.iter().fold(TimeRange::ALL, |range, filter| range.and(TimeRange::of_one(filter)))
    }

    fn of_one(filter: &Expr) -> Self {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                TimeRange::of_one(left).and(TimeRange::of_one(right))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                TimeRange::of_one(left).or(TimeRange::of_one(right))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => TimeRange::compared(left, *op, right)
                .or_else(|| TimeRange::compared(right, op.swap()?, left))
                .unwrap_or(TimeRange::ALL),
            Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr) => {
                match (instant(low), instant(high)) {
                    (Some(from), Some(to)) => TimeRange { from, to },
                    _ => TimeRange::ALL,
                }
            }
            _ => TimeRange::ALL,
        }
    }

    fn compared(column: &Expr, op: Operator, literal: &Expr) -> Option<Self> {
        let at = is_time(column).then(|| instant(literal)).flatten()?;
        let slack = if matches!(column, Expr::Column(_)) { 0 } else { COARSEST_UNIT_NS };
        let (before, after) = (at.saturating_sub(slack), at.saturating_add(slack));
        match op {
            Operator::Eq => Some(TimeRange { from: before, to: after }),
            Operator::Gt if slack == 0 => Some(TimeRange { from: at.saturating_add(1), ..TimeRange::ALL }),
            Operator::Lt if slack == 0 => Some(TimeRange { to: at.saturating_sub(1), ..TimeRange::ALL }),
            Operator::Gt | Operator::GtEq => Some(TimeRange { from: before, ..TimeRange::ALL }),
            Operator::Lt | Operator::LtEq => Some(TimeRange { to: after, ..TimeRange::ALL }),
            _ => None,
        }
    }

    fn and(self, other: Self) -> Self {
        TimeRange { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// From the beginning of the one that begins first to the end of the one that ends last.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        TimeRange { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// The same, begun earlier.
    #[must_use]
    pub fn looking_back(self, ns: i64) -> Self {
        TimeRange { from: self.from.saturating_sub(ns), ..self }
    }

    /// Whether an hour may have rows in it.
    pub fn touches(&self, hour: Hour) -> bool {
        hour.start() <= self.to && self.from <= hour.end()
    }

    /// As a filter again; none where there is no bound.
    pub fn to_filter(self) -> Option<Expr> {
        let time = || Expr::Column(datafusion::common::Column::new_unqualified(COMMON[TIME]));
        let literal = |ns| Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())), None);
        let from = (self.from != i64::MIN).then(|| time().gt_eq(literal(self.from)));
        let to = (self.to != i64::MAX).then(|| time().lt_eq(literal(self.to)));
        from.into_iter().chain(to).reduce(Expr::and)
    }
}

fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == COMMON[TIME],
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            matches!(field.data_type(), DataType::Timestamp(_, _)) && is_time(expr)
        }
        _ => false,
    }
}

fn instant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(v), _), _) => Some(*v),
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(v), _), _) => Some(v.saturating_mul(1_000)),
        Expr::Literal(ScalarValue::TimestampMillisecond(Some(v), _), _) => Some(v.saturating_mul(1_000_000)),
        Expr::Literal(ScalarValue::TimestampSecond(Some(v), _), _) => Some(v.saturating_mul(1_000_000_000)),
        _ => None,
    }
}

/// The texts to which the filters confine a column; `None` where they do not.
pub fn texts(filters: &[Expr], column: &str) -> Option<BTreeSet<String>> {
    filters.iter().filter_map(|f| texts_of_one(f, column)).reduce(|a, b| a.intersection(&b).cloned().collect())
}

fn texts_of_one(filter: &Expr, column: &str) -> Option<BTreeSet<String>> {
    let is_column = |e: &Expr| matches!(e, Expr::Column(c) if c.name == column);
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let literal = if is_column(left) { right } else { is_column(right).then_some(left)? };
            Some(BTreeSet::from([text(literal)?]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (left, right) = (texts_of_one(left, column)?, texts_of_one(right, column)?);
            Some(left.union(&right).cloned().collect())
        }
        Expr::InList(InList { expr, list, negated: false }) if is_column(expr) => list.iter().map(text).collect(),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(v)) | ScalarValue::Utf8View(Some(v)) | ScalarValue::LargeUtf8(Some(v)),
            _,
        ) => Some(v.clone()),
        _ => None,
    }
}

/// Whether a filter is about nothing but these columns.
pub fn is_only_about(filter: &Expr, columns: &[&str]) -> bool {
    let used = filter.column_refs();
    !filter.is_volatile() && !used.is_empty() && used.iter().all(|c| columns.contains(&c.name.as_str()))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn at(ns: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())))
    }

    #[test]
    fn bounds_of_time_are_found_on_either_side() {
        assert_eq!(TimeRange::of(&[col("time").gt(at(5)), at(9).gt_eq(col("time"))]), TimeRange { from: 6, to: 9 });
        assert_eq!(TimeRange::of(&[col("time").gt_eq(at(5)), col("time").lt(at(9))]), TimeRange { from: 5, to: 8 });
        assert_eq!(TimeRange::of(&[col("time").eq(at(5))]), TimeRange { from: 5, to: 5 });
        assert_eq!(TimeRange::of(&[col("time").between(at(5), at(9))]), TimeRange { from: 5, to: 9 });
    }

    #[test]
    fn what_is_not_understood_bounds_nothing() {
        assert_eq!(TimeRange::of(&[col("time").not_eq(at(5)), col("zone").eq(lit("a"))]), TimeRange::ALL);
        assert_eq!(TimeRange::of(&[col("time").gt(at(5)).or(col("zone").eq(lit("a")))]), TimeRange::ALL);
    }

    #[test]
    fn names_are_found_in_equations_and_lists() {
        let some = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>());
        assert_eq!(texts(&[col("family").eq(lit("cpu"))], "family"), some(&["cpu"]));
        assert_eq!(
            texts(&[col("family").in_list(vec![lit("cpu"), lit("net")], false)], "family"),
            some(&["cpu", "net"])
        );
        assert_eq!(texts(&[col("family").not_eq(lit("cpu"))], "family"), None);
    }
}
