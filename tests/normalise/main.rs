//! The lexer, the normaliser and the templates against PostgreSQL's own scanner and parser.

mod corpus;
mod limits;
mod templates;
mod tokens;

/// The major whose SQL is read.
const SERVER: u32 = 180_000;
