//! What the command line of collector-columnar names of its queries.

pub mod output {
    /// How results look.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
    pub enum Format {
        /// For people.
        #[default]
        Table,
    }
}
