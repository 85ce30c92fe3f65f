//! What a client sends: one message, how it is written on the wire, and how it is shown to whoever reads a fault.

use std::fmt;

use crate::support::wire::frame;

/// A message of a client. Statements say `app.` where a side may have another schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Query(String),
    Parse { name: &'static str, sql: String, types: Vec<u32> },
    Bind(Bind),
    Describe(u8, &'static str),
    Execute { portal: &'static str, limit: i32 },
    Close(u8, &'static str),
    Flush,
    Sync,
    CopyData(Vec<u8>),
    CopyDone,
    CopyFail(String),
}

/// A Bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub portal: &'static str,
    pub statement: &'static str,
    pub formats: Vec<i16>,
    pub values: Vec<Option<Vec<u8>>>,
    pub results: Vec<i16>,
}

impl Sent {
    /// Appends its bytes, with its statement as `say` puts it.
    pub fn write(&self, out: &mut Vec<u8>, say: impl Fn(&str) -> String) {
        match self {
            Self::Query(sql) => frame(out, b'Q', &[say(sql).as_bytes(), b"\0"].concat()),
            Self::Parse { name, sql, types } => {
                let mut body = [name.as_bytes(), b"\0", say(sql).as_bytes(), b"\0"].concat();
                body.extend_from_slice(&count(types.len()));
                types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
                frame(out, b'P', &body);
            }
            Self::Bind(bind) => frame(out, b'B', &bind.body()),
            Self::Describe(what, name) => frame(out, b'D', &target(*what, name)),
            Self::Execute { portal, limit } => {
                frame(out, b'E', &[portal.as_bytes(), b"\0", &limit.to_be_bytes()].concat());
            }
            Self::Close(what, name) => frame(out, b'C', &target(*what, name)),
            Self::Flush => frame(out, b'H', &[]),
            Self::Sync => frame(out, b'S', &[]),
            Self::CopyData(data) => frame(out, b'd', data),
            Self::CopyDone => frame(out, b'c', &[]),
            Self::CopyFail(reason) => frame(out, b'f', &[reason.as_bytes(), b"\0"].concat()),
        }
    }

    /// Whether the other side answers with ReadyForQuery, as a rule.
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Sync)
    }
}

impl Bind {
    fn body(&self) -> Vec<u8> {
        let mut body = [self.portal.as_bytes(), b"\0", self.statement.as_bytes(), b"\0"].concat();
        body.extend_from_slice(&count(self.formats.len()));
        self.formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
        body.extend_from_slice(&count(self.values.len()));
        for value in &self.values {
            let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).expect("short"));
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        body.extend_from_slice(&count(self.results.len()));
        self.results.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
        body
    }
}

fn target(what: u8, name: &str) -> Vec<u8> {
    [&[what][..], name.as_bytes(), b"\0"].concat()
}

fn count(of: usize) -> [u8; 2] {
    u16::try_from(of).expect("at most 65535").to_be_bytes()
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(sql) => write!(f, "Q {sql}"),
            Self::Parse { name, sql, types } => write!(f, "P {name:?} {types:?} {sql}"),
            Self::Bind(bind) => {
                let values: Vec<_> = bind.values.iter().map(|value| value.as_deref().map(shown)).collect();
                let Bind { portal, statement, formats, results, .. } = bind;
                write!(f, "B {portal:?} {statement:?} {formats:?} {values:?} {results:?}")
            }
            Self::Describe(what, name) => write!(f, "D {} {name:?}", char::from(*what)),
            Self::Execute { portal, limit } => write!(f, "E {portal:?} {limit}"),
            Self::Close(what, name) => write!(f, "C {} {name:?}", char::from(*what)),
            Self::Flush => write!(f, "H"),
            Self::Sync => write!(f, "S"),
            Self::CopyData(data) => write!(f, "d {}", shown(data)),
            Self::CopyDone => write!(f, "c"),
            Self::CopyFail(reason) => write!(f, "f {reason}"),
        }
    }
}

/// Bytes for a reader.
pub fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 160 { format!("{:.160}… ({} bytes)", text, bytes.len()) } else { text }
}
