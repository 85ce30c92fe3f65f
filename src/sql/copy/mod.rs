//! The rows of COPY FROM STDIN on their way to the server: how a plan says they are written, and the streaming
//! [`Transcoder`] that sees to it that each of them is the tenant's.
//!
//! **Two locks.** The transcoder puts the tenant column before each row, or checks the one that the client gave.
//! The statement itself carries, as the first conjunct of its WHERE,
//!
//! ```sql
//! CASE WHEN t.tenant_id OPERATOR(pg_catalog.=) 'T'::type THEN true WHEN <raise> THEN NULL END
//! ```
//!
//! which the server evaluates on the row as *it* has read it, before anything is written. It raises rather than
//! drops a row: so no difference between two readings of a row decides a tenant, the first bad row fails the
//! COPY with nothing written, and there is no count of silently dropped rows to compare afterwards — which in
//! autocommit would come too late, since the row count is told after the commit. What raises depends on the row
//! and is not volatile: a volatile condition would cost COPY its multi-row inserts (copyfrom.c, `CopyFrom`).
//!
//! **Keys.** A COPY cannot prove that a key points at a row of the tenant's, since its WHERE has no sub-selects. A
//! relation whose parent or whose foreign keys have to be proved is loaded by its guarded INSERT, prepared once and
//! executed for each row in one implicit transaction, or in the client's ([`Load::inserts`]).
//!
//! **Faithful.** Malformed rows are passed on, so that the server's own error is what the client sees. What the
//! server will not read (what stands after `\.`) is not sent.
//!
//! Formats: «COPY», section «File Formats» of PostgreSQL's documentation; the reading follows copyfromparse.c.

mod binary;
mod csv;
mod encoded;
mod inserted;
mod lines;
mod options;
mod tenant;
mod text;
mod transcode;
mod tuples;
mod values;

use crate::catalog::Oid;

pub(in crate::sql) use options::{Choices, form, recognised};
pub use transcode::Transcoder;
pub(in crate::sql) use values::{in_words, printable};

/// Bytes of the row at the front of what a [`Transcoder`] gives for [`Load::inserts`]: a count of two bytes, and each
/// value behind its length.
pub fn row_length(bytes: &[u8]) -> Option<usize> {
    match binary::row(bytes, None) {
        binary::Row::Whole { length, .. } => Some(length),
        _ => None,
    }
}

/// The longest row of which a decision has to be made, in bytes: it is kept whole until it has ended.
pub const LONGEST_ROW: usize = 64 << 20;

/// How the rows of a COPY FROM STDIN become the tenant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// How rows are written.
    pub form: Form,
    /// The columns that the client gives, in order.
    pub columns: Vec<String>,
    /// The relation, for errors.
    pub relation: String,
    /// Where the tenant's value is.
    pub place: Place,
    /// The plan's statement is the INSERT of one row with these types of parameters, one a column; the transcoder
    /// gives rows as Bind takes them. None: it is a COPY.
    pub inserts: Option<Vec<Oid>>,
}

/// Where a row has the tenant's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the relation is everybody's.
    Nowhere,
    /// The client leaves it out: it is put before the row.
    Added {
        /// The tenant column.
        column: String,
        /// Its base type.
        type_oid: Oid,
    },
    /// The client gives it.
    Given {
        /// Its place among the columns, from 0.
        index: usize,
        /// Its base type.
        type_oid: Oid,
    },
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// FORMAT.
    pub format: Format,
    /// DELIMITER.
    pub delimiter: u8,
    /// QUOTE (CSV).
    pub quote: u8,
    /// ESCAPE (CSV).
    pub escape: u8,
    /// NULL.
    pub null: Box<[u8]>,
    /// DEFAULT (16).
    pub default: Option<Box<[u8]>>,
    /// HEADER.
    pub header: Header,
    /// FORCE_NOT_NULL (CSV).
    pub force_not_null: Columns,
    /// FORCE_NULL (CSV).
    pub force_null: Columns,
    /// `\.` on a line of its own ends CSV data too (before PostgreSQL 18).
    pub csv_marker: bool,
}

/// FORMAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text`
    Text,
    /// `csv`
    Csv,
    /// `binary`
    Binary,
}

/// HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// There is none.
    No,
    /// The first line is skipped.
    Skip,
    /// The first line must name the columns.
    Match,
}

/// Columns that an option is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// These.
    Named(Vec<String>),
    /// `*`
    All,
}

impl Form {
    /// The text format without options.
    pub fn text() -> Self {
        Self {
            format: Format::Text,
            delimiter: b'\t',
            quote: b'"',
            escape: b'"',
            null: Box::from(&b"\\N"[..]),
            default: None,
            header: Header::No,
            force_not_null: Columns::Named(Vec::new()),
            force_null: Columns::Named(Vec::new()),
            csv_marker: true,
        }
    }
}

impl Columns {
    /// Whether the option is about this column.
    pub fn has(&self, column: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == column),
            Self::All => true,
        }
    }
}

impl Load {
    /// Bytes of it, for a cache's bound (an estimate).
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|name| name.len().saturating_add(24)).sum::<usize>().saturating_add(256)
    }
}

#[cfg(test)]
mod tests;
