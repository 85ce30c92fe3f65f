//! Whether a value that a client gave for the tenant column is the tenant's.

use crate::catalog::Oid;

const INT8: Oid = 20;
const INT2: Oid = 21;
const INT4: Oid = 23;
const TEXT: Oid = 25;
const OID: Oid = 26;
const BPCHAR: Oid = 1042;
const VARCHAR: Oid = 1043;
const UUID: Oid = 2950;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The tenant's, in the very form in which the tenant is known.
    Own,
    /// The tenant's in another form, for which the known one is to be written.
    OtherForm,
    /// Another tenant's, or not surely the tenant's.
    Foreign,
    /// No value of the type at all: the server says so itself, and its own lock is behind it.
    Malformed,
}

/// Looks at a value in the text form of the column's type.
pub(super) fn text(type_oid: Oid, tenant: &str, value: &[u8]) -> Verdict {
    if value == tenant.as_bytes() {
        return Verdict::Own;
    }
    let same = match type_oid {
        INT2 | INT4 | INT8 | OID => {
            if value.iter().any(|b| !could_be_number(*b)) {
                return Verdict::Malformed;
            }
            integer(value).is_some_and(|value| integer(tenant.as_bytes()) == Some(value))
        }
        UUID => match uuid(value) {
            Some(value) => uuid(tenant.as_bytes()) == Some(value),
            None if value.iter().any(|b| !b.is_ascii_hexdigit() && !matches!(b, b'-' | b'{' | b'}')) => {
                return Verdict::Malformed;
            }
            None => false,
        },
        _ => false,
    };
    if same { Verdict::OtherForm } else { Verdict::Foreign }
}

/// Looks at a value in the binary form of the column's type.
pub(super) fn binary(type_oid: Oid, own: &[u8], value: &[u8]) -> Verdict {
    if value == own {
        return Verdict::Own;
    }
    let wrong_length = matches!(type_oid, INT2 | INT4 | INT8 | OID | UUID) && value.len() != own.len();
    if wrong_length { Verdict::Malformed } else { Verdict::Foreign }
}

/// The tenant in the binary form of a type; none for types whose form is not known here.
pub(super) fn to_binary(type_oid: Oid, tenant: &str) -> Option<Vec<u8>> {
    match type_oid {
        INT2 => tenant.parse::<i16>().ok().map(|n| n.to_be_bytes().to_vec()),
        INT4 => tenant.parse::<i32>().ok().map(|n| n.to_be_bytes().to_vec()),
        INT8 => tenant.parse::<i64>().ok().map(|n| n.to_be_bytes().to_vec()),
        OID => tenant.parse::<u32>().ok().map(|n| n.to_be_bytes().to_vec()),
        TEXT | VARCHAR | BPCHAR => Some(tenant.as_bytes().to_vec()),
        UUID => uuid(tenant.as_bytes()).map(|id| id.as_bytes().to_vec()),
        _ => None,
    }
}

/// Characters that some notation of an integer has, in some major (`pg_strtoint32`).
fn could_be_number(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'+' | b'-' | b'_' | b'x' | b'X' | b'o' | b'O') || space(byte)
}

/// `isspace` of the C locale.
fn space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 11 | 12 | b'\r')
}

/// A decimal integer, with white space around it as integers' input allows.
fn integer(value: &[u8]) -> Option<i64> {
    let start = value.iter().position(|b| !space(*b))?;
    let end = value.iter().rposition(|b| !space(*b))?.checked_add(1)?;
    std::str::from_utf8(value.get(start..end)?).ok()?.parse().ok()
}

/// The forms with all hyphens or none, of any case.
fn uuid(value: &[u8]) -> Option<uuid::Uuid> {
    let plain = matches!(value.len(), 32 | 36) && value.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    if plain { uuid::Uuid::try_parse_ascii(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_the_tenants_is_the_tenants() {
        for (value, wanted) in [
            ("1", Verdict::Own),
            (" 01\n", Verdict::OtherForm),
            ("+1", Verdict::OtherForm),
            ("2", Verdict::Foreign),
            ("1_", Verdict::Foreign),
            ("0x1", Verdict::Foreign),
            ("", Verdict::Foreign),
            ("99999999999999999999", Verdict::Foreign),
            ("one", Verdict::Malformed),
            ("1.0", Verdict::Malformed),
        ] {
            assert_eq!(text(INT4, "1", value.as_bytes()), wanted, "{value:?}");
        }
        assert_eq!(text(TEXT, "acme", b"acme "), Verdict::Foreign);
        let id = "0a0b0c0d-0000-4000-8000-00000000000f";
        assert_eq!(text(UUID, id, id.to_uppercase().as_bytes()), Verdict::OtherForm);
        assert_eq!(text(UUID, id, id.replace('-', "").as_bytes()), Verdict::OtherForm);
        assert_eq!(text(UUID, id, id.replace('f', "e").as_bytes()), Verdict::Foreign);
        assert_eq!(text(UUID, id, b"x"), Verdict::Malformed);
    }

    #[test]
    fn a_binary_value_is_compared_byte_by_byte() {
        let own = to_binary(INT4, "1").unwrap();
        assert_eq!(binary(INT4, &own, &[0, 0, 0, 1]), Verdict::Own);
        assert_eq!(binary(INT4, &own, &[0, 0, 0, 2]), Verdict::Foreign);
        assert_eq!(binary(INT4, &own, &[0, 1]), Verdict::Malformed);
        assert_eq!(to_binary(701, "1"), None);
    }
}
