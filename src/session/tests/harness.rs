//! A session with a host of tables, driven by byte strings.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::super::active::Active;
use super::super::host::{Account, Found, Host, Literals, Verdict};
use super::super::outgoing::{Prepared, RenderedText, SettingText};
use super::super::reports::Report;
use super::super::server::Server;
use super::super::statement::Statement;
use super::super::tenancy::Tenancy;
use super::super::*;
use crate::auth::scram::Exchange;
use crate::auth::{AuthError, BoundToken, Principal, Principals, TenantBinding, TokenFault};
use crate::catalog::{Oid, Snapshot};
use crate::plan::Plan;
use crate::policy::{Policy, TenantId};
use crate::sql::{World, statements};

pub struct Tables {
    pub free: usize,
    pub generation: u64,
    pub audit_room: usize,
    pub accounts: Vec<String>,
    principals: Principals,
    world: World,
    interned: HashMap<(Vec<u8>, Vec<Oid>), Rc<Prepared>>,
    known: Vec<Rc<Statement>>,
    reports: HashMap<SettingText, Option<Report>>,
    /// A connection that was given back, and is leased again.
    pub idle: Option<Box<Server>>,
}

pub fn config() -> crate::config::Config {
    let verifier = postgres_protocol::password::scram_sha_256(b"secret");
    let text = format!(
        "[general]\nlisten = [\"127.0.0.1:0\"]\n[[databases]]\nname = \"db\"\nhost = \"127.0.0.1\"\n\
         dbname = \"x\"\nuser = \"x\"\ntls = \"disable\"\n[tenancy]\ncolumn = \"tenant_id\"\n\
         [[users]]\nname = \"one\"\nverifier = \"{verifier}\"\nrole = \"app\"\ntenant = \"1\"\n\
         [audit]\nsink = \"none\"\n"
    );
    crate::config::parse("test", &text, &crate::config::Environment::default()).unwrap()
}

impl Tables {
    pub fn new() -> Self {
        let config = config();
        let catalog = Snapshot::new(1, 150_000, "x".to_owned(), Vec::new());
        let policy = Policy::compile(&config, &catalog, 1, "nonce").unwrap();
        Self {
            free: 1,
            generation: 1,
            audit_room: 100,
            accounts: Vec::new(),
            principals: Principals::new(&config, [1; 32]),
            world: World::new(Arc::new(catalog), Arc::new(policy)),
            interned: HashMap::new(),
            known: Vec::new(),
            reports: HashMap::new(),
            idle: None,
        }
    }
}

impl Host for Tables {
    fn raised(&self, _code: &[u8], _message: &str) -> Option<Refusal> {
        None
    }

    fn next_statement<'t>(
        &mut self,
        _: &Principal,
        text: &'t str,
        from: usize,
        _: &[Oid],
    ) -> Result<Option<Found<'t>>, Refusal> {
        let all = statements(text, &crate::sql::Limits::default())?;
        let Some(statement) = all.into_iter().find(|statement| statement.offset >= from) else {
            return Ok(None);
        };
        let planned = passthrough::plan(&self.world, "app", &statement);
        let outcome =
            planned.map(|planned| Arc::new(Plan::new(1, self.generation, planned))).map_err(Arc::new);
        Ok(Some(Found {
            text: statement.text,
            offset: statement.offset,
            next: statement.offset + statement.text.len(),
            literals: Literals {
                text: statement.text,
                ranges: statement.literals.iter().map(|literal| literal.token.clone()).collect(),
            },
            outcome: Some(outcome),
        }))
    }
    fn epoch(&self) -> u64 {
        self.generation
    }
    fn lease(&mut self, _: Option<&TenantId>) -> Option<Box<Server>> {
        self.free = self.free.checked_sub(1)?;
        if let Some(idle) = self.idle.take() {
            return Some(idle);
        }
        Some(Box::new(Server::new(vec![("TimeZone".into(), "UTC".into())])))
    }
    fn intern(&mut self, text: RenderedText, types: &[Oid]) -> Rc<Prepared> {
        let id = self.interned.len() as u64 + 1;
        let key = (text.bytes().to_vec(), types.to_vec());
        let fresh = Rc::new(Prepared::new(id, text, types));
        let kept = self.interned.entry(key).or_insert_with(|| fresh.clone());
        if kept.is_retired() {
            *kept = fresh;
        }
        kept.clone()
    }
    fn known_statement(&self, _: &Principal, text: &str, declared: &[Oid]) -> Option<Rc<Statement>> {
        let is_it = |known: &&Rc<Statement>| known.text() == text && known.declared() == declared;
        self.known.iter().filter(|known| known.epoch() == self.generation).find(is_it).cloned()
    }
    fn keep_statement(&mut self, _: &Principal, statement: &Rc<Statement>) {
        self.known.push(statement.clone());
    }
    fn verify_token(&mut self, _: &Principal, token: &str) -> Result<BoundToken, AuthError> {
        match token.strip_prefix("for ") {
            Some(tenant) => {
                Ok(BoundToken { tenant: TenantId::new(tenant).unwrap(), expires: 1000, kid: "k".into() })
            }
            None => Err(AuthError::Token(TokenFault::Signature)),
        }
    }
    fn now_unix(&self) -> u64 {
        100
    }
    fn clock(&self) -> u64 {
        0
    }
    fn reserve_audit(&mut self) -> bool {
        self.audit_room.checked_sub(1).map(|room| self.audit_room = room).is_some()
    }
    fn release_audit(&mut self) {
        self.audit_room += 1;
    }
    fn account(&mut self, account: Account<'_>) {
        let tenant = account.tenant.map_or("-", TenantId::as_str);
        self.accounts.push(match account.verdict {
            Verdict::Ran { rows, error, .. } => {
                self.audit_room += 1;
                let error = error.map(|code| String::from_utf8_lossy(code).into_owned());
                format!("{tenant} ran {rows} {}", error.unwrap_or_default())
            }
            Verdict::Raised { refusal, .. } => {
                self.audit_room += 1;
                format!("{tenant} raised {}", refusal.state)
            }
            Verdict::Refused { refusal, .. } => format!("{tenant} refused {}", refusal.state),
        });
    }
    fn authenticate_start(&mut self, user: &str, database: &str, _: bool) -> Exchange {
        self.principals.authenticate_start(user, database)
    }
    fn password_token_user(&self, _: &str) -> bool {
        false
    }
    fn authenticate_token(
        &mut self,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<(Principal, BoundToken), AuthError> {
        Err(AuthError::Login)
    }
    fn logged_in(&mut self, who: &Principal) -> Result<(), Refusal> {
        self.accounts.push(format!("{} logged in", who.user));
        Ok(())
    }
    fn login_refused(&mut self, user: &str, _: &str, error: AuthError) {
        self.accounts.push(format!("{user} turned away {}", error.state()));
    }
    fn cancel_key(&mut self, length: usize) -> (i32, Box<[u8]>) {
        (1, vec![2; length].into())
    }
    fn server_parameters(&self, _: &Principal) -> Rc<[Report]> {
        Rc::new([("TimeZone".into(), "UTC".into())])
    }
    fn report_of(&self, _: &Principal, setting: &SettingText) -> Option<Option<Report>> {
        self.reports.get(setting).cloned()
    }
    fn keep_report(&mut self, _: &Principal, setting: &SettingText, report: Option<Report>) {
        self.reports.insert(setting.clone(), report);
    }
}

/// A session, its host, and what it has written.
pub struct Rig {
    pub session: Session,
    pub host: Tables,
    pub client: Vec<u8>,
    pub server: Vec<u8>,
}

pub const TERMS: Terms = Terms {
    tls: TlsOffer::Allowed,
    limits: FrameLimits { statement: 10_000, value: 10_000 },
    lease_per_session: false,
    application_name: true,
};

impl Rig {
    /// Before the first byte.
    pub fn opening() -> Self {
        Self { session: Session::new(TERMS), host: Tables::new(), client: Vec::new(), server: Vec::new() }
    }

    /// Logged in, with this way to a tenant.
    pub fn with(tenant: TenantBinding) -> Self {
        let mut rig = Self::opening();
        let who = Principal { user: "one".into(), role: "app".into(), database: "db".into(), tenant };
        let tenancy = Tenancy::at_login(&who, None, None).unwrap();
        rig.session.phase = Phase::Active(Box::new(Active::new(who, tenancy, false)));
        rig
    }

    /// Logged in for tenant 1.
    pub fn fixed() -> Self {
        Self::with(TenantBinding::Fixed(TenantId::new("1").unwrap()))
    }

    /// Logged in, tenants by token.
    pub fn by_token() -> Self {
        Self::with(TenantBinding::Token { allowed: Vec::new() })
    }

    /// The client says this; what the session sends to the server.
    pub fn say(&mut self, bytes: &[u8]) -> String {
        let mut io = Io { client: &mut self.client, server: &mut self.server };
        self.session.client_bytes(&mut self.host, &mut io, bytes);
        shown(&std::mem::take(&mut self.server))
    }

    /// The server answers this; what the client gets from all since the last call.
    pub fn answer(&mut self, bytes: &[u8]) -> String {
        self.try_answer(bytes).unwrap()
    }

    pub fn try_answer(&mut self, bytes: &[u8]) -> Result<String, Lost> {
        let mut io = Io { client: &mut self.client, server: &mut self.server };
        self.session.server_bytes(&mut self.host, &mut io, bytes)?;
        Ok(self.heard())
    }

    /// What the client got since the last call.
    pub fn heard(&mut self) -> String {
        shown(&std::mem::take(&mut self.client))
    }

    /// What was sent to the server since the last call.
    pub fn sent(&mut self) -> String {
        shown(&std::mem::take(&mut self.server))
    }

    /// Whether the connection has come back; then it is the next to be leased.
    pub fn comes_back(&mut self) -> bool {
        let released = self.session.take_released();
        self.host.free += usize::from(released.is_some());
        let is_back = released.is_some();
        self.host.idle = released.or(self.host.idle.take());
        is_back
    }

    pub fn released(&mut self) -> bool {
        let released = self.session.take_released().is_some();
        self.host.free += usize::from(released);
        released
    }
}

/// One message: its type and its body.
pub fn m(tag: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag as u8];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub fn q(text: &str) -> Vec<u8> {
    m('Q', &[text.as_bytes(), b"\0"].concat())
}

pub fn parse(name: &str, text: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [name.as_bytes(), b"\0", text.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    m('P', &body)
}

pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0"].concat();
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    m('B', &body)
}

pub fn execute(portal: &str) -> Vec<u8> {
    m('E', &[portal.as_bytes(), b"\0\0\0\0\0"].concat())
}

pub fn sync() -> Vec<u8> {
    m('S', b"")
}

pub fn complete(tag: &str) -> Vec<u8> {
    m('C', &[tag.as_bytes(), b"\0"].concat())
}

pub fn ready(status: char) -> Vec<u8> {
    m('Z', &[status as u8])
}

pub fn error(code: &str) -> Vec<u8> {
    m('E', format!("SERROR\0C{code}\0Mno\0\0").as_bytes())
}

pub fn error_saying(code: &str, message: &str) -> Vec<u8> {
    m('E', format!("SERROR\0C{code}\0M{message}\0\0").as_bytes())
}

/// Messages in a readable form: type, and for some the text in it.
pub fn shown(bytes: &[u8]) -> String {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let [tag, a, b, c, d, tail @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        let (body, after) = tail.split_at(length);
        let printable = |b: &u8| if (32..127).contains(b) { char::from(*b) } else { '.' };
        let text: String = body.iter().map(printable).collect();
        out.push(match *tag {
            b'E' if body.contains(&b'C') && body.len() > 12 && text.contains("ERROR") => {
                let at = text.find(".C").unwrap() + 2;
                format!("E[{}]", &text[at..at + 5])
            }
            tag if body.is_empty() => char::from(tag).to_string(),
            tag => format!("{}[{text}]", char::from(tag)),
        });
        rest = after;
    }
    out.join(" ")
}
