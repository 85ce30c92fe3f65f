//! What the proxy itself says to a client, by pgwire's encoders.

use bytes::BytesMut;
use pgwire::messages::Message;
use pgwire::messages::data::ParameterDescription;
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, ReadyForQuery, TransactionStatus as Status,
};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};

use super::backend::{ErrorFields, TransactionStatus};
use crate::policy::{Refusal, SqlState};

/// Severity of an error that the proxy raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement fails.
    Error,
    /// The connection ends.
    Fatal,
}

/// Appends a refusal as ErrorResponse. `text` is the client's text and `offset` where the refused statement
/// starts in it: the position is told as PostgreSQL does, in characters from 1.
pub fn refusal(out: &mut Vec<u8>, severity: Severity, refusal: &Refusal, text: &str, offset: usize) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', refusal.state.0.to_owned()),
        (b'M', refusal.to_string()),
    ];
    fields.extend(refusal.detail.clone().map(|detail| (b'D', detail)));
    fields.extend(refusal.hint.clone().map(|hint| (b'H', hint)));
    let byte = refusal.position.and_then(|position| position.checked_add(offset));
    let before = byte.and_then(|byte| text.get(..byte));
    fields.extend(before.map(|before| (b'P', before.chars().count().saturating_add(1).to_string())));
    // A NUL would end a field early; no text of ours has one, and a client's text cannot have one.
    encode(out, &ErrorResponse::new(fields));
}

/// Appends a server's error as a client may see it: severity, code, message and the names of schema, table,
/// column, type and constraint. DETAIL goes through where it can quote nothing but the row that the client
/// wrote. Position, context, internal query, hint and source place are left out.
pub fn server_error(out: &mut Vec<u8>, fields: &ErrorFields<'_>, message: Option<&str>) {
    let code = fields.field(b'C').unwrap_or_default();
    let own_row = matches!(code, b"23505" | b"23503" | b"23502" | b"23514") && fields.field(b'W').is_none();
    let passes = |kind: u8| matches!(kind, b'S' | b'V' | b'C' | b'M' | b's' | b't' | b'c' | b'd' | b'n');
    let kept = fields
        .iter()
        .filter(|(kind, _)| passes(*kind) || (own_row && *kind == b'D'))
        .map(|(kind, value)| match message.filter(|_| kind == b'M') {
            Some(message) => (kind, message.to_owned()),
            None => (kind, String::from_utf8_lossy(value).into_owned()),
        })
        .collect();
    encode(out, &ErrorResponse::new(kept));
}

/// Appends CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    encode(out, &CommandComplete::new(tag.to_owned()));
}

/// Appends ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => Status::Idle,
        TransactionStatus::Open => Status::Transaction,
        TransactionStatus::Failed => Status::Error,
    };
    encode(out, &ReadyForQuery::new(status));
}

/// Appends ParameterDescription.
pub fn parameter_description(out: &mut Vec<u8>, types: Vec<u32>) {
    encode(out, &ParameterDescription::new(types));
}

/// Appends ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    encode(out, &ParameterStatus::new(name.to_owned(), value.to_owned()));
}

/// Appends BackendKeyData: the proxy's own key, never the server's.
pub fn key_data(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    encode(out, &BackendKeyData::new(pid, SecretKey::Bytes(secret.to_vec().into())));
}

/// Appends NegotiateProtocolVersion: the minor version that is spoken, and the `_pq_` options that are not
/// known here.
pub fn negotiate_version(out: &mut Vec<u8>, minor: u16, unsupported: Vec<String>) {
    // PostgreSQL sends the whole version, not the minor one alone (SendNegotiateProtocolVersion).
    encode(out, &NegotiateProtocolVersion::new((3 << 16) | i32::from(minor), unsupported));
}

/// Appends AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    encode(out, &Authentication::Ok);
}

/// Appends AuthenticationCleartextPassword.
pub fn ask_password(out: &mut Vec<u8>) {
    encode(out, &Authentication::CleartextPassword);
}

/// Appends AuthenticationSASL with the mechanisms offered.
pub fn ask_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    encode(out, &Authentication::SASL(mechanisms.iter().map(|m| (*m).to_owned()).collect()));
}

/// Appends AuthenticationSASLContinue.
pub fn sasl_continue(out: &mut Vec<u8>, data: Vec<u8>) {
    encode(out, &Authentication::SASLContinue(data.into()));
}

/// Appends AuthenticationSASLFinal.
pub fn sasl_final(out: &mut Vec<u8>, data: Vec<u8>) {
    encode(out, &Authentication::SASLFinal(data.into()));
}

/// A refusal that says 57P01.
pub fn shutting_down() -> Refusal {
    Refusal::new(
        SqlState::SHUTDOWN,
        crate::policy::Rule("shutdown"),
        "terminating connection due to administrator command",
    )
}

/// Encodes behind what `out` has. A message that pgwire finds too large is left out; none of ours is.
fn encode(out: &mut Vec<u8>, message: &impl Message) {
    let mut buffer = BytesMut::with_capacity(message.message_length().saturating_add(1));
    if message.encode(&mut buffer).is_ok() {
        out.extend_from_slice(&buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Rule;

    #[test]
    fn position_counts_characters_of_the_whole_text() {
        let text = "select 'é'; select x";
        let mut out = Vec::new();
        let error = Refusal::new(SqlState::SYNTAX, Rule("syntax"), "no").at(7);
        refusal(&mut out, Severity::Error, &error, text, text.find("select x").unwrap());
        let fields = ErrorFields::read(&out[5..]).unwrap();
        assert_eq!(fields.field(b'P'), Some(&b"20"[..]));
        assert_eq!(fields.field(b'M'), Some(&b"pgbulkhead: no [syntax]"[..]));
    }

    #[test]
    fn detail_and_context_of_a_server_error_are_withheld() {
        let body = b"SERROR\0C22P02\0Mbad\0Dsecret\0Wcontext\0qquery\0P5\0Ff.c\0\0";
        let mut out = Vec::new();
        server_error(&mut out, &ErrorFields::read(body).unwrap(), None);
        assert_eq!(&out[5..], b"SERROR\0C22P02\0Mbad\0\0");
    }

    #[test]
    fn detail_of_a_unique_violation_passes_without_context_only() {
        let mut out = Vec::new();
        server_error(&mut out, &ErrorFields::read(b"C23505\0Mdup\0Dkey\0\0").unwrap(), None);
        assert_eq!(&out[5..], b"C23505\0Mdup\0Dkey\0\0");
        out.clear();
        server_error(&mut out, &ErrorFields::read(b"C23505\0Mdup\0Dkey\0Wtrigger\0\0").unwrap(), None);
        assert_eq!(&out[5..], b"C23505\0Mdup\0\0");
    }
}
