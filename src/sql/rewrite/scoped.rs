//! What all sessions of a server share by a number or a name, made the tenant's own: advisory locks and the channels
//! of LISTEN and NOTIFY.
//!
//! The server is given a digest of the tenant and of what the client named: SHA-256, cut to the 64 bits of a lock's
//! key, or to 192 bits of a channel's name. Two tenants meet in a lock only where their digests do; to find a key
//! of one's own that meets a given key of another tenant takes 2⁶⁴ digests. What is digested is unambiguous: a
//! tenant's text holds no space ([`TenantId`](crate::policy::TenantId)), a lock's key is digits, and a channel is last.
//! Keys of one number and keys of two begin differently, since PostgreSQL keeps their spaces apart.
//!
//! The digest is computed in the statement, so that keys may be parameters and expressions, and every function of
//! it is strict: of NULL it makes NULL, as the client's own call would.

use pg_query::protobuf::{FuncCall, Node};

use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};

use super::super::bind::Binder;
use super::super::build;
use super::super::channel;

const RULE: Rule = Rule("tenancy");
/// Digits of the digest in a lock's key: 64 bits.
const KEY_DIGITS: i32 = 16;
/// The type that a tenant has in a statement where no tenant column says one.
const TEXT: Oid = 25;

/// Makes the key of an advisory lock the tenant's: `f(key)` and `f(key, key)` become `f(digest)`.
pub(in crate::sql) fn advisory_key(binder: &mut Binder<'_>, call: &mut FuncCall) -> Result<(), Refusal> {
    let (space, key) = match std::mem::take(&mut call.args).as_slice() {
        // pg_advisory_unlock_all().
        [] => return Ok(()),
        [key] => ("lock ", whole(key, "int8")),
        [first, second] => ("locks ", joined(vec![whole(first, "int4"), word(" "), whole(second, "int4")])),
        _ => return Err(Refusal::new(SqlState::UNDEFINED_FUNCTION, RULE, "no advisory lock has such a key")),
    };
    let tenant = tenant_text(binder)?;
    let digest = digest(joined(vec![word(space), tenant, word(" "), key]), KEY_DIGITS);
    // The 16 digits as the bits that they are: int8 takes bits, and no other type reads hexadecimal before 16.
    let mut bits = build::type_name("pg_catalog", "bit");
    bits.typmods = vec![build::integer(64)];
    let bits = build::cast_to(joined(vec![word("x"), digest]), bits);
    call.args = vec![build::cast(bits, "pg_catalog", "int8")];
    binder.edit(call.location, "the lock's key becomes the tenant's own");
    Ok(())
}

/// Makes the channel of `pg_notify(channel, payload)` the tenant's.
pub(in crate::sql) fn notify_channel(binder: &mut Binder<'_>, call: &mut FuncCall) -> Result<(), Refusal> {
    let Some(channel) = call.args.first_mut() else {
        return Err(Refusal::new(SqlState::UNDEFINED_FUNCTION, RULE, "pg_notify needs a channel"));
    };
    let tenant = tenant_text(binder)?;
    let named = build::cast(std::mem::take(channel), "pg_catalog", "text");
    let digest = digest(joined(vec![word(channel::SPACE), tenant, word(" "), named]), channel::DIGITS);
    *channel = joined(vec![word(channel::PREFIX), digest]);
    binder.edit(call.location, "the channel becomes the tenant's own");
    Ok(())
}

/// The tenant's value as text. A statement has one parameter for the tenant: it has the type of the tenant columns.
fn tenant_text(binder: &mut Binder<'_>) -> Result<Node, Refusal> {
    let oid = binder.policy.tenant_type(binder.catalog).unwrap_or(TEXT);
    let Some(ty) = binder.catalog.type_by_oid(oid).cloned() else {
        return Err(Refusal::new(SqlState::INTERNAL, RULE, "the tenant's type is gone from the catalog"));
    };
    match binder.tenant_type {
        Some(known) if known != ty.oid => {
            let message = "the tenant columns of this statement's relations differ in type";
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message));
        }
        _ => binder.tenant_type = Some(ty.oid),
    }
    Ok(build::cast(build::tenant(&ty), "pg_catalog", "text"))
}

/// A whole number as text, read as the server's own function would read it.
fn whole(key: &Node, ty: &str) -> Node {
    build::cast(build::cast(key.clone(), "pg_catalog", ty), "pg_catalog", "text")
}

fn word(text: &str) -> Node {
    build::cast(build::string(text), "pg_catalog", "text")
}

/// `a || b || …`; NULL where one of them is.
fn joined(parts: Vec<Node>) -> Node {
    let join = |left, right| build::operator("||", left, right);
    parts.into_iter().reduce(join).unwrap_or_else(build::null)
}

/// The first hexadecimal digits of a text's SHA-256.
fn digest(text: Node, digits: i32) -> Node {
    let bytes = build::call("convert_to", vec![text, build::string("UTF8")]);
    let hash = build::call("sha256", vec![bytes]);
    let hex = build::call("encode", vec![hash, build::string("hex")]);
    build::call("left", vec![hex, build::integer(digits)])
}
