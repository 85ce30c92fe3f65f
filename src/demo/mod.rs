//! See the crate's first page for what belongs here.
