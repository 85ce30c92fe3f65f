//! Encodes messages to the server that carry no SQL. Lengths are checked where they are written: a frame
//! whose length field differs from its body cannot be made.

use super::WireError;
use super::frame::LARGE;
use super::frontend::{Bind, Format};

/// Appends one message. Fails when the body is longer than a length field can say; `out` is then as before.
pub fn frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    body(out);
    announce(out, tag, start, 0, LONGEST)
}

/// The longest message that a length field can say.
const LONGEST: usize = 0x7fff_ffff;

/// Writes the length of the message that begins at `start` and of which so many bytes are still to come.
fn announce(
    out: &mut Vec<u8>,
    tag: u8,
    start: usize,
    coming: usize,
    longest: usize,
) -> Result<(), WireError> {
    let length = out.len().saturating_sub(start).saturating_sub(1).saturating_add(coming);
    let field = i32::try_from(length).ok().filter(|_| length <= longest);
    let slot = out.get_mut(start.saturating_add(1)..start.saturating_add(5));
    let (Some(field), Some(slot)) = (field, slot) else {
        out.truncate(start);
        return Err(WireError::Length { tag, length: u32::MAX });
    };
    slot.copy_from_slice(&field.to_be_bytes());
    Ok(())
}

/// Appends a NUL-terminated string.
pub fn c_str(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

/// The tenant's value that goes behind a client's own, in text format.
#[derive(Debug, Clone, Copy)]
pub struct TenantParameter<'a> {
    /// Its text.
    pub value: &'a str,
}

/// Appends a Bind under the server's names. With a tenant, the client's format codes are written out one
/// by one, so that the tenant's is its own, and the value goes behind the client's. The caller has checked
/// that the client gave exactly its own number of values.
pub fn bind(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    message: &Bind<'_>,
    tenant: Option<TenantParameter<'_>>,
) -> Result<(), WireError> {
    let tenant_length = tenant_length(tenant)?;
    let total = total(message, tenant)?;
    frame(out, b'B', |out| {
        bind_head(out, portal, statement, message, total);
        if let Some(tenant) = tenant {
            out.extend_from_slice(&tenant_length.to_be_bytes());
            out.extend_from_slice(tenant.value.as_bytes());
        }
        out.extend_from_slice(&u16::try_from(message.results.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(message.results.raw());
    })
}

/// Appends the beginning of the same for a Bind that is not whole, up to its last whole value. The message's length
/// counts what is missing and the tenant's value: [`Passing`](super::passing::Passing) appends them. An error where it
/// would be longer than PostgreSQL reads.
pub fn begin_bind(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    message: &Bind<'_>,
    tenant: Option<TenantParameter<'_>>,
) -> Result<(), WireError> {
    let total = total(message, tenant)?;
    let tenant = tenant.map_or(0, |tenant| tenant.value.len().saturating_add(4));
    let start = out.len();
    frame(out, b'B', |out| bind_head(out, portal, statement, message, total))?;
    announce(out, b'B', start, message.missing.bytes.saturating_add(tenant), LARGE)
}

/// What stands before the tenant's value.
pub(super) fn tenant_length(tenant: Option<TenantParameter<'_>>) -> Result<i32, WireError> {
    tenant.map_or(Ok(0), |tenant| i32::try_from(tenant.value.len())).map_err(|_| WireError::Field("tenant"))
}

/// How many values the server gets.
fn total(message: &Bind<'_>, tenant: Option<TenantParameter<'_>>) -> Result<u16, WireError> {
    let count = message.values.count();
    match tenant {
        Some(_) => count.checked_add(1).ok_or(WireError::Field("parameter count")),
        None => Ok(count),
    }
}

/// Everything up to the last whole value of the client's.
fn bind_head(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], message: &Bind<'_>, total: u16) {
    let count = message.values.count();
    c_str(out, portal);
    c_str(out, statement);
    if total > count && !message.formats.is_empty() {
        out.extend_from_slice(&total.to_be_bytes());
        for index in 0..usize::from(count) {
            out.extend_from_slice(code(message.formats.of(index)));
        }
        out.extend_from_slice(code(Format::Text));
    } else {
        out.extend_from_slice(&u16::try_from(message.formats.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(message.formats.raw());
    }
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(message.values.raw());
}

/// Appends a Bind of one row to the unnamed portal. `row` is a count and the values behind their lengths, as Bind has
/// them; a tenant goes behind them in text format.
pub fn bind_row(
    out: &mut Vec<u8>,
    statement: &[u8],
    row: &[u8],
    binary: bool,
    tenant: Option<TenantParameter<'_>>,
) -> Result<(), WireError> {
    let (count, values) = row.split_first_chunk::<2>().ok_or(WireError::Short)?;
    let count = u16::from_be_bytes(*count);
    let tenant_count = u16::from(tenant.is_some());
    let total = count.checked_add(tenant_count).ok_or(WireError::Field("parameter count"))?;
    let length = tenant.map_or(Ok(0), |tenant| i32::try_from(tenant.value.len()));
    let length = length.map_err(|_| WireError::Field("tenant"))?;
    frame(out, b'B', |out| {
        out.push(0);
        c_str(out, statement);
        if binary {
            out.extend_from_slice(&total.to_be_bytes());
            (0..count).for_each(|_| out.extend_from_slice(code(Format::Binary)));
            (0..tenant_count).for_each(|_| out.extend_from_slice(code(Format::Text)));
        } else {
            out.extend_from_slice(&0u16.to_be_bytes());
        }
        out.extend_from_slice(&total.to_be_bytes());
        out.extend_from_slice(values);
        if let Some(tenant) = tenant {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(tenant.value.as_bytes());
        }
        out.extend_from_slice(&0u16.to_be_bytes());
    })
}

/// Appends a Bind of so many NULLs, whose portal is described as the client's would be: with its formats of results.
pub fn bind_nulls(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    count: u16,
    message: &Bind<'_>,
) -> Result<(), WireError> {
    frame(out, b'B', |out| {
        c_str(out, portal);
        c_str(out, statement);
        out.extend_from_slice(&0u16.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        (0..count).for_each(|_| out.extend_from_slice(&(-1i32).to_be_bytes()));
        out.extend_from_slice(&u16::try_from(message.results.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(message.results.raw());
    })
}

/// Appends Describe (`D`) or Close (`C`) of a statement (`S`) or portal (`P`).
pub fn target(out: &mut Vec<u8>, tag: u8, kind: u8, name: &[u8]) -> Result<(), WireError> {
    frame(out, tag, |out| {
        out.push(kind);
        c_str(out, name);
    })
}

/// Appends Execute.
pub fn execute(out: &mut Vec<u8>, portal: &[u8], limit: i32) -> Result<(), WireError> {
    frame(out, b'E', |out| {
        c_str(out, portal);
        out.extend_from_slice(&limit.to_be_bytes());
    })
}

/// Sync.
pub const SYNC: &[u8] = b"S\0\0\0\x04";
/// Flush.
pub const FLUSH: &[u8] = b"H\0\0\0\x04";
/// CopyDone.
pub const COPY_DONE: &[u8] = b"c\0\0\0\x04";
/// Terminate.
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";

fn code(format: Format) -> &'static [u8] {
    match format {
        Format::Text => &[0, 0],
        Format::Binary => &[0, 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(body: &[u8], tenant: Option<&str>) -> Vec<u8> {
        let message = Bind::read(body).unwrap();
        let mut out = Vec::new();
        let parameter = tenant.map(|value| TenantParameter { value });
        bind(&mut out, b"", b"s1", &message, parameter).unwrap();
        out.split_off(5)
    }

    #[test]
    fn one_binary_code_is_written_out_and_the_tenant_stays_text() {
        let out = bound(b"\0\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x07\0\0", Some("42"));
        let wanted = b"\0s1\0\0\x02\0\x01\0\0\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x0242\0\0";
        assert_eq!(out, wanted);
        let read = Bind::read(&out).unwrap();
        assert_eq!(read.formats.of(1), Format::Text);
        assert_eq!(read.values.get(1), Some(Some(&b"42"[..])));
    }

    #[test]
    fn no_codes_stay_no_codes() {
        let out = bound(b"\0\0\0\0\0\x01\0\0\0\x017\0\0", Some("1"));
        assert_eq!(out, b"\0s1\0\0\0\0\x02\0\0\0\x017\0\0\0\x011\0\0");
    }

    #[test]
    fn without_a_tenant_values_pass_as_they_are() {
        let out = bound(b"\0\0\0\x01\0\x01\0\x01\xff\xff\xff\xff\0\x01\0\x01", None);
        assert_eq!(out, b"\0s1\0\0\x01\0\x01\0\x01\xff\xff\xff\xff\0\x01\0\x01");
    }
}
