//! What is left of a Bind whose beginning was sent to the server, which passes as it comes: the lengths of its values
//! are followed, so that the tenant's value goes behind the client's last one and nowhere else.

use super::WireError;
use super::frontend::{Bind, Formats};
use super::reader::Reader;
use super::request::{TenantParameter, tenant_length};

/// Longest list of result formats: its count, and 65 535 codes.
const LONGEST_RESULTS: usize = 2 + 2 * 65_535;

/// Where such a Bind stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// Bytes of the client's message that are still to come.
    left: usize,
    /// Values whose length is still to come.
    values: u16,
    /// What is left of the value that is coming.
    value: usize,
    /// The tenant's value behind its length; nothing without one.
    tenant: Box<[u8]>,
}

impl Passing {
    /// Behind what [`begin_bind`](super::request::begin_bind) has sent of this message.
    pub fn new(message: &Bind<'_>, tenant: Option<TenantParameter<'_>>) -> Result<Self, WireError> {
        let length = tenant_length(tenant)?.to_be_bytes();
        let field = |TenantParameter { value }| [&length, value.as_bytes()].concat().into();
        let tenant = tenant.map_or_else(Box::default, field);
        Ok(Self { left: message.missing.bytes, values: message.missing.values, value: 0, tenant })
    }

    /// Bytes of the client's message that are still to come; 0: the server has all of it.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Appends what may pass of these bytes, which come next, and gives how many it took. The rest has to come again,
    /// with more behind it: a length that is cut (3 bytes at most), or the result formats, which are read whole before
    /// they pass. After an error the server has a part of a message that must never be completed.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, WireError> {
        let bytes = bytes.get(..self.left).unwrap_or(bytes);
        let of_values = self.follow(bytes)?;
        let (values, results) = bytes.split_at_checked(of_values).ok_or(WireError::Short)?;
        out.extend_from_slice(values);
        self.left = self.left.saturating_sub(of_values);
        if self.values > 0 || self.value > 0 {
            return Ok(of_values);
        }
        if self.left > LONGEST_RESULTS {
            return Err(WireError::Trailing(self.left.saturating_sub(LONGEST_RESULTS)));
        }
        let Some(results) = results.get(..self.left) else { return Ok(of_values) };
        let mut reader = Reader::new(results);
        Formats::read(&mut reader)?;
        reader.finish()?;
        out.extend_from_slice(&self.tenant);
        out.extend_from_slice(results);
        self.left = 0;
        Ok(bytes.len())
    }

    /// How many of these bytes belong to values.
    fn follow(&mut self, bytes: &[u8]) -> Result<usize, WireError> {
        let mut at = 0usize;
        loop {
            let step = self.value.min(bytes.len().saturating_sub(at));
            at = at.saturating_add(step);
            self.value = self.value.saturating_sub(step);
            if self.value > 0 || self.values == 0 {
                return Ok(at);
            }
            let behind = self.left.checked_sub(at).and_then(|left| left.checked_sub(4));
            let behind = behind.ok_or(WireError::Short)?;
            let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(at) };
            self.value = match i32::from_be_bytes(*length) {
                -1 => 0,
                length => usize::try_from(length).map_err(|_| WireError::Field("value length"))?,
            };
            if self.value > behind {
                return Err(WireError::Short);
            }
            self.values = self.values.saturating_sub(1);
            at = at.saturating_add(4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    const TENANT: Option<TenantParameter<'static>> = Some(TenantParameter { value: "42" });

    /// What a Bind that is kept until it is whole becomes.
    fn kept(body: &[u8], tenant: Option<TenantParameter<'_>>) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::new();
        request::bind(&mut out, b"p", b"s1", &Bind::read(body)?, tenant)?;
        Ok(out)
    }

    /// What the same becomes whose first `begun` bytes are there when it is looked at, and whose others come in pieces of
    /// so many bytes; none: those do not hold what is needed.
    fn passed(
        body: &[u8],
        begun: usize,
        piece: usize,
        tenant: Option<TenantParameter<'_>>,
    ) -> Result<Option<Vec<u8>>, WireError> {
        let (beginning, _) = body.split_at(begun);
        let Some(message) = Bind::begin(beginning, body.len())? else { return Ok(None) };
        assert!(message.is_begun() && message.missing.bytes >= body.len() - begun);
        let mut out = Vec::new();
        request::begin_bind(&mut out, b"p", b"s1", &message, tenant)?;
        let mut passing = Passing::new(&message, tenant)?;
        let mut at = body.len() - message.missing.bytes;
        let mut there = begun;
        while passing.left() > 0 {
            let taken = passing.pass(&body[at..there], &mut out)?;
            at += taken;
            assert_eq!(passing.left(), if there == body.len() { 0 } else { body.len() - at });
            assert!(passing.values > 0 || passing.value == 0 || at == there, "a value is kept back");
            there = (there + piece).min(body.len());
        }
        Ok(Some(out))
    }

    fn bodies() -> Vec<Vec<u8>> {
        let bodies: [&[u8]; 7] = [
            b"a\0b\0\0\0\0\x02\0\0\0\x05hello\0\0\0\x03abc\0\0",
            b"\0\0\0\x01\0\x01\0\x03\0\0\0\x01x\xff\xff\xff\xff\0\0\0\0\0\x02\0\x01\0\0",
            b"\0stmt\0\0\x02\0\x01\0\0\0\x02\xff\xff\xff\xff\0\0\0\x04\0\0\0\x07\0\x01\0\x01",
            b"\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0",
            b"\0\0\0\0\0\x01\0\0\0\0\0\0",
            b"\0\0\0\0\0\x01\0\0\0\x08\0\0\0\x01x\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0",
        ];
        bodies.iter().map(|body| body.to_vec()).collect()
    }

    #[test]
    fn what_passes_in_any_cut_is_what_would_have_been_kept() {
        for body in bodies() {
            for tenant in [None, TENANT] {
                let kept = kept(&body, tenant).unwrap();
                let mut begins = 0;
                for begun in 0..body.len() {
                    for piece in 1..=body.len() - begun {
                        if let Some(passed) = passed(&body, begun, piece, tenant).unwrap() {
                            assert_eq!(passed, kept, "{body:?} begun with {begun}, pieces of {piece}");
                            begins += 1;
                        }
                    }
                }
                assert!(begins > 0, "{body:?}");
            }
        }
    }

    #[test]
    fn what_lies_is_an_error_in_any_cut() {
        // Each byte of a body changed to each of these: the error is found wherever it would have been found.
        for body in bodies() {
            for at in 0..body.len() {
                for byte in [0, 1, 2, 3, 5, 0x7f, 0xff] {
                    let mut lying = body.clone();
                    lying[at] = byte;
                    let kept = kept(&lying, TENANT);
                    for begun in 0..lying.len() {
                        match (&kept, passed(&lying, begun, 1, TENANT)) {
                            (Ok(kept), Ok(Some(passed))) => assert_eq!(passed, *kept, "{lying:?}"),
                            (Ok(_), Err(error)) => panic!("{lying:?} begun with {begun}: {error}"),
                            (Err(_), Ok(Some(passed))) => panic!("{lying:?} begun with {begun}: {passed:?}"),
                            (_, Ok(None)) | (Err(_), Err(_)) => {}
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn results_that_cannot_end_are_not_waited_for() {
        let mut body = b"\0\0\0\0\0\x01\0\0\0\x01x".to_vec();
        body.resize(11 + LONGEST_RESULTS + 1, 0);
        let message = Bind::begin(&body[..20], body.len()).unwrap().unwrap();
        let mut passing = Passing::new(&message, None).unwrap();
        assert_eq!(passing.pass(&body[11..20], &mut Vec::new()), Err(WireError::Trailing(1)));
    }

    #[test]
    fn message_that_the_server_would_not_read_is_not_begun() {
        let longest = 0x3fff_ffff;
        for (tenant, body) in [(None, longest - 4), (TENANT, longest - 4 - 6)] {
            for (body, fits) in [(body, true), (body + 1, false)] {
                // "p" and "s1" are three bytes more than the client's names.
                let message = Bind::begin(b"\0\0\0\0\0\x01\0\0\0\x01x", body - 3).unwrap().unwrap();
                let mut out = b"before".to_vec();
                let begun = request::begin_bind(&mut out, b"p", b"s1", &message, tenant);
                assert_eq!((begun.is_ok(), out.len() > 6), (fits, fits), "{body}");
            }
        }
    }
}
