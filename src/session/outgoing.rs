//! The only place that writes SQL towards a server, and it takes nothing but [`VerifiedSql`] and the proxy's
//! own fixed statements.

use std::cell::Cell;
use std::rc::Rc;

use super::host::Literals;
use crate::catalog::Oid;
use crate::policy::TenantId;
use crate::sql::VerifiedSql;
use crate::wire::WireError;
use crate::wire::request::{self, c_str, frame};

/// One statement of a simple query with what goes into its holes.
#[derive(Debug)]
pub struct Filled<'a> {
    /// The statement.
    pub sql: &'a VerifiedSql,
    /// The transaction's tenant.
    pub tenant: Option<&'a TenantId>,
    /// The client's literals.
    pub literals: &'a Literals<'a>,
    /// What it runs, if it is an EXECUTE.
    pub prepared: Option<&'a Prepared>,
}

/// Appends one Query message with these statements.
pub fn query<'a>(out: &mut Vec<u8>, statements: impl Iterator<Item = Filled<'a>>) -> Result<(), WireError> {
    frame(out, b'Q', |out| {
        for (index, filled) in statements.enumerate() {
            if index > 0 {
                out.push(b';');
            }
            let literal = |literal| filled.literals.bytes(literal);
            match filled.prepared {
                Some(prepared) => filled.sql.render_execute(out, prepared.name(), filled.tenant, literal),
                None => filled.sql.render_simple(out, filled.tenant, literal),
            }
        }
        out.push(0);
    })
}

/// A statement that server connections keep prepared under a name of the proxy's. It serves every client
/// and every tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Unique in the worker; 0 without a name.
    pub id: u64,
    name: Box<[u8]>,
    text: Box<[u8]>,
    types: Box<[Oid]>,
    retired: Cell<bool>,
}

impl Prepared {
    /// Renders a statement with the tenant as parameter `number`; `types` are all parameters' types.
    pub fn new(id: u64, text: RenderedText, types: &[Oid]) -> Self {
        let name = format!("pgb_s{id}").into_bytes().into_boxed_slice();
        Self { id, name, text: text.0.into_boxed_slice(), types: types.into(), retired: Cell::default() }
    }

    /// A statement without a name, for one Bind: its text has the tenant in it.
    pub fn unnamed(text: RenderedText, types: &[Oid]) -> Self {
        Self {
            id: 0,
            name: Box::default(),
            text: text.0.into_boxed_slice(),
            types: types.into(),
            retired: Cell::default(),
        }
    }

    /// The server's name for it.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Its columns have changed: another takes its place, on every server connection.
    pub fn retire(&self) {
        self.retired.set(true);
    }

    /// Whether another has taken its place.
    pub fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Its text, for the one that takes its place.
    pub fn rendered(&self) -> RenderedText {
        RenderedText(self.text.to_vec())
    }

    /// Types of all its parameters.
    pub fn types(&self) -> &[Oid] {
        &self.types
    }

    /// Appends its Parse.
    pub fn parse(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let count = u16::try_from(self.types.len()).map_err(|_| WireError::Field("parameter count"))?;
        frame(out, b'P', |out| {
            c_str(out, &self.name);
            c_str(out, &self.text);
            out.extend_from_slice(&count.to_be_bytes());
            for oid in &self.types {
                out.extend_from_slice(&oid.to_be_bytes());
            }
        })
    }
}

/// Text of a verified statement with its holes filled.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct RenderedText(Vec<u8>);

impl RenderedText {
    /// For the extended protocol: the tenant is parameter `number`.
    pub fn extended(sql: &VerifiedSql, number: u16, literals: &Literals<'_>) -> Self {
        let mut text = Vec::new();
        sql.render_extended(&mut text, number, |literal| literals.bytes(literal));
        Self(text)
    }

    /// For a statement that takes no parameters (COPY): the tenant is a literal.
    pub fn literal(sql: &VerifiedSql, tenant: Option<&TenantId>, literals: &Literals<'_>) -> Self {
        let mut text = Vec::new();
        sql.render_simple(&mut text, tenant, |literal| literals.bytes(literal));
        Self(text)
    }

    /// For an EXECUTE of `prepared`: the tenant is a literal.
    pub fn execute(
        sql: &VerifiedSql,
        prepared: &Prepared,
        tenant: Option<&TenantId>,
        literals: &Literals<'_>,
    ) -> Self {
        let mut text = Vec::new();
        sql.render_execute(&mut text, prepared.name(), tenant, |literal| literals.bytes(literal));
        Self(text)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A `SET` that a session has run, kept to be run again on another server connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SettingText(Rc<[u8]>);

impl SettingText {
    /// The SET of a setting on the list, to a value that the list admits.
    pub fn new(name: &str, value: &str) -> Self {
        let name = if is_plain(name) { name } else { "" };
        Self(format!("SET {name} TO '{}'", value.replace('\'', "''")).into_bytes().into())
    }

    /// `SET application_name` to what a client calls itself. What is not plain in a literal becomes a question
    /// mark.
    pub fn application_name(name: &str) -> Self {
        let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '\'' && c != '\\';
        let kept: String = name.chars().map(|c| if plain(c) { c } else { '?' }).collect();
        Self(format!("SET application_name TO '{kept}'").into_bytes().into())
    }
}

/// Names of settings are written as they are.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A statement of the proxy's own.
#[derive(Debug, Clone)]
pub enum OwnStatement<'a> {
    /// A setting back to what the server connection began with.
    Reset(String),
    /// A setting as the session wants it.
    Set(&'a SettingText),
    /// `ROLLBACK`
    Rollback,
    /// `RESET ALL`
    ResetAll,
    /// `CLOSE ALL`
    CloseAll,
    /// `DISCARD SEQUENCES`
    DiscardSequences,
    /// `SELECT pg_advisory_unlock_all()`
    UnlockAll,
    /// `UNLISTEN *`
    UnlistenAll,
    /// Whether anything holds the server session beyond its transaction: gives a row, of no columns, if so.
    StillHeld,
}

const STILL_HELD: &[u8] = b"SELECT WHERE EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype \
OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
OR EXISTS (SELECT FROM pg_catalog.pg_listening_channels())";

/// Appends one Query message with statements of the proxy's own. A setting's name is one that a plan gave;
/// anything but a plain name is left out all the same.
pub fn own_query<'a>(
    out: &mut Vec<u8>,
    statements: impl Iterator<Item = OwnStatement<'a>>,
) -> Result<(), WireError> {
    frame(out, b'Q', |out| {
        for statement in statements {
            match statement {
                OwnStatement::Reset(name) if is_plain(&name) => {
                    out.extend_from_slice(b"RESET ");
                    out.extend_from_slice(name.as_bytes());
                }
                OwnStatement::Reset(_) => {}
                OwnStatement::Set(text) => out.extend_from_slice(&text.0),
                OwnStatement::Rollback => out.extend_from_slice(b"ROLLBACK"),
                OwnStatement::ResetAll => out.extend_from_slice(b"RESET ALL"),
                OwnStatement::CloseAll => out.extend_from_slice(b"CLOSE ALL"),
                OwnStatement::DiscardSequences => out.extend_from_slice(b"DISCARD SEQUENCES"),
                OwnStatement::UnlockAll => {
                    out.extend_from_slice(b"SELECT pg_catalog.pg_advisory_unlock_all()");
                }
                OwnStatement::UnlistenAll => out.extend_from_slice(b"UNLISTEN *"),
                OwnStatement::StillHeld => out.extend_from_slice(STILL_HELD),
            }
            out.push(b';');
        }
        out.push(0);
    })
}

/// Appends Bind and Execute of a BEGIN of the proxy's own, which goes by this name; before them its Parse, where `text` is
/// given. Without a Sync: if it fails, the server skips what stands behind it.
pub fn own_begin(out: &mut Vec<u8>, name: &str, text: Option<&'static str>) -> Result<(), WireError> {
    if let Some(text) = text {
        frame(out, b'P', |out| {
            c_str(out, name.as_bytes());
            c_str(out, text.as_bytes());
            out.extend_from_slice(&[0, 0]);
        })?;
    }
    frame(out, b'B', |out| {
        c_str(out, b"");
        c_str(out, name.as_bytes());
        out.extend_from_slice(&[0; 6]);
    })?;
    request::execute(out, b"", 0)
}

/// Appends Parse, without a name, of a statement that is not run: it fails where the transaction has failed. One that
/// takes no snapshot, behind which the isolation level could not be set.
pub fn own_parse(out: &mut Vec<u8>) -> Result<(), WireError> {
    frame(out, b'P', |out| out.extend_from_slice(b"\0BEGIN\0\0\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_an_application_stays_within_its_literal() {
        let text = SettingText::application_name("it's \\ a; drop\0é");
        assert_eq!(&*text.0, b"SET application_name TO 'it?s ? a; drop??'");
    }

    #[test]
    fn reset_of_anything_but_a_plain_name_is_left_out() {
        let mut out = Vec::new();
        own_query(&mut out, [OwnStatement::Reset("a; drop table x".into())].into_iter()).unwrap();
        assert_eq!(&out[5..], b";\0");
    }
}
