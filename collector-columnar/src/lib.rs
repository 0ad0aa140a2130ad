//! The columnar collector: frames in, Parquet on disk, SQL out.
//!
//! | module | owns |
//! |---|---|
//! | [`store`] | durability: the log, the Parquet files, exactly once, compaction, retention |
//! | [`query`] | a consistent view of a store that is being written, tables, rates, the USE view, output |
//! | [`schema`] | what a table looks like |
//! | [`limits`] | every bound |
//! | [`cli`], [`config`], [`units`], [`commands`] | what users say, and what is done about it |
//!
//! No family of statistics is named here, save those that make up `use`: all tables come from frame.proto, by the
//! walk in `zonescope_proto::families`.

pub mod cli;
pub mod commands;
pub mod config;
pub mod limits;
pub mod query;
pub mod schema;
pub mod store;
