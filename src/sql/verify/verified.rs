//! SQL that may be sent.

use std::sync::Arc;

use crate::policy::TenantId;
use crate::sql::{Piece, Template, channel};

/// SQL that passed verification, with holes for literals and for the tenant. Only [`super::verify`] makes one,
/// and the writer towards the server takes nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSql {
    template: Arc<Template>,
}

impl VerifiedSql {
    pub(super) fn new(template: Template) -> Self {
        Self { template: Arc::new(template) }
    }

    /// For tests of what comes behind verification.
    #[cfg(test)]
    pub fn unverified(template: Template) -> Self {
        Self::new(template)
    }

    /// Bytes of the template, for a cache's bound (an estimate).
    pub(in crate::sql) fn bytes(&self) -> usize {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::Channel(text) => size_of::<Piece>() + text.len(),
            Piece::Literal { .. } | Piece::Prepared | Piece::Tenant => size_of::<Piece>(),
        };
        self.template.pieces.iter().map(piece).sum()
    }

    /// Whether the tenant's value is part of the statement.
    pub fn uses_tenant(&self) -> bool {
        self.template.pieces.iter().any(|p| matches!(p, Piece::Tenant | Piece::Channel(_)))
    }

    /// The client's name of the channel, in LISTEN, UNLISTEN and NOTIFY.
    pub fn channel(&self) -> Option<&str> {
        self.template.pieces.iter().find_map(|piece| match piece {
            Piece::Channel(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The whole statement, where it has no holes.
    pub fn fixed_text(&self) -> Option<&str> {
        match self.template.pieces.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether any of the client's literals is part of the statement.
    pub fn uses_literals(&self) -> bool {
        self.template.pieces.iter().any(|p| matches!(p, Piece::Literal { .. }))
    }

    /// Appends the statement for the simple protocol: the tenant as a quoted literal, its channel by the server's
    /// name. `literal` gives the
    /// client's literal tokens by index.
    pub fn render_simple<'a>(
        &self,
        out: &mut Vec<u8>,
        tenant: Option<&TenantId>,
        literal: impl Fn(usize) -> &'a [u8],
    ) {
        self.render_named(out, Template::PREPARED.as_bytes(), tenant, literal, |out| quoted(out, tenant));
    }

    /// Appends an EXECUTE: the tenant as a quoted literal, `name` as the statement's name. A name of another
    /// form than [`Template::PREPARED`]'s is left out.
    pub fn render_execute<'a>(
        &self,
        out: &mut Vec<u8>,
        name: &[u8],
        tenant: Option<&TenantId>,
        literal: impl Fn(usize) -> &'a [u8],
    ) {
        let digits = name.strip_prefix(Template::PREPARED.as_bytes()).unwrap_or_default();
        let name = if digits.iter().all(u8::is_ascii_digit) { name } else { b"" };
        self.render_named(out, name, tenant, literal, |out| quoted(out, tenant));
    }

    /// Appends the statement for the extended protocol: the tenant as parameter `$number`. A channel can be no
    /// parameter: a statement that has one is rendered by [`VerifiedSql::render_simple`] for each Bind.
    pub fn render_extended<'a>(&self, out: &mut Vec<u8>, number: u16, literal: impl Fn(usize) -> &'a [u8]) {
        let parameter = |out: &mut Vec<u8>| out.extend_from_slice(format!("${number}").as_bytes());
        self.render_named(out, Template::PREPARED.as_bytes(), None, literal, parameter);
    }

    /// `channels` is whose channels are named; nobody's: the placeholder.
    fn render_named<'a>(
        &self,
        out: &mut Vec<u8>,
        name: &[u8],
        channels: Option<&TenantId>,
        literal: impl Fn(usize) -> &'a [u8],
        tenant: impl Fn(&mut Vec<u8>),
    ) {
        for piece in &self.template.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Literal { index, negate } => {
                    if *negate {
                        out.push(b'-');
                    }
                    out.extend_from_slice(literal(*index));
                }
                Piece::Prepared => out.extend_from_slice(name),
                Piece::Channel(name) => {
                    let name = channels.map(|tenant| channel::server_name(tenant, name));
                    out.extend_from_slice(name.as_deref().unwrap_or(channel::PLACEHOLDER).as_bytes());
                }
                Piece::Tenant => tenant(out),
            }
        }
    }
}

fn quoted(out: &mut Vec<u8>, tenant: Option<&TenantId>) {
    out.push(b'\'');
    out.extend_from_slice(tenant.map_or("", TenantId::as_str).as_bytes());
    out.push(b'\'');
}
