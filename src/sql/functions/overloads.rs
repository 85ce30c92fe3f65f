//! Which overloads a call could mean.

use crate::catalog::{Function, Oid, Snapshot};
use crate::policy::{Refusal, SqlState};
use crate::sql::resolve::{Context, coercion};

use super::verdict::RULE;

/// The schema and the name of a function, as the parser gave them.
pub(super) fn split_name<'a>(
    catalog: &Snapshot,
    name: &[&'a str],
) -> Result<(Option<&'a str>, &'a str), Refusal> {
    match *name {
        [name] => Ok((None, name)),
        [schema, name] => Ok((Some(schema), name)),
        [database, schema, name] if database == catalog.database => Ok((Some(schema), name)),
        [_, _, _] => {
            let what = format!("cross-database references are not implemented: {}", name.join("."));
            Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, what))
        }
        _ => {
            let what = format!("improper qualified name (too many dotted names): {}", name.join("."));
            Err(Refusal::new(SqlState::SYNTAX, RULE, what))
        }
    }
}

/// The overloads of the first schema that has any which the call could mean.
pub(super) fn candidates<'a>(
    catalog: &'a Snapshot,
    schema: Option<&str>,
    name: &str,
    callable: impl Fn(&Function) -> bool,
) -> Vec<&'a Function> {
    let named = catalog.functions_named(name);
    let of = |schema: &str| -> Vec<&'a Function> {
        named.iter().map(AsRef::as_ref).filter(|f| f.schema == schema && callable(f)).collect()
    };
    match schema {
        Some(schema) => of(schema),
        None => std::iter::once("pg_catalog")
            .chain(catalog.search_path.iter().map(String::as_str))
            .map(of)
            .find(|found| !found.is_empty())
            .unwrap_or_default(),
    }
}

/// Whether a call with so many arguments can mean the function: defaults and VARIADIC counted
/// (FuncnameGetCandidates, namespace.c).
pub(super) fn accepts(function: &Function, argument_count: usize) -> bool {
    let declared = function.arguments.len();
    let defaults = usize::try_from(function.defaults).unwrap_or(0);
    let fits = declared.saturating_sub(defaults) <= argument_count && argument_count <= declared;
    fits || (function.variadic != 0 && argument_count.saturating_add(1) >= declared)
}

/// Whether a function can be chosen for arguments of the known types among these (can_coerce_type, parse_coerce.c).
pub(super) fn takes(catalog: &Snapshot, function: &Function, arguments: &[Option<Oid>]) -> bool {
    let last = function.arguments.len().checked_sub(1);
    arguments.iter().enumerate().all(|(at, given)| {
        let Some(given) = *given else { return true };
        let can = |target: Oid| coercion(catalog, given, target, Context::Implicit).is_some();
        let declared = function.arguments.get(at).copied().is_some_and(can);
        let spread = function.variadic != 0 && last.is_some_and(|last| at >= last) && can(function.variadic);
        declared || spread
    })
}

/// `function f(…) does not exist`, as the server says it (func_get_detail's callers in parse_func.c); the types of the
/// arguments are left out where they are not known.
pub(super) fn undefined(schema: Option<&str>, name: &str, argument_count: usize) -> Refusal {
    let arguments = if argument_count == 0 { "()" } else { "(…)" };
    let prefix = schema.map(|s| format!("{s}.")).unwrap_or_default();
    let what = format!("function {prefix}{name}{arguments} does not exist");
    Refusal::new(SqlState::UNDEFINED_FUNCTION, RULE, what).hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}
