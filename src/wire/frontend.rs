//! Bodies of a client's messages (PostgreSQL, protocol-message-formats), borrowed from the frame. Every
//! field is consumed exactly.

use super::WireError;
use super::reader::Reader;

/// `Q`: the text of a simple query.
pub fn query(body: &[u8]) -> Result<&str, WireError> {
    let text = text_of_query(body)?;
    without_nul(text)?;
    Ok(text)
}

/// The same, without a look whether the text ends before: see [`without_nul`].
#[inline]
pub fn text_of_query(body: &[u8]) -> Result<&str, WireError> {
    match body.split_last() {
        Some((0, text)) => utf8(text).map_err(|encoding| trailing(body).unwrap_or(encoding)),
        _ => Err(trailing(body).unwrap_or(WireError::Unterminated)),
    }
}

/// No NUL stands in the text of a query.
pub fn without_nul(text: &str) -> Result<(), WireError> {
    // Looking at each byte is quicker than a search that finds nothing.
    match text.bytes().fold(false, |any, byte| any | (byte == 0)) {
        false => Ok(()),
        true => {
            let end = memchr::memchr(0, text.as_bytes()).unwrap_or_default();
            // Its own NUL stands behind the text.
            Err(WireError::Trailing(text.len().saturating_sub(end)))
        }
    }
}

/// What stands behind the first NUL.
#[cold]
fn trailing(body: &[u8]) -> Option<WireError> {
    let behind = body.len().saturating_sub(memchr::memchr(0, body)?).saturating_sub(1);
    (behind > 0).then_some(WireError::Trailing(behind))
}

/// `P`.
#[derive(Debug, Clone, Copy)]
pub struct Parse<'a> {
    /// Statement name, empty for the unnamed one.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (name, text) = (reader.c_bytes()?, reader.c_bytes()?);
        let count = usize::from(reader.u16()?);
        let types = reader.bytes(count.saturating_mul(4))?;
        reader.finish()?;
        Ok(Self { name: utf8(name)?, text: utf8(text)?, types })
    }

    /// The declared parameter types; 0 leaves one to the server.
    pub fn types(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.types.as_chunks::<4>().0.iter().map(|chunk| u32::from_be_bytes(*chunk))
    }
}

/// `B`.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// Portal name, empty for the unnamed one.
    pub portal: &'a str,
    /// Statement name, empty for the unnamed one.
    pub statement: &'a str,
    /// Parameter formats: none, one for all, or one each.
    pub formats: Formats<'a>,
    /// Parameter values.
    pub values: Values<'a>,
    /// Result formats, as they go to the server.
    pub results: Formats<'a>,
    /// What of it has not come yet.
    pub missing: Missing,
}

/// What has not come yet of a Bind that is looked at before its end: nothing of a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// Values that did not come whole: the last ones.
    pub values: u16,
    /// Length of the first of them, where that has come.
    pub announced: Option<usize>,
    /// Bytes of the body behind the last value that came whole.
    pub bytes: usize,
}

impl<'a> Bind<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (portal, statement) = (reader.c_bytes()?, reader.c_bytes()?);
        let formats = Formats::read(&mut reader)?;
        let values = Values::read(&mut reader)?;
        let results = Formats::read(&mut reader)?;
        reader.finish()?;
        let missing = Missing::default();
        Ok(Self { portal: utf8(portal)?, statement: utf8(statement)?, formats, values, results, missing })
    }

    /// Reads the beginning of a body of `length` bytes; none while it does not hold all that comes before the values.
    /// Only values that came whole are there, and no result formats. What the lengths at hand already show to be wrong
    /// is an error.
    pub fn begin(beginning: &'a [u8], length: usize) -> Result<Option<Self>, WireError> {
        let mut reader = Reader::new(beginning);
        let mut head =
            || Ok((reader.c_bytes()?, reader.c_bytes()?, Formats::read(&mut reader)?, reader.u16()?));
        let (portal, statement, formats, count) = match head() {
            Ok(head) => head,
            Err(WireError::Short | WireError::Unterminated) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (values, missing) = Values::begin(&mut reader, count, length.saturating_sub(beginning.len()))?;
        let (portal, statement) = (utf8(portal)?, utf8(statement)?);
        let results = Formats { codes: &[] };
        Ok(Some(Self { portal, statement, formats, values, results, missing }))
    }

    /// Whether only its beginning is here.
    pub fn is_begun(&self) -> bool {
        self.missing.bytes > 0
    }

    /// The length that a missing value has, or the one that it cannot exceed: whether it is exact, and its bytes. None
    /// for a value that is here, or that is not one of the message's.
    pub fn missing_length(&self, index: usize) -> Option<(bool, usize)> {
        let (count, missing) = (usize::from(self.values.count), usize::from(self.missing.values));
        let first = count.checked_sub(missing)?;
        match (self.missing.announced, (first..count).contains(&index)) {
            (Some(announced), true) if index == first => Some((true, announced)),
            (announced, true) => {
                Some((false, self.missing.bytes.saturating_sub(announced.unwrap_or_default())))
            }
            (_, false) => None,
        }
    }
}

/// A list of format codes.
#[derive(Debug, Clone, Copy)]
pub struct Formats<'a> {
    codes: &'a [u8],
}

impl<'a> Formats<'a> {
    /// Reads the list at the front.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(reader.u16()?);
        let codes = reader.bytes(count.saturating_mul(2))?;
        let known = |chunk: &[u8; 2]| matches!(chunk, [0, 0 | 1]);
        if codes.as_chunks::<2>().0.iter().all(known) {
            Ok(Self { codes })
        } else {
            Err(WireError::Field("format code"))
        }
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.codes.len() / 2
    }

    /// Whether there are none: then everything is text.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The code of item `index`: one code stands for all.
    pub fn of(&self, index: usize) -> Format {
        let chunks = self.codes.as_chunks::<2>().0;
        let code = if chunks.len() == 1 { chunks.first() } else { chunks.get(index) };
        if code == Some(&[0, 1]) { Format::Binary } else { Format::Text }
    }

    /// The codes as they stand in the message, without their count.
    pub fn raw(&self) -> &'a [u8] {
        self.codes
    }
}

/// A format code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 0
    Text,
    /// 1
    Binary,
}

/// The values of a Bind, checked as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    count: u16,
    raw: &'a [u8],
}

impl<'a> Values<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = reader.u16()?;
        let whole = *reader;
        let mut length = 0usize;
        for _ in 0..count {
            length = length.saturating_add(4).saturating_add(reader.value()?.map_or(0, <[u8]>::len));
        }
        let raw = { whole }.bytes(length)?;
        Ok(Self { count, raw })
    }

    /// The values that are whole in what a reader has left, with `coming` bytes still to come behind that.
    fn begin(reader: &mut Reader<'a>, count: u16, coming: usize) -> Result<(Self, Missing), WireError> {
        let (start, mut missing, mut announced) = (*reader, count, None);
        while missing > 0 {
            let mut next = *reader;
            match next.value() {
                Ok(_) => *reader = next,
                Err(WireError::Short) => {
                    let there =
                        reader.left().saturating_add(coming).checked_sub(4).ok_or(WireError::Short)?;
                    announced = { *reader }.i32().ok().and_then(|length| usize::try_from(length).ok());
                    if announced.is_some_and(|length| length > there) {
                        return Err(WireError::Short);
                    }
                    break;
                }
                Err(error) => return Err(error),
            }
            missing = missing.saturating_sub(1);
        }
        let raw = { start }.bytes(start.left().saturating_sub(reader.left()))?;
        let bytes = reader.left().saturating_add(coming);
        Ok((Self { count, raw }, Missing { values: missing, announced, bytes }))
    }

    /// How many values there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The values with their lengths as they stand in the message, without their count.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Value `index`, from 0, where it is here; the inner option is NULL.
    pub fn get(&self, index: usize) -> Option<Option<&'a [u8]>> {
        let mut reader = Reader::new(self.raw);
        for _ in 0..index {
            reader.value().ok()?;
        }
        reader.value().ok()
    }
}

/// What Describe and Close name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `S`
    Statement(&'a str),
    /// `P`
    Portal(&'a str),
}

/// `D` and `C`.
pub fn target(body: &[u8]) -> Result<Target<'_>, WireError> {
    let mut reader = Reader::new(body);
    let kind = reader.u8()?;
    let name = reader.c_bytes()?;
    reader.finish()?;
    match kind {
        b'S' => Ok(Target::Statement(utf8(name)?)),
        b'P' => Ok(Target::Portal(utf8(name)?)),
        _ => Err(WireError::Field("subtype")),
    }
}

/// `E`: portal and row limit (0 or less: none).
pub fn execute(body: &[u8]) -> Result<(&str, i32), WireError> {
    let mut reader = Reader::new(body);
    let portal = reader.c_bytes()?;
    let limit = reader.i32()?;
    reader.finish()?;
    Ok((utf8(portal)?, limit))
}

/// `f`: the reason.
pub fn copy_fail(body: &[u8]) -> Result<&str, WireError> {
    query(body)
}

/// `H`, `S`, `c`, `X`: nothing.
pub fn empty(body: &[u8]) -> Result<(), WireError> {
    Reader::new(body).finish()
}

/// `p` as SASLInitialResponse: mechanism and data; a length of −1 is no data.
pub fn sasl_initial(body: &[u8]) -> Result<(&str, &[u8]), WireError> {
    let mut reader = Reader::new(body);
    let mechanism = reader.c_str()?;
    let data = reader.value()?.unwrap_or_default();
    reader.finish()?;
    Ok((mechanism, data))
}

/// `p` as PasswordMessage.
pub fn password(body: &[u8]) -> Result<&str, WireError> {
    query(body)
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, WireError> {
    // Most names are empty.
    if bytes.is_empty() {
        return Ok("");
    }
    std::str::from_utf8(bytes).map_err(|_| WireError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_needs_its_nul_at_the_very_end() {
        assert_eq!(query(b"select 1\0"), Ok("select 1"));
        assert_eq!(query(b"select 1"), Err(WireError::Unterminated));
        assert_eq!(query(b"select 1\0Q\0\0\0\x09"), Err(WireError::Trailing(5)));
        assert_eq!(query(b"\xc0\x27\0"), Err(WireError::Encoding));
        assert_eq!(query(b"\0"), Ok(""));
        assert_eq!(query(b"select\0 0123456789abcdef\0"), Err(WireError::Trailing(18)));
        assert_eq!(query(b"select 0123456789abcdef\0x\0"), Err(WireError::Trailing(2)));
    }

    #[test]
    fn parse_count_must_match_its_types() {
        assert_eq!(Parse::read(b"s\0t\0\0\x02\0\0\0\x17").unwrap_err(), WireError::Short);
        let parse = Parse::read(b"s\0t\0\0\x01\0\0\0\x17").unwrap();
        assert_eq!((parse.name, parse.text, parse.types().collect::<Vec<_>>()), ("s", "t", vec![23]));
    }

    #[test]
    fn bind_values_are_checked_as_a_whole() {
        let lying = b"\0\0\0\0\0\x02\0\0\0\x01x\0\0\0\x05y\0\0";
        assert_eq!(Bind::read(lying).unwrap_err(), WireError::Short);
        let bind = Bind::read(b"\0\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0").unwrap();
        assert_eq!(bind.values.count(), 2);
        assert_eq!(bind.values.get(0), Some(Some(&b"x"[..])));
        assert_eq!(bind.values.get(1), Some(None));
        assert_eq!(bind.formats.of(1), Format::Binary);
    }

    #[test]
    fn format_code_two_is_an_error() {
        assert_eq!(Bind::read(b"\0\0\0\x01\0\x02\0\0\0\0").unwrap_err(), WireError::Field("format code"));
    }

    #[test]
    fn describe_of_nothing_is_short() {
        assert_eq!(target(b""), Err(WireError::Short));
        assert_eq!(target(b"Xa\0"), Err(WireError::Field("subtype")));
    }

    #[test]
    fn sasl_response_may_not_lie_about_its_length() {
        for length in [0x7fff_ffffu32, 0x8000_0000, 0xffff_fffb] {
            let mut body = b"SCRAM-SHA-256\0".to_vec();
            body.extend_from_slice(&length.to_be_bytes());
            body.push(b'x');
            assert!(sasl_initial(&body).is_err());
        }
        assert_eq!(sasl_initial(b"M\0\xff\xff\xff\xff"), Ok(("M", &b""[..])));
        assert_eq!(sasl_initial(b"M\0\xff\xff\xff\xffx"), Err(WireError::Trailing(1)));
    }
}
