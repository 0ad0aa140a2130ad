//! What the command line of collector-columnar names of its commands.

pub mod export {
    /// How a file is written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
    pub enum FileFormat {
        /// As it is kept.
        Parquet,
    }
}
