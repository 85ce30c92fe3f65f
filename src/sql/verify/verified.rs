//! SQL that may be sent.

use std::sync::Arc;

use crate::policy::TenantId;
use crate::sql::{Piece, Template};

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
            Piece::Text(text) => size_of::<Piece>() + text.len(),
            Piece::Literal { .. } | Piece::Tenant => size_of::<Piece>(),
        };
        self.template.pieces.iter().map(piece).sum()
    }

    /// Whether the tenant's value is part of the statement.
    pub fn uses_tenant(&self) -> bool {
        self.template.pieces.contains(&Piece::Tenant)
    }

    /// Whether any of the client's literals is part of the statement.
    pub fn uses_literals(&self) -> bool {
        self.template.pieces.iter().any(|p| matches!(p, Piece::Literal { .. }))
    }

    /// Appends the statement for the simple protocol: the tenant as a quoted literal. `literal` gives the
    /// client's literal tokens by index.
    pub fn render_simple<'a>(
        &self,
        out: &mut Vec<u8>,
        tenant: Option<&TenantId>,
        literal: impl Fn(usize) -> &'a [u8],
    ) {
        self.render(out, literal, |out| {
            out.push(b'\'');
            out.extend_from_slice(tenant.map_or("", TenantId::as_str).as_bytes());
            out.push(b'\'');
        });
    }

    /// Appends the statement for the extended protocol: the tenant as parameter `$number`.
    pub fn render_extended<'a>(&self, out: &mut Vec<u8>, number: u16, literal: impl Fn(usize) -> &'a [u8]) {
        self.render(out, literal, |out| out.extend_from_slice(format!("${number}").as_bytes()));
    }

    fn render<'a>(
        &self,
        out: &mut Vec<u8>,
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
                Piece::Tenant => tenant(out),
            }
        }
    }
}
