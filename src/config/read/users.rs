//! `[[users]]` and `[[token_keys]]`: who may log in, and who vouches for tenants.

use crate::config::ScramVerifier;
use crate::config::errors::Place;
use crate::config::model::{General, TenantSource, TokenAlgorithm, TokenKey, User, UserAuth};

use super::Environment;
use super::databases::{Given, secret};
use super::section::Section;
use super::values::{existing_file, filled, one_of, tenant, text};

/// Reads every `[[token_keys]]`, with its place.
pub(super) fn token_keys(root: &mut Section<'_>) -> Vec<(TokenKey, Place)> {
    let mut keys: Vec<(TokenKey, Place)> = Vec::new();
    for mut section in root.sections("token_keys") {
        let kid = section.required("kid", text);
        if let Some(kid) = &kid {
            section.name_it(kid);
            if keys.iter().any(|(key, _)| key.kid == *kid) {
                section.complain_here(format!("a second {}", section.title()), None);
            }
        }
        let algorithm = section.required("algorithm", one_of(&ALGORITHMS));
        let file = section.required("file", existing_file);
        let audience = section.optional("audience", text);
        let issuer = section.optional("issuer", text);
        let place = section.place();
        section.finish();
        if let (Some(kid), Some(algorithm), Some(file)) = (kid, algorithm, file) {
            keys.push((TokenKey { kid, algorithm, file, audience, issuer }, place));
        }
    }
    keys
}

/// Reads every `[[users]]`.
pub(super) fn users(
    root: &mut Section<'_>,
    env: &Environment,
    general: Option<&General>,
    keys: &[(TokenKey, Place)],
) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for mut section in root.sections("users") {
        let name = section.required("name", text);
        if let Some(name) = &name {
            section.name_it(name);
            if users.iter().any(|user| user.name == *name) {
                section.complain_here(format!("a second {}", section.title()), None);
            }
        }
        let auth = user_auth(&mut section, env);
        let role = section.required("role", text);
        let tenant = tenant_source(&mut section, auth.as_ref());
        if matches!(tenant, Some(TenantSource::Token { .. })) && keys.is_empty() {
            let message =
                format!("{} takes its tenant from a token, but no key verifies one", section.title());
            section.complain_here(message, Some("add a [[token_keys]]".to_owned()));
        }
        if auth == Some(UserAuth::TenantToken) && general.is_some_and(in_clear) {
            let message = format!("the token of {} would cross the network in clear", section.title());
            section.complain_here(
                message,
                Some("set `tls` in [general], or listen on loopback only".to_owned()),
            );
        }
        section.finish();
        if let (Some(name), Some(auth), Some(role), Some(tenant)) = (name, auth, role, tenant) {
            users.push(User { name, auth, role, tenant });
        }
    }
    users
}

/// `verifier` (or `verifier_env`, `verifier_file`), or `auth = "tenant_token"`.
fn user_auth(section: &mut Section<'_>, env: &Environment) -> Option<UserAuth> {
    let auth = section.spanned("auth", one_of(&[("tenant_token", UserAuthName::TenantToken)]));
    match (auth, secret(section, ["verifier", "verifier_env", "verifier_file"], env)) {
        (None, Given::Secret(verifier)) => match ScramVerifier::parse(&verifier) {
            Ok(_) => Some(UserAuth::Scram(verifier)),
            Err(error) => {
                let help = "`pgbulkhead hash-password` makes one";
                let message = format!("the `verifier` of {}: {error}", section.title());
                section.complain_here(message, Some(help.to_owned()));
                None
            }
        },
        (Some((UserAuthName::TenantToken, _)), Given::Nothing) => Some(UserAuth::TenantToken),
        (Some((_, place)), _) => {
            section.complain(place, format!("{} has both `auth` and `verifier`", section.title()), None);
            None
        }
        (None, Given::Nothing) => {
            let message = format!("{} cannot log in: it has no `verifier`", section.title());
            let help = "`pgbulkhead hash-password` makes one; or write auth = \"tenant_token\"";
            section.complain_here(message, Some(help.to_owned()));
            None
        }
        (None, Given::Wrong) => None,
    }
}

/// `tenant`, `tenants`, or `tenant_from = "token"` (which a token as the password says too); with a token,
/// `tenant` or `tenants` limit what it may name.
fn tenant_source(section: &mut Section<'_>, auth: Option<&UserAuth>) -> Option<TenantSource> {
    let (one, many) = (section.has("tenant"), section.has("tenants"));
    let from = section.has("tenant_from");
    let fixed = section.optional("tenant", tenant);
    let listed = section.optional("tenants", filled(tenant));
    let from_token = section.optional("tenant_from", one_of(&[("token", ())])).is_some();
    if one && many {
        section.complain_here(format!("{} has both `tenant` and `tenants`", section.title()), None);
        return None;
    }
    if from_token || auth == Some(&UserAuth::TenantToken) {
        let limits_hold = one == fixed.is_some() && many == listed.is_some();
        let allowed = fixed.map(|tenant| vec![tenant]).or(listed).unwrap_or_default();
        return limits_hold.then_some(TenantSource::Token { allowed });
    }
    if !one && !many && !from {
        let message = format!("{} has no tenant", section.title());
        let help = "write tenant = \"…\", tenants = [\"…\"] or tenant_from = \"token\"";
        section.complain_here(message, Some(help.to_owned()));
    }
    fixed.map(TenantSource::Fixed).or(listed.map(TenantSource::Choice))
}

/// Whether clients can reach the proxy over a network without TLS.
fn in_clear(general: &General) -> bool {
    general.listeners().any(|listener| !listener.has_tls() && !listener.address.ip().is_loopback())
}

#[derive(Clone, Copy)]
enum UserAuthName {
    TenantToken,
}

const ALGORITHMS: [(&str, TokenAlgorithm); 3] =
    [("EdDSA", TokenAlgorithm::EdDsa), ("ES256", TokenAlgorithm::Es256), ("HS256", TokenAlgorithm::Hs256)];
