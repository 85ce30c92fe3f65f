//! The last gate before the server: a text is sent only when PostgreSQL's own grammar reads it back as the
//! very tree that was decided on.
//!
//! **Theorem.** Let `R` be the rewritten tree, `P` the template that was printed from it, and `c` the client's
//! literal tokens. If [`verify`] gives a [`VerifiedSql`], then for every choice of literal tokens of the same
//! classes, and for every tenant, rendering `P` gives exactly one statement, whose tree is `R` with those
//! constants and that tenant in their places. In particular no literal and no tenant can become anything but
//! the one constant that it was.
//!
//! What is compared, and why it is enough:
//! 1. `P` with `c` and `$tenant` put in is parsed; it must be one statement, and its tree must equal `R` in
//!    every field of every node, places in the text aside ([`places`]).
//! 2. Each hole of `P` must be, by its place, one whole constant or parameter token of the parsed tree: a hole
//!    inside a string, glued to an identifier or swallowed by a comment is none. The grammar above a constant
//!    does not depend on its value, so another token of its class gives the same tree.
//! 3. The tenant's parameters of the parsed tree are exactly the tenant's holes, and `R` has no parameter of
//!    the client under the tenant's number.
//!
//! Not checked here: whether `R` is the right tree. That is the rewriter's work, and the witness's
//! ([`super::witness`]).

mod canonical;
mod places;
mod verified;

use pg_query::protobuf::Node;

use crate::policy::{Quarantined, Refusal, Rule, SqlState};

use super::channel::PLACEHOLDER;
use super::template::TENANT_PARAMETER;
use super::{Piece, Statement, Template};

use places::Places;

pub use verified::VerifiedSql;

/// The rule of this stage's refusals.
pub const RULE: Rule = Rule("verify");

/// Proves that `template` reads back as `rewritten`, and makes the only SQL that may be sent.
///
/// `statement` gives the client's literal tokens; `tenant_parameter` is the number of the tenant's parameter in
/// the extended protocol (over all of the client's own). Recurses as deep as the statement does: call it on a
/// planning thread.
///
/// # Errors
/// 0A000, rule `verify`, with both texts for the quarantine.
pub fn verify(
    rewritten: &Node,
    template: Template,
    statement: &Statement<'_>,
    tenant_parameter: u16,
) -> Result<VerifiedSql, Refusal> {
    verify_tree(&mut rewritten.clone(), template, statement, tenant_parameter)
}

/// The same without a copy of the tree, which loses its places in the text.
///
/// # Errors
/// As [`verify`].
pub fn verify_tree(
    rewritten: &mut Node,
    template: Template,
    statement: &Statement<'_>,
    tenant_parameter: u16,
) -> Result<VerifiedSql, Refusal> {
    let text = match instantiate(&template, statement, tenant_parameter) {
        Ok(text) => text,
        Err(reason) => return Err(refusal(statement.text, String::new(), reason)),
    };
    match compare(rewritten, &text, tenant_parameter) {
        Ok(()) => Ok(VerifiedSql::new(template)),
        Err(reason) => Err(refusal(statement.text, text.sql, reason)),
    }
}

/// The refusal of a statement whose rewritten text did not pass; also for a text that the witness contradicts.
pub fn refusal(original: &str, rewritten: String, reason: impl Into<String>) -> Refusal {
    let mut refusal = Refusal::new(
        SqlState::NOT_SUPPORTED,
        RULE,
        "the rewritten statement could not be verified, so it is not sent",
    )
    .hint("the operator finds both texts in the quarantine file");
    refusal.quarantined =
        Some(Box::new(Quarantined { original: original.to_owned(), rewritten, reason: reason.into() }));
    refusal
}

/// A template with one set of values in its holes.
struct Instance {
    sql: String,
    /// Offsets of the tenant's holes, ascending.
    tenants: Vec<i32>,
    /// Offsets of the literals' holes (of the sign, where there is one), ascending.
    literals: Vec<i32>,
}

fn instantiate(
    template: &Template,
    statement: &Statement<'_>,
    tenant_parameter: u16,
) -> Result<Instance, &'static str> {
    let fixed =
        template.pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 8 });
    let sql = String::with_capacity(fixed.sum::<usize>().saturating_add(statement.text.len()));
    let mut instance = Instance { sql, tenants: Vec::new(), literals: Vec::new() };
    for piece in &template.pieces {
        let here = i32::try_from(instance.sql.len()).map_err(|_| "the text is too long")?;
        match piece {
            Piece::Text(text) => instance.sql.push_str(text),
            Piece::Literal { index, negate } => {
                instance.literals.push(here);
                if *negate {
                    instance.sql.push('-');
                }
                instance.sql.push_str(statement.token(*index).ok_or("a hole has no literal")?);
            }
            Piece::Prepared => {
                if !matches!(instance.sql.as_bytes().last(), Some(b' ')) {
                    return Err("the prepared statement's hole does not stand free");
                }
                instance.sql.push_str(Template::PREPARED);
            }
            Piece::Channel(_) => {
                if !matches!(instance.sql.as_bytes().last(), Some(b' ')) {
                    return Err("the channel's hole does not stand free");
                }
                instance.sql.push_str(PLACEHOLDER);
            }
            Piece::Tenant => {
                // `u&` before `$2` is an operator, before `'1'` the start of a string: a tenant stands free.
                if !matches!(instance.sql.as_bytes().last(), Some(b' ' | b'(' | b',')) {
                    return Err("the tenant's hole does not stand free");
                }
                instance.tenants.push(here);
                instance.sql.push('$');
                instance.sql.push_str(&tenant_parameter.to_string());
            }
        }
    }
    Ok(instance)
}

fn compare(decided: &mut Node, text: &Instance, tenant_parameter: u16) -> Result<(), String> {
    let mut parsed = pg_query::parse(&text.sql, 0).map_err(|e| format!("the text does not parse: {e}"))?;
    let [only] = parsed.protobuf.stmts.as_mut_slice() else {
        return Err(format!("the text holds {} statements", parsed.protobuf.stmts.len()));
    };
    let Some(read) = only.stmt.as_deref_mut() else { return Err("the text holds no statement".into()) };

    let found = equal(decided, read, i32::from(tenant_parameter))?;
    let tenants = found.parameters.iter().filter(|p| p.number == i32::from(tenant_parameter));
    if !same_places(tenants.map(|p| p.location).collect(), &text.tenants) {
        return Err("the tenant's holes are not the tenant's parameters".into());
    }
    let mut constants = found.constants;
    constants.sort_unstable();
    if text.literals.iter().any(|place| constants.binary_search(place).is_err()) {
        return Err("a literal's hole is not a constant of its own".into());
    }
    Ok(())
}

/// Requires two trees to be equal, the tenant's mark being read through its number; gives the places of what was read.
fn equal(decided: &mut Node, read: &mut Node, tenant: i32) -> Result<Places, String> {
    let places = Places::of_decided(decided);
    if places.unknown {
        return equal_as_bytes(decided, read, tenant);
    }
    if places.names(tenant) {
        return Err("the client's parameter has the tenant's number".into());
    }
    let found = Places::of_read(read, tenant);
    if found.names(TENANT_PARAMETER) {
        return Err("the text has the tenant's mark for a parameter".into());
    }
    if found.unknown || decided != read {
        return Err("the text reads as another tree".into());
    }
    Ok(found)
}

/// The same for a tree that holds a node which [`Places`] does not know.
fn equal_as_bytes(decided: &Node, read: &Node, tenant: i32) -> Result<Places, String> {
    let decided = canonical::encode(decided).map_err(|e| format!("the decided tree: {e}"))?;
    let read = canonical::encode(read).map_err(|e| format!("the read tree: {e}"))?;
    if decided.parameters.iter().any(|p| p.number == tenant) {
        return Err("the client's parameter has the tenant's number".into());
    }
    if !canonical::equal(&decided, &read, |n| if n == TENANT_PARAMETER { tenant } else { n }) {
        return Err("the text reads as another tree".into());
    }
    Ok(Places { parameters: read.parameters, constants: read.constants, ..Places::default() })
}

fn same_places(mut found: Vec<i32>, holes: &[i32]) -> bool {
    found.sort_unstable();
    // A row assignment's source is one text and a copy in the tree for each of its columns.
    found.dedup();
    found == holes
}

#[cfg(test)]
mod tests;
