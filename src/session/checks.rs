//! The checks of a plan that wait for values: a tenant column gets the tenant's own value, byte for byte, and
//! a pinned literal is the token that the plan was made for.

use super::host::Literals;
use crate::catalog::Oid;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::leaksafe::BindRule;
use crate::sql::{TenantCheck, TenantValue};
use crate::wire::frontend::{Bind, Format};

/// Checks a plan's literals: its pins, and the tenant values among them.
pub fn literals(plan: &Plan, literals: &Literals<'_>, tenant: Option<&TenantId>) -> Result<(), Refusal> {
    let pinned = plan.planned.pins.iter().all(|pin| literals.token(pin.index) == Some(pin.token.as_str()));
    if !pinned {
        let message = "the plan is for other literals";
        return Err(Refusal::new(SqlState::INTERNAL, Rule("plan"), message));
    }
    for check in &plan.planned.tenant_checks {
        if let TenantValue::Literal(index) = check.source {
            let value = literals.token(index).and_then(unquoted);
            let is_own = tenant.is_some_and(|tenant| value.as_deref() == Some(tenant.as_str()));
            if !is_own {
                return Err(violation(check));
            }
        }
    }
    Ok(())
}

/// Checks the tenant values among a Bind's parameters. `declared` are the types of the client's Parse.
pub fn parameters(
    plan: &Plan,
    declared: &[Oid],
    bind: &Bind<'_>,
    tenant: Option<&TenantId>,
) -> Result<(), Refusal> {
    for check in &plan.planned.tenant_checks {
        let TenantValue::Parameter(number) = check.source else { continue };
        let Some(index) = usize::from(number).checked_sub(1) else { return Err(violation(check)) };
        let oid = declared.get(index).copied().filter(|oid| *oid != 0).unwrap_or(check.type_oid);
        let value = bind.values.get(index).flatten().and_then(|value| match bind.formats.of(index) {
            Format::Text if known(oid) || oid == check.type_oid => String::from_utf8(value.to_vec()).ok(),
            Format::Text => None,
            Format::Binary => binary(oid, value),
        });
        let is_own = tenant.is_some_and(|tenant| value.as_deref() == Some(tenant.as_str()));
        if !is_own {
            return Err(violation(check));
        }
    }
    Ok(())
}

/// Checks the values that a bare condition relies on (the barrier's rules for parameters). NULL is always
/// fine.
pub fn bare_conditions(plan: &Plan, bind: &Bind<'_>) -> Result<(), Refusal> {
    for check in &plan.planned.bind_checks {
        let index = usize::try_from(check.parameter).ok().and_then(|number| number.checked_sub(1));
        let value = index.and_then(|index| Some((bind.values.get(index)?, bind.formats.of(index))));
        let holds = match value {
            Some((None, _)) => true,
            Some((Some(value), format)) => rule_holds(check.rule, value, format),
            None => false,
        };
        if !holds {
            let message = format!(
                "the value of parameter ${} is too long or malformed for a condition on other tenants' rows",
                check.parameter
            );
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("barrier"), message));
        }
    }
    Ok(())
}

fn rule_holds(rule: BindRule, value: &[u8], format: Format) -> bool {
    // A binary text is its bytes, a binary jsonb has a version byte before them (jsonb_recv).
    let text = match (rule, format) {
        (BindRule::AtMost(most), _) => return value.len() <= most,
        (BindRule::Jsonb, Format::Binary) => value.strip_prefix(&[1]),
        _ => Some(value),
    };
    text.and_then(|text| std::str::from_utf8(text).ok()).is_some_and(|text| rule.holds(text))
}

/// A literal's value with its quotes undone; none where escapes would have to be understood.
pub(super) fn unquoted(token: &str) -> Option<String> {
    if let Some(rest) = token.strip_prefix('\'') {
        return Some(rest.strip_suffix('\'')?.replace("''", "'"));
    }
    if let Some(rest) = token.strip_prefix(['e', 'E']) {
        let inner = rest.strip_prefix('\'')?.strip_suffix('\'')?;
        return (!inner.contains('\\')).then(|| inner.replace("''", "'"));
    }
    if let Some(rest) = token.strip_prefix('$') {
        let (tag, rest) = rest.split_once('$')?;
        let value = rest.strip_suffix('$')?.strip_suffix(tag)?.strip_suffix('$')?;
        return Some(value.to_owned());
    }
    Some(token.to_owned())
}

const INT8: Oid = 20;
const INT2: Oid = 21;
const INT4: Oid = 23;
const TEXT: Oid = 25;
const UNKNOWN: Oid = 705;
const VARCHAR: Oid = 1043;
const UUID: Oid = 2950;

/// Types whose text form means what it says: a value that equals the tenant's text is the tenant.
fn known(oid: Oid) -> bool {
    matches!(oid, INT2 | INT4 | INT8 | TEXT | VARCHAR | UUID | UNKNOWN)
}

/// A binary value in its type's canonical text form.
fn binary(oid: Oid, value: &[u8]) -> Option<String> {
    match oid {
        INT2 => Some(i16::from_be_bytes(value.try_into().ok()?).to_string()),
        INT4 => Some(i32::from_be_bytes(value.try_into().ok()?).to_string()),
        INT8 => Some(i64::from_be_bytes(value.try_into().ok()?).to_string()),
        TEXT | VARCHAR | UNKNOWN => String::from_utf8(value.to_vec()).ok(),
        UUID => Some(uuid::Uuid::from_slice(value).ok()?.hyphenated().to_string()),
        _ => None,
    }
}

/// 42501, as row-level security says it.
pub fn violation(check: &TenantCheck) -> Refusal {
    let message = format!("new row violates tenant isolation for relation \"{}\"", check.relation);
    Refusal::new(SqlState::DENIED, Rule("tenant-column"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_undone_by_kind() {
        assert_eq!(unquoted("'it''s'").as_deref(), Some("it's"));
        assert_eq!(unquoted("E'1'").as_deref(), Some("1"));
        assert_eq!(unquoted(r"E'\x31'"), None);
        assert_eq!(unquoted("$x$1$x$").as_deref(), Some("1"));
        assert_eq!(unquoted("$$1$$").as_deref(), Some("1"));
        assert_eq!(unquoted("42").as_deref(), Some("42"));
    }

    #[test]
    fn values_of_bare_conditions_are_held_to_their_rule() {
        assert!(rule_holds(BindRule::AtMost(2), b"ab", Format::Binary));
        assert!(!rule_holds(BindRule::AtMost(2), b"abc", Format::Text));
        assert!(!rule_holds(BindRule::LikePattern, b"a\\", Format::Text));
        assert!(rule_holds(BindRule::Jsonb, b"\x01{}", Format::Binary));
        assert!(!rule_holds(BindRule::Jsonb, b"\x02{}", Format::Binary));
        assert!(!rule_holds(BindRule::LikePattern, b"\xff", Format::Text));
    }

    #[test]
    fn binary_values_are_read_by_their_type() {
        assert_eq!(binary(INT4, &[0, 0, 0, 7]).as_deref(), Some("7"));
        assert_eq!(binary(INT8, &[0xff; 8]).as_deref(), Some("-1"));
        assert_eq!(binary(INT4, &[0, 7]), None);
        assert_eq!(binary(701, &[0; 8]), None);
        let uuid = binary(UUID, &[0x11; 16]);
        assert_eq!(uuid.as_deref(), Some("11111111-1111-1111-1111-111111111111"));
    }
}
