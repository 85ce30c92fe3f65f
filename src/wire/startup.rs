//! The packets that come before a type byte: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage.

use super::WireError;
use super::reader::Reader;

/// PostgreSQL's bound of a startup packet (`MAX_STARTUP_PACKET_LENGTH`, pqcomm.h), length word excluded.
const LONGEST: usize = 10_000;

/// Code, process id, and a secret of 4 to 256 bytes (protocol 3.2, "CancelRequest").
const CANCEL: std::ops::RangeInclusive<usize> = 12..=264;

/// A packet without a type byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartupPacket<'a> {
    /// 80877103
    Ssl,
    /// 80877104
    Gss,
    /// 80877102
    Cancel {
        /// The process id that the proxy gave.
        pid: i32,
        /// The secret that the proxy gave: 4 bytes, or as many as protocol 3.2 allows.
        secret: &'a [u8],
    },
    /// A cancel of a length that no version has: closed without a word.
    CancelOfOtherLength,
    /// 3.x
    Startup {
        /// The minor version asked for.
        minor: u16,
        /// Keys and values in order.
        parameters: Vec<(&'a str, &'a str)>,
    },
}

/// The packet at the front of `bytes` with the number of bytes it takes; none while it is incomplete.
pub fn split(bytes: &[u8]) -> Result<Option<(StartupPacket<'_>, usize)>, WireError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let announced = u32::from_be_bytes(*length);
    let wrong = WireError::Length { tag: 0, length: announced };
    let body = usize::try_from(announced).ok().and_then(|n| n.checked_sub(4)).ok_or(wrong.clone())?;
    if !(4..=LONGEST).contains(&body) {
        return Err(wrong);
    }
    let Some(body) = rest.get(..body) else { return Ok(None) };
    Ok(Some((read(body)?, body.len().saturating_add(4))))
}

fn read(body: &[u8]) -> Result<StartupPacket<'_>, WireError> {
    let mut reader = Reader::new(body);
    let code = reader.u32()?;
    let packet = match code {
        80_877_103 => StartupPacket::Ssl,
        80_877_104 => StartupPacket::Gss,
        80_877_102 if CANCEL.contains(&body.len()) => {
            StartupPacket::Cancel { pid: reader.i32()?, secret: reader.remaining() }
        }
        80_877_102 => {
            reader.remaining();
            StartupPacket::CancelOfOtherLength
        }
        _ if code >> 16 == 3 => {
            let minor = u16::try_from(code & 0xffff).map_err(|_| WireError::Field("protocol version"))?;
            StartupPacket::Startup { minor, parameters: parameters(&mut reader)? }
        }
        _ => return Err(WireError::Field("protocol version")),
    };
    reader.finish()?;
    Ok(packet)
}

fn parameters<'a>(reader: &mut Reader<'a>) -> Result<Vec<(&'a str, &'a str)>, WireError> {
    let mut parameters = Vec::new();
    loop {
        let key = reader.c_str()?;
        if key.is_empty() {
            return Ok(parameters);
        }
        parameters.push((key, reader.c_str()?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn startup_length_is_capped_before_its_body() {
        assert!(split(&10_005u32.to_be_bytes()).is_err());
        assert!(split(&3u32.to_be_bytes()).is_err());
        assert_eq!(split(&10_004u32.to_be_bytes()), Ok(None));
    }

    #[test]
    fn bytes_after_the_terminator_are_an_error() {
        let bytes = packet(b"\0\x03\0\0user\0a\0\0x");
        assert_eq!(split(&bytes), Err(WireError::Trailing(1)));
    }

    #[test]
    fn startup_without_terminator_does_not_eat_the_next_frame() {
        let mut bytes = packet(b"\0\x03\0\0user\0a\0");
        bytes.extend_from_slice(b"Q\0\0\0\x05\0");
        assert_eq!(split(&bytes), Err(WireError::Unterminated));
    }

    #[test]
    fn cancel_of_another_length_is_told_apart() {
        let cancel = |rest: usize| packet(&[&80_877_102u32.to_be_bytes()[..], &vec![0; rest]].concat());
        for (rest, known) in [(4, false), (7, false), (8, true), (36, true), (260, true), (261, false)] {
            let bytes = cancel(rest);
            let read = split(&bytes).unwrap().unwrap().0;
            assert_eq!(read != StartupPacket::CancelOfOtherLength, known, "{rest} bytes");
        }
    }

    #[test]
    fn proxy_protocol_preamble_is_no_startup() {
        assert!(split(b"PROXY UNKNOWN 6.6.6.6\r\n").is_err());
        assert!(split(b"\r\n\r\n\0\r\nQUIT\n").is_err());
    }
}
