//! Who may do what now: the users and the keys of one configuration, replaced as one when it is read again.

use crate::config::Config;
use crate::policy::TenantId;

use super::tokens::KeyError;
use super::{AuthError, BoundToken, Principal, Principals, TokenFault, TokenVerifier};

/// The users and token keys of a configuration.
#[derive(Debug)]
pub struct Access {
    /// Who may log in.
    pub principals: Principals,
    /// Checks tenant tokens.
    pub tokens: TokenVerifier,
}

impl Access {
    /// Reads the keys and takes the users of a configuration that was read without an error.
    pub fn new(config: &Config, process_secret: [u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { principals: Principals::new(config, process_secret), tokens: TokenVerifier::new(config)? })
    }

    /// The same of another configuration of the same process.
    pub fn renewed(&self, config: &Config) -> Result<Self, KeyError> {
        Ok(Self { principals: self.principals.renewed(config), tokens: TokenVerifier::new(config)? })
    }

    /// Whether this is what the user's login would give now.
    pub fn is_current(&self, who: &Principal) -> bool {
        self.principals.current(who).is_some_and(|now| now == *who)
    }

    /// Whether a session of `who`, bound to these tenants by this token, may go on: the user is there with the same
    /// role, and may speak for them in the same way, and the token's key is there.
    pub fn holds<'a>(
        &self,
        who: &Principal,
        tenants: impl IntoIterator<Item = &'a TenantId>,
        token: Option<&BoundToken>,
    ) -> bool {
        let Some(now) = self.principals.current(who) else { return false };
        now.role == who.role
            && std::mem::discriminant(&now.tenant) == std::mem::discriminant(&who.tenant)
            && tenants.into_iter().all(|tenant| now.tenant.admits(tenant))
            && token.is_none_or(|token| self.tokens.knows(&token.kid))
    }

    /// Checks a token of somebody who has logged in, by what the user may do now.
    pub fn verify_token(&self, who: &Principal, token: &str, now_unix: u64) -> Result<BoundToken, AuthError> {
        let now = self.principals.current(who).ok_or(TokenFault::Tenant)?;
        self.tokens.verify(&now, token, now_unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    fn access(users: &str) -> Access {
        let text = format!(
            "[general]\nlisten = [\"127.0.0.1:0\"]\n[[databases]]\nname = \"db\"\nhost = \"h\"\nuser = \"u\"\n\
             [tenancy]\ncolumn = \"t\"\n[audit]\nsink = \"none\"\n{users}"
        );
        let config = config::parse("test", &text, &Environment::new()).unwrap_or_else(|e| panic!("{e}"));
        Access::new(&config, [1; 32]).unwrap()
    }

    fn user(password: &str, role: &str, tenants: &str) -> String {
        let verifier = crate::auth::verifier::make(password);
        format!("[[users]]\nname = \"a\"\nverifier = \"{verifier}\"\nrole = \"{role}\"\n{tenants}\n")
    }

    fn tenants(names: &[&str]) -> Vec<TenantId> {
        names.iter().map(|name| TenantId::new(name).unwrap()).collect()
    }

    #[test]
    fn session_goes_on_as_long_as_its_user_could_have_it() {
        let before = access(&user("x", "app", "tenants = [\"1\", \"2\"]"));
        let entry = Principal {
            user: "a".into(),
            role: "app".into(),
            database: "db".into(),
            tenant: super::super::TenantBinding::Choice(tenants(&["1", "2"])),
        };
        assert!(before.is_current(&entry) && before.holds(&entry, &tenants(&["2"]), None));
        let other_password = access(&user("y", "app", "tenants = [\"1\", \"2\"]"));
        assert!(other_password.is_current(&entry) && other_password.holds(&entry, &tenants(&["1"]), None));
        let fewer = access(&user("x", "app", "tenants = [\"1\"]"));
        assert!(fewer.holds(&entry, &tenants(&["1"]), None) && !fewer.holds(&entry, &tenants(&["2"]), None));
        assert!(!fewer.is_current(&entry));
        for changed in [user("x", "reader", "tenants = [\"1\", \"2\"]"), user("x", "app", "tenant = \"1\"")] {
            assert!(!access(&changed).holds(&entry, &tenants(&["1"]), None), "{changed}");
        }
        assert!(!access("").holds(&entry, &[], None));
    }
}
