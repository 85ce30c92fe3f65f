//! Frontend messages, byte by byte, and answers in a readable form.

use crate::support::wire::{Message, error_fields, frame};

/// One message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, tag, body);
    bytes
}

/// A message whose length field says something else than its body.
pub fn lying(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A packet without a type byte.
pub fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).expect("short");
    [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

pub fn ssl_request() -> Vec<u8> {
    packet(80_877_103, b"")
}

pub fn gss_request() -> Vec<u8> {
    packet(80_877_104, b"")
}

/// A StartupMessage of protocol 3.`minor`.
pub fn startup_as(minor: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    for (key, value) in parameters {
        body.extend_from_slice(&[key.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    packet((3 << 16) | minor, &body)
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_as(0, parameters)
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [name.as_bytes(), b"\0", sql.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&count(types.len()));
    types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    message(b'P', &body)
}

/// Bind with format codes and values.
pub fn bind_as(portal: &str, statement: &str, formats: &[u16], values: &[&[u8]]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&count(formats.len()));
    formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    body.extend_from_slice(&count(values.len()));
    for value in values {
        body.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend_from_slice(&[0, 0]);
    message(b'B', &body)
}

/// Bind with values as text.
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    bind_as(portal, statement, &[], &values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>())
}

pub fn execute(portal: &str, limit: u32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &limit.to_be_bytes()].concat())
}

/// Describe (`D`) or Close (`C`) of a statement (`S`) or portal (`P`).
pub fn target(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    message(tag, &[&[kind][..], name.as_bytes(), b"\0"].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// The unnamed statement and portal from Parse to Execute.
pub fn once(sql: &str, values: &[&str]) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", values), execute("", 0)].concat()
}

pub fn count(of: usize) -> [u8; 2] {
    u16::try_from(of).expect("at most 65535").to_be_bytes()
}

/// Types of messages in order, with what is in those that tell something: `T D[1|40] C[SELECT 1] Z[I]`, and
/// errors by their code: `E[42501]`. ParameterStatus is left out.
pub fn shown(messages: &[Message]) -> String {
    let shown = messages.iter().filter(|m| m.tag != b'S').map(|Message { tag, body }| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
        match tag {
            b'E' => format!("E[{}]", error_fields(body).remove(&'C').unwrap_or_default()),
            b'D' => format!("D[{}]", row(body)),
            b'C' | b'Z' | b'd' => format!("{}[{}]", char::from(*tag), text(body).trim_end()),
            tag => char::from(*tag).to_string(),
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The values of a row as text, between bars.
pub fn row(body: &[u8]) -> String {
    let (mut rest, mut values) = (body.get(2..).unwrap_or_default(), Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (value, after) = after.split_at(length.min(after.len()));
        values.push(String::from_utf8_lossy(value).into_owned());
        rest = after;
    }
    values.join("|")
}
