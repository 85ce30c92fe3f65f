//! Tenant tokens that a worker has verified: an application sends the same one with each of its transactions until it
//! expires, and a signature costs more than everything else that the proxy does for such a transaction.
//!
//! A token is found by all its bytes, for the same user and database, under the very users and keys by which it was verified
//! (SIGHUP puts others in their place), at a time between then and its end. So what is found is what verifying it
//! again would give.

use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::auth::{Access, AuthError, BoundToken, Principal};

/// Tokens of one half; when it is full, the other half is dropped.
const HALF: usize = 512;
/// Longer tokens are verified each time.
const LONGEST: usize = 2048;

/// Tokens that hold, in two halves: what is found in the older one moves to the younger.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens {
    /// What they were verified by.
    access: Option<Arc<Access>>,
    young: HashMap<Box<str>, Verified, RandomState>,
    old: HashMap<Box<str>, Verified, RandomState>,
}

#[derive(Debug)]
struct Verified {
    user: Arc<str>,
    database: Arc<str>,
    bound: BoundToken,
    /// Seconds since 1970: a clock that goes back may not have come to `nbf` yet.
    since: u64,
}

impl Verified {
    fn holds(&self, who: &Principal, now: u64) -> bool {
        self.user == who.user
            && self.database == who.database
            && (self.since..self.bound.expires).contains(&now)
    }
}

impl VerifiedTokens {
    /// The tenant of a token, by what its bearer may do now. `now`: seconds since 1970.
    ///
    /// # Errors
    /// Those of [`Access::verify_token`]. What is refused is looked at anew each time.
    pub(super) fn verify(
        &mut self,
        access: &Arc<Access>,
        who: &Principal,
        token: &str,
        now: u64,
    ) -> Result<BoundToken, AuthError> {
        if !self.access.as_ref().is_some_and(|known| Arc::ptr_eq(known, access)) {
            self.access = Some(access.clone());
            self.young.clear();
            self.old.clear();
        }
        if let Some(found) = self.young.get(token).filter(|found| found.holds(who, now)) {
            return Ok(found.bound.clone());
        }
        let kept = self.old.remove(token).filter(|found| found.holds(who, now));
        let verified = match kept {
            Some(kept) => kept,
            None => Verified {
                user: who.user.clone(),
                database: who.database.clone(),
                bound: access.verify_token(who, token, now)?,
                since: now,
            },
        };
        let bound = verified.bound.clone();
        self.keep(token, verified);
        Ok(bound)
    }

    fn keep(&mut self, token: &str, verified: Verified) {
        if token.len() > LONGEST {
            return;
        }
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token.into(), verified);
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;
    use crate::auth::TenantBinding;
    use crate::config::{Environment, parse};
    use crate::policy::TenantId;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_900_000_000;

    /// Users `a` and `b`, who may speak for these tenants, and a key.
    fn access(allowed: &str) -> Arc<Access> {
        let file = std::env::temp_dir().join(format!("pgbulkhead-{}", uuid::Uuid::now_v7()));
        std::fs::write(&file, SECRET).unwrap();
        let user = |name: &str| {
            format!(
                "[[users]]\nname = \"{name}\"\nrole = \"app\"\nauth = \"tenant_token\"\n\
                 tenants = {allowed}\n"
            )
        };
        let text = format!(
            "[[databases]]\nname = \"db\"\nhost = \"h\"\nuser = \"u\"\n[tenancy]\ncolumn = \"tenant_id\"\n\
             [audit]\nsink = \"none\"\n{}{}\
             [[token_keys]]\nkid = \"k\"\nalgorithm = \"HS256\"\nfile = \"{}\"\n",
            user("a"),
            user("b"),
            file.display()
        );
        let access = Access::new(&parse("test.toml", &text, &Environment::new()).unwrap(), [0; 32]).unwrap();
        std::fs::remove_file(file).unwrap();
        Arc::new(access)
    }

    fn who(user: &str) -> Principal {
        Principal {
            user: user.into(),
            role: "app".into(),
            database: "db".into(),
            tenant: TenantBinding::Token { allowed: Vec::new() },
        }
    }

    fn token(claims: &str) -> String {
        let message =
            [r#"{"alg":"HS256","kid":"k"}"#, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn what_is_kept_is_what_verifying_again_would_give() {
        let (wide, narrow) = (access("[\"1\", \"2\"]"), access("[\"2\"]"));
        let tokens = [
            token(r#"{"tenant":"1","exp":1900000100}"#),
            token(r#"{"tenant":"1","exp":1900000050,"nbf":1900000010}"#),
            token(r#"{"tenant":"2","exp":1900000100,"sub":"a"}"#),
            token(r#"{"tenant":"3","exp":1900000100}"#),
            "x.y.z".to_owned(),
        ];
        let mut kept = VerifiedTokens::default();
        for access in [&wide, &narrow, &wide] {
            for now in [NOW, NOW + 20, NOW + 20, NOW, NOW + 60, NOW + 99, NOW + 100, NOW + 20] {
                for user in ["a", "b", "nobody", "a"] {
                    for token in &tokens {
                        let again = access.verify_token(&who(user), token, now);
                        assert_eq!(
                            kept.verify(access, &who(user), token, now),
                            again,
                            "{user} {now} {token}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_bearer_of_a_token_is_looked_up_and_not_believed() {
        let access = access("[\"1\"]");
        let mut kept = VerifiedTokens::default();
        let good = token(r#"{"tenant":"1","exp":1900000100}"#);
        assert_eq!(kept.verify(&access, &who("a"), &good, NOW).unwrap().tenant, TenantId::new("1").unwrap());
        for number in 0..3 * HALF {
            let other = token(&format!(r#"{{"tenant":"1","exp":1900000100,"jti":"{number}"}}"#));
            assert!(kept.verify(&access, &who("a"), &other, NOW).is_ok());
            assert!(kept.verify(&access, &who("a"), &good, NOW).is_ok());
            assert!(kept.young.len() + kept.old.len() <= 2 * HALF);
        }
        assert!(kept.verify(&access, &who("nobody"), &good, NOW).is_err());
    }
}
