//! The channels of LISTEN and NOTIFY. All sessions of a database share them by name, so the server knows a tenant's
//! channel by a digest of the tenant and the client's name for it.

use sha2::{Digest, Sha256};

use crate::policy::TenantId;

/// What the server's names of channels begin with.
pub const PREFIX: &str = "pgbulkhead_";
/// What a digest of a channel begins with, so that it is none of a lock's.
pub const SPACE: &str = "channel ";
/// Hexadecimal digits of the digest in a name: 192 bits. With the prefix that is 59 bytes, of the 63 that a name
/// may have.
pub const DIGITS: i32 = 48;
/// Bytes of a channel's name at most (`NAMEDATALEN` − 1).
const LONGEST: usize = 63;

/// What stands for a channel in a tree and in a text that no tenant is put into. It is no digest.
pub const PLACEHOLDER: &str = "pgbulkhead_channel";

/// The server's name for a tenant's channel: what `sql::rewrite::scoped` has the server compute for `pg_notify`.
pub fn server_name(tenant: &TenantId, channel: &str) -> String {
    let digest = Sha256::digest(format!("{SPACE}{tenant} {channel}"));
    let digits = usize::try_from(DIGITS).unwrap_or(0);
    let hex = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(digits);
    let hex = hex.filter_map(|digit| char::from_digit(u32::from(digit), 16));
    PREFIX.chars().chain(hex).collect()
}

/// A name cut as PostgreSQL cuts identifiers (`truncate_identifier`, scansup.c).
pub fn cut(name: &str) -> &str {
    let mut end = name.len().min(LONGEST);
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_of_one_tenant_is_no_other_tenants() {
        let (one, two) = (TenantId::new("1").unwrap(), TenantId::new("2").unwrap());
        let name = server_name(&one, "jobs");
        assert_eq!(name.len(), 59);
        assert_eq!(name, server_name(&one, "jobs"));
        assert_ne!(name, server_name(&two, "jobs"));
        assert_ne!(server_name(&TenantId::new("11").unwrap(), "a"), server_name(&one, "1 a"));
        assert_ne!(name, PLACEHOLDER);
    }

    #[test]
    fn long_name_is_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(40)), "ä".repeat(31));
        assert_eq!(cut("short"), "short");
    }
}
