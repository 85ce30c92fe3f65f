//! Bytes to checked protocol messages, and answers to bytes. Pure.
//!
//! * [`frame`] cuts a client's stream into whole messages, each capped by its type before a byte of it
//!   is kept.
//! * [`reader`] reads fields of one exact body; [`startup`] and [`frontend`] are the bodies themselves.
//! * [`passing`] follows what is left of a Bind that passes as it comes.
//! * [`request`] encodes what is sent to the server (but no SQL: that is `session::outgoing`'s alone).
//! * [`backend`] reads the few fields of a server's messages that matter to a proxy.
//! * [`answer`] encodes what the proxy itself says to a client.

pub mod answer;
pub mod backend;
pub mod frame;
pub mod frontend;
pub mod passing;
pub mod reader;
pub mod request;
pub mod startup;

use crate::policy::{Refusal, Rule, SqlState};

/// What is wrong with a client's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A length field below its minimum or above the cap of its message type.
    #[error("invalid length {length} of message type {}", printable(*.tag))]
    Length {
        /// Type byte, 0 for a startup packet.
        tag: u8,
        /// The announced length.
        length: u32,
    },
    /// A type byte that no frontend message has in this state.
    #[error("message type {} is not expected here", printable(*.0))]
    Unexpected(u8),
    /// A message that ends before its fields do.
    #[error("insufficient data left in message")]
    Short,
    /// A message that goes on after its fields.
    #[error("invalid message format: {0} bytes after the last field")]
    Trailing(usize),
    /// A string without its terminator.
    #[error("invalid string in message")]
    Unterminated,
    /// A string that is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// A field with a value that the protocol does not know.
    #[error("invalid {0} in message")]
    Field(&'static str),
}

impl WireError {
    /// The error's SQLSTATE.
    pub fn state(&self) -> SqlState {
        match self {
            Self::Encoding => SqlState::BAD_ENCODING,
            _ => SqlState::PROTOCOL,
        }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Refusal::new(error.state(), Rule("protocol"), error.to_string())
    }
}

fn printable(tag: u8) -> String {
    if tag.is_ascii_graphic() { format!("'{}'", char::from(tag)) } else { format!("0x{tag:02x}") }
}
