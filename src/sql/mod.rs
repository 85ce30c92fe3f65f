//! From a client's text to SQL that may be sent. Pure: no I/O, no clock, no tokio.
//!
//! `ClientText` → bounds → normalise → parse → bind → decide → rewrite → verify → [`VerifiedSql`]. Each
//! stage is a type that only the stage before it can make.

pub mod template;

pub use template::{Piece, Template, VerifiedSql};
