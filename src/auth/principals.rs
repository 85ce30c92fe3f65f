//! The users of a configuration: who may log in, and how it is proved.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::model::{Config, TenantSource, User, UserAuth};
use crate::config::{ScramVerifier, TenantId};

use super::principal::{Principal, TenantBinding};
use super::scram::{self, Exchange, Proof};
use super::{AuthError, BoundToken, TokenVerifier};

/// Everybody who may log in, by one configuration.
#[derive(Debug)]
pub struct Principals {
    users: HashMap<String, Entry>,
    databases: HashSet<String>,
    secret: [u8; 32],
    mock_iterations: u32,
}

#[derive(Debug)]
struct Entry {
    proof: EntryProof,
    user: Arc<str>,
    role: Arc<str>,
    tenant: TenantBinding,
}

#[derive(Debug)]
enum EntryProof {
    Scram(Arc<ScramVerifier>),
    Token,
}

impl Principals {
    /// Takes the users of a configuration that was read without an error; a user whose verifier or tenant
    /// would not parse is not known. `process_secret` makes the salts of unknown users, which must look the
    /// same at each try.
    pub fn new(config: &Config, process_secret: [u8; 32]) -> Self {
        let users: HashMap<_, _> =
            config.users.iter().filter_map(|user| Some((user.name.clone(), Entry::new(user)?))).collect();
        Self {
            mock_iterations: usual_iterations(&users),
            databases: config.databases.iter().map(|d| d.name.clone()).collect(),
            users,
            secret: process_secret,
        }
    }

    /// Those of another configuration of the same process: the salts of unknown users stay.
    pub fn renewed(&self, config: &Config) -> Self {
        Self::new(config, self.secret)
    }

    /// What this user's login to the same database would give now.
    pub fn current(&self, who: &Principal) -> Option<Principal> {
        let entry = self.users.get(&*who.user)?;
        self.databases.contains(&*who.database).then(|| entry.principal(&who.database))
    }

    /// Begins a login. Never fails: an unknown user or database, or a user without a verifier, gets an
    /// exchange that looks the same and fails at its end.
    pub fn authenticate_start(&self, user: &str, database: &str) -> Exchange {
        match self.users.get(user) {
            Some(entry) if self.databases.contains(database) => match &entry.proof {
                EntryProof::Scram(verifier) => Exchange::new(Proof {
                    verifier: verifier.clone(),
                    principal: Some(entry.principal(database)),
                }),
                EntryProof::Token => self.mock(user),
            },
            // The salt of a known user is the same whatever database was asked for.
            Some(Entry { proof: EntryProof::Scram(verifier), .. }) => {
                Exchange::new(Proof { verifier: verifier.clone(), principal: None })
            }
            _ => self.mock(user),
        }
    }

    /// Whether this user's password is a tenant token, so that it has to be asked for in clear (over TLS or
    /// from the same host only).
    pub fn password_token_user(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|entry| matches!(entry.proof, EntryProof::Token))
    }

    /// Ends a login of a user of whom [`Self::password_token_user`] is true: the password is a token. The
    /// tenant is the one that the token names, until it expires.
    pub fn authenticate_token(
        &self,
        user: &str,
        database: &str,
        password: &str,
        tokens: &TokenVerifier,
        now_unix: u64,
    ) -> Result<(Principal, BoundToken), AuthError> {
        let entry = self.users.get(user).filter(|entry| matches!(entry.proof, EntryProof::Token));
        let entry = entry.ok_or(AuthError::Login)?;
        if !self.databases.contains(database) {
            return Err(AuthError::Login);
        }
        let principal = entry.principal(database);
        let bound = tokens.verify(&principal, password, now_unix)?;
        Ok((principal, bound))
    }

    fn mock(&self, user: &str) -> Exchange {
        let salt = self.derive(b"salt", user);
        let verifier = ScramVerifier {
            iterations: self.mock_iterations,
            salt: salt.iter().copied().take(16).collect(),
            stored_key: self.derive(b"stored", user),
            server_key: self.derive(b"server", user),
        };
        Exchange::new(Proof { verifier: Arc::new(verifier), principal: None })
    }

    fn derive(&self, purpose: &[u8], user: &str) -> [u8; 32] {
        scram::hmac(&self.secret, &[purpose, b"\0", user.as_bytes()])
    }
}

impl Entry {
    fn new(user: &User) -> Option<Self> {
        let proof = match &user.auth {
            UserAuth::Scram(text) => EntryProof::Scram(Arc::new(ScramVerifier::parse(text).ok()?)),
            UserAuth::TenantToken => EntryProof::Token,
        };
        let all = |names: &[String]| names.iter().map(|name| TenantId::new(name)).collect::<Option<Vec<_>>>();
        let tenant = match &user.tenant {
            TenantSource::Fixed(name) => TenantBinding::Fixed(TenantId::new(name)?),
            TenantSource::Choice(names) => TenantBinding::Choice(all(names)?),
            TenantSource::Token { allowed } => TenantBinding::Token { allowed: all(allowed)? },
        };
        Some(Self { proof, user: user.name.as_str().into(), role: user.role.as_str().into(), tenant })
    }

    fn principal(&self, database: &str) -> Principal {
        Principal {
            user: self.user.clone(),
            role: self.role.clone(),
            database: database.into(),
            tenant: self.tenant.clone(),
        }
    }
}

/// The commonest number of iterations among the users, so that an unknown one does not stand out.
fn usual_iterations(users: &HashMap<String, Entry>) -> u32 {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for entry in users.values() {
        if let EntryProof::Scram(verifier) = &entry.proof {
            let count = counts.entry(verifier.iterations).or_default();
            *count = count.saturating_add(1);
        }
    }
    counts.into_iter().max_by_key(|(iterations, count)| (*count, *iterations)).map_or(4096, |(most, _)| most)
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;
    use crate::auth::verifier;

    fn entry(auth: UserAuth, tenant: TenantSource) -> Entry {
        Entry::new(&User { name: "acme".into(), auth, role: "app".into(), tenant }).unwrap()
    }

    fn principals() -> Principals {
        let scram = UserAuth::Scram(verifier::make("pencil"));
        let token = TenantSource::Token { allowed: Vec::new() };
        Principals {
            users: HashMap::from([
                ("acme".to_owned(), entry(scram, TenantSource::Fixed("1".into()))),
                ("pooled".to_owned(), entry(UserAuth::TenantToken, token)),
            ]),
            databases: HashSet::from(["ccm".to_owned()]),
            secret: [1; 32],
            mock_iterations: 4096,
        }
    }

    /// Server-first without the nonces, and how the login ends.
    fn login(
        principals: &Principals,
        user: &str,
        database: &str,
        password: &str,
    ) -> (String, Option<AuthError>) {
        let mut exchange = principals.authenticate_start(user, database);
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let first = exchange.first(client.message()).unwrap();
        client.update(&first).unwrap();
        let first = String::from_utf8(first).unwrap();
        let (_, salt) = first.split_once(",s=").unwrap();
        (salt.to_owned(), exchange.finish(client.message()).err())
    }

    #[test]
    fn wrong_password_unknown_user_and_unknown_database_end_alike() {
        let principals = principals();
        assert_eq!(login(&principals, "acme", "ccm", "pencil").1, None);
        for (user, database, password) in [
            ("acme", "ccm", "wrong"),
            ("nobody", "ccm", "pencil"),
            ("acme", "other", "pencil"),
            ("pooled", "ccm", "pencil"),
            ("acme' host=evil", "ccm", "pencil"),
            ("", "", ""),
        ] {
            let (first, end) = login(&principals, user, database, password);
            assert_eq!(end, Some(AuthError::Login), "{user} {database}");
            assert_eq!(first.len(), login(&principals, "acme", "ccm", "pencil").0.len());
        }
    }

    #[test]
    fn an_unknown_users_salt_is_its_own_and_stays() {
        let principals = principals();
        let salt = |user: &str| login(&principals, user, "ccm", "x").0;
        assert_eq!(salt("nobody"), salt("nobody"));
        assert_ne!(salt("nobody"), salt("somebody"));
    }

    #[test]
    fn only_token_users_are_asked_for_a_token() {
        let principals = principals();
        assert!(principals.password_token_user("pooled"));
        assert!(!principals.password_token_user("acme"));
        assert!(!principals.password_token_user("nobody"));
        let tokens = TokenVerifier::default();
        let refused = |user, database| principals.authenticate_token(user, database, "x", &tokens, 0).err();
        assert_eq!(refused("acme", "ccm"), Some(AuthError::Login));
        assert_eq!(refused("pooled", "other"), Some(AuthError::Login));
        assert!(matches!(refused("pooled", "ccm"), Some(AuthError::Token(_))));
    }

    #[test]
    fn a_tenant_is_chosen_only_among_the_users_own() {
        let tenants = |names: &[&str]| names.iter().map(|n| TenantId::new(n).unwrap()).collect::<Vec<_>>();
        let one = TenantId::new("1").unwrap();
        let fixed = TenantBinding::Fixed(one.clone());
        let choice = TenantBinding::Choice(tenants(&["1", "2"]));
        let token = TenantBinding::Token { allowed: tenants(&["1"]) };
        assert_eq!(fixed.at_login(None), Ok(Some(one.clone())));
        assert_eq!(fixed.at_login(Some("1")), Ok(Some(one.clone())));
        assert_eq!(fixed.at_login(Some("2")), Err(AuthError::Tenant));
        assert_eq!(choice.at_login(Some("1")), Ok(Some(one)));
        assert_eq!(choice.at_login(Some("3")), Err(AuthError::Tenant));
        assert_eq!(choice.at_login(None), Err(AuthError::Tenant));
        assert_eq!(token.at_login(None), Ok(None));
        assert_eq!(token.at_login(Some("1")), Err(AuthError::Tenant));
    }
}
