//! The tenant's value.

use std::fmt;
use std::sync::Arc;

/// A tenant's identifier in the canonical text form of the tenant column's type. It is compared byte for
/// byte, and reaches SQL only as a bound parameter or as a quoted, typed literal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Takes 1 to 128 bytes of printable ASCII without quote and backslash; gives nothing for anything else.
    pub fn new(value: &str) -> Option<Self> {
        let allowed = |b: u8| (0x21..0x7f).contains(&b) && b != b'\'' && b != b'\\' && b != b'"';
        let fits = (1..=128).contains(&value.len()) && value.bytes().all(allowed);
        fits.then(|| Self(value.into()))
    }

    /// The value's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
