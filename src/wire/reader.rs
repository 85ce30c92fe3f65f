//! Reads the fields of one exact message body. Nothing here allocates.

use super::WireError;

/// Bytes that are looked at one by one before a faster search begins.
const SHORT: usize = 8;

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `body` from its first byte.
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub fn remaining(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.bytes(1)?.first().copied().ok_or(WireError::Short)
    }

    /// An unsigned 16-bit number, as counts are.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        let bytes = self.bytes(2)?.try_into().map_err(|_| WireError::Short)?;
        Ok(u16::from_be_bytes(bytes))
    }

    /// A signed 32-bit number.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| WireError::Short)?;
        Ok(i32::from_be_bytes(bytes))
    }

    /// An unsigned 32-bit number.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| WireError::Short)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Bytes up to a NUL, which is taken too.
    #[inline]
    pub fn c_bytes(&mut self) -> Result<&'a [u8], WireError> {
        if let Some((0, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(&[]);
        }
        self.long_c_bytes()
    }

    fn long_c_bytes(&mut self) -> Result<&'a [u8], WireError> {
        // Names are short, and often empty.
        let near = self.rest.get(..SHORT).unwrap_or(self.rest).iter().position(|byte| *byte == 0);
        let end = near.or_else(|| memchr::memchr(0, self.rest)).ok_or(WireError::Unterminated)?;
        let taken = self.bytes(end)?;
        self.bytes(1)?;
        Ok(taken)
    }

    /// A UTF-8 string up to a NUL, which is taken too.
    pub fn c_str(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.c_bytes()?).map_err(|_| WireError::Encoding)
    }

    /// A value behind its 32-bit length; a length of −1 is NULL, any other negative one an error.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| WireError::Field("value length"))?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// The body must end here.
    pub fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_beyond_the_body_is_short() {
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).value(), Err(WireError::Short));
    }

    #[test]
    fn minus_one_is_null_and_minus_two_is_an_error() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff]).value(), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).value(), Err(WireError::Field("value length")));
    }

    #[test]
    fn bytes_after_the_last_field_are_an_error() {
        let mut reader = Reader::new(b"a\0bc");
        assert_eq!(reader.c_str(), Ok("a"));
        assert_eq!(reader.finish(), Err(WireError::Trailing(2)));
    }

    #[test]
    fn overlong_and_surrogate_encodings_are_refused() {
        for bad in [&b"\xc0\x27\0"[..], b"\xed\xa0\x80\0", b"\xf5\x80\x80\x80\0", b"\xbf\0"] {
            assert_eq!(Reader::new(bad).c_str(), Err(WireError::Encoding));
        }
    }
}
