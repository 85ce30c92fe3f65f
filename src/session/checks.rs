//! The checks of a plan that wait for values: a pinned literal is the token that the plan was made for, and a
//! parameter of a bare condition keeps to the barrier's rule for it.

use super::host::Literals;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::Argument;
use crate::sql::copy::Transcoder;
use crate::sql::leaksafe::BindRule;
use crate::wire::frontend::{Bind, Format};

/// Checks that a plan's pinned literals are those it was made for.
#[inline]
pub fn literals(plan: &Plan, literals: &Literals<'_>) -> Result<(), Refusal> {
    if plan.planned.pins.is_empty() {
        return Ok(());
    }
    let pinned = plan.planned.pins.iter().all(|pin| literals.token(pin.index) == Some(pin.token.as_str()));
    if !pinned {
        let message = "the plan is for other literals";
        return Err(Refusal::new(SqlState::INTERNAL, Rule("plan"), message));
    }
    Ok(())
}

/// Checks that the rows of a COPY FROM can carry the tenant's value.
pub fn load(plan: &Plan, tenant: Option<&TenantId>) -> Result<(), Refusal> {
    match &plan.planned.load {
        Some(load) => Transcoder::new(load.clone(), tenant).map(|_| ()),
        None => Ok(()),
    }
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
            None => index.is_some_and(|index| is_short_enough(check.rule, bind, index)),
        };
        if !holds {
            let message = format!(
                "the value of parameter ${} is too long or malformed for the condition that it stands in",
                check.parameter
            );
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("barrier"), message));
        }
    }
    Ok(())
}

/// The same for the values of an EXECUTE: a literal is what a Bind in the text format would bring; the value of
/// an expression is not known here.
pub fn arguments(plan: &Plan, arguments: &[Argument], literals: &Literals<'_>) -> Result<(), Refusal> {
    for check in &plan.planned.bind_checks {
        let index = usize::try_from(check.parameter).ok().and_then(|number| number.checked_sub(1));
        let value = match index.and_then(|index| arguments.get(index)) {
            Some(Argument::Null) => continue,
            Some(Argument::Literal(index)) => literals.token(*index).and_then(unquoted),
            Some(Argument::Expression) | None => None,
        };
        if !value.is_some_and(|value| check.rule.holds(&value)) {
            let message = format!(
                "the value of parameter ${} must be a short literal for a condition on other tenants' rows",
                check.parameter
            );
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("barrier"), message));
        }
    }
    Ok(())
}

/// Whether the values at hand decide about every condition, of a Bind of which only the beginning is here.
pub fn are_decided(plan: &Plan, bind: &Bind<'_>) -> bool {
    plan.planned.bind_checks.iter().all(|check| {
        let Some(index) = usize::try_from(check.parameter).ok().and_then(|n| n.checked_sub(1)) else {
            return true;
        };
        match bind.missing_length(index) {
            None => true,
            Some((exact, _)) => {
                exact && matches!(check.rule, BindRule::AtMost(_)) || is_short_enough(check.rule, bind, index)
            }
        }
    })
}

/// Whether a value that has not come cannot be too long for the rule, which asks for nothing else.
fn is_short_enough(rule: BindRule, bind: &Bind<'_>, index: usize) -> bool {
    let BindRule::AtMost(most) = rule else { return false };
    bind.missing_length(index).is_some_and(|(_, length)| length <= most)
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
}
