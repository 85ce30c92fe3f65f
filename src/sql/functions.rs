//! What may be called. A function is allowed when a rule knows it: a line of `data/functions.tsv` for
//! `pg_catalog`, a known extension of `data/extensions.tsv`, `information_schema`'s helpers, or an entry of the
//! policy. Everything else is refused, whatever it calls itself; a new major or minor release adds nothing in
//! silence.
//!
//! A name is judged together with the number of its arguments: it is allowed only when every overload that such a
//! call could choose is. A caller that knows which overload the server chooses
//! ([`resolve`](super::resolve)) asks [`Functions::verdict_of`] for that one alone.

mod table;

use crate::catalog::{Function, Oid, Snapshot};
use crate::policy::{Refusal, Rule, SqlState};

use super::resolve::{Context, FunctionMatch, Resolution, coercion, resolve_function};
use table::{Class, TABLE};

/// The rule's name in messages, audit lines and metrics.
pub const RULE: Rule = Rule("function");

/// Oids below this one are the server's own (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL_OID: Oid = 16384;

/// What is known of the functions that a call could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionVerdict {
    /// It may be called, qualified with this schema.
    Allowed {
        /// The schema that holds it.
        schema: String,
        /// The most volatile candidate's `provolatile`: i, s or v.
        volatility: char,
        /// A candidate returns a set.
        set_returning: bool,
        /// A candidate is an aggregate (ordered-set ones too, not window functions).
        aggregate: bool,
    },
    /// It depends on its arguments or on the session: the caller decides.
    Special(SpecialFunction),
    /// It may not be called, or there is none.
    Refused(Refusal),
}

/// Functions of `pg_catalog` that no list can decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialFunction {
    /// `nextval(regclass)`: a literal naming a sequence that the role may draw from.
    Nextval,
    /// `currval(regclass)`: shows the last value of the server session, whoever drew it.
    Currval,
    /// `lastval()`: the same, of any sequence.
    Lastval,
    /// `set_config(name, value, is_local)`: a SET with literal name, and a value known at Bind at the latest.
    SetConfig,
    /// `current_setting(name [, missing_ok])`: a SHOW; the name must be a literal of the allow-list.
    CurrentSetting,
    /// `pg_notify(channel, payload)`: channels are common to all tenants, so its name is made the tenant's.
    PgNotify,
    /// Advisory locks: keys are common to all tenants, so they are made the tenant's.
    AdvisoryLock(AdvisoryLock),
    /// `pg_sleep`, `pg_sleep_for`, `pg_sleep_until`: holds a server connection. Refused unless a rule allows it.
    PgSleep,
    /// `current_user()`, `session_user()`, `"user"()`, `getpgusername()`, `system_user()`: would show the proxy's
    /// own role at the server.
    CurrentUserLike,
    /// `to_regclass(text)`, `to_regrole(text)` and `regclass(text)`: a look-up in the catalog by a value.
    RegInput,
    /// `pg_input_is_valid(text, type)`, `pg_input_error_info(text, type)`: the second argument names a type, whose
    /// input function runs. Only a literal naming a base type of `pg_catalog` that is no reg* type.
    PgInputIsValid,
    /// `pg_get_serial_sequence(table, column)`: names a relation by text; reads the catalog alone.
    PgGetSerialSequence,
    /// `inet_client_addr()`, `inet_server_port()` and so on: would show the proxy's own connection.
    SessionAddress,
}

/// What a function on advisory locks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdvisoryLock {
    /// Locks for the transaction (`pg_advisory_xact_lock`, `pg_try_advisory_xact_lock`, shared or not).
    Transaction,
    /// Locks for the server session, beyond the transaction.
    Session,
    /// Gives back a session's lock.
    Unlock,
    /// Gives back all of a session's locks: the leased server connection holds no one else's.
    UnlockAll,
}

/// The judgement on functions; its rules are data.
#[derive(Debug)]
pub struct Functions;

impl Functions {
    /// Judges a call by name and number of arguments. `name` is as the parser gave it: database and schema are
    /// optional. `argument_count` counts as the server does: direct arguments, and for an ordered-set aggregate those
    /// of WITHIN GROUP too; for `count(*)` it is 0. `policy_listed` says whether the policy lists a function by
    /// schema and name; it is asked about functions outside of `pg_catalog` only.
    pub fn verdict(
        catalog: &Snapshot,
        policy_listed: &dyn Fn(&str, &str) -> bool,
        name: &[&str],
        argument_count: usize,
    ) -> FunctionVerdict {
        Self::verdict_typed(catalog, policy_listed, name, &vec![None; argument_count])
    }

    /// The same where types of arguments are known, nothing for one that is not; an untyped literal has none. Overloads
    /// that cannot take them are left out, and when all are known the one that the server chooses is judged alone.
    pub fn verdict_typed(
        catalog: &Snapshot,
        policy_listed: &dyn Fn(&str, &str) -> bool,
        name: &[&str],
        arguments: &[Option<Oid>],
    ) -> FunctionVerdict {
        let (schema, name) = match split_name(catalog, name) {
            Ok(split) => split,
            Err(refusal) => return FunctionVerdict::Refused(refusal),
        };
        if let Some(types) = arguments.iter().copied().collect::<Option<Vec<Oid>>>()
            && let Resolution::Found(FunctionMatch::Call { function, .. }) =
                resolve_function(catalog, schema, name, &types, false)
        {
            return Self::verdict_of(catalog, policy_listed, &function);
        }
        let callable = |f: &Function| accepts(f, arguments.len()) && takes(catalog, f, arguments);
        let candidates = candidates(catalog, schema, name, callable);
        let verdicts = candidates.iter().map(|f| Self::verdict_of(catalog, policy_listed, f));
        let none = || FunctionVerdict::Refused(undefined(schema, name, arguments.len()));
        verdicts.reduce(worse).unwrap_or_else(none)
    }

    /// Judges one overload.
    pub fn verdict_of(
        catalog: &Snapshot,
        policy_listed: &dyn Fn(&str, &str) -> bool,
        function: &Function,
    ) -> FunctionVerdict {
        let refuse = |why: &str| {
            let what = format!("function {}.{} {why}", function.schema, function.name);
            FunctionVerdict::Refused(Refusal::new(SqlState::DENIED, RULE, what))
        };
        if function.kind == 'p' {
            return refuse("is a procedure");
        }
        if has_internal_signature(catalog, function) {
            return refuse("belongs to the server's inside and is not called by statements");
        }
        let builtin = function.oid < FIRST_NORMAL_OID;
        match function.schema.as_str() {
            "pg_catalog" if builtin => match TABLE.class(catalog, function) {
                Some(Class::Allow) => allow(function),
                Some(Class::Special(special)) => FunctionVerdict::Special(special),
                Some(Class::Deny(why)) => refuse(why),
                None => refuse("is known to no rule"),
            },
            "information_schema" if builtin && function.name.starts_with("_pg_") => allow(function),
            schema if policy_listed(schema, &function.name) => allow(function),
            _ => match TABLE.extension(function) {
                Some(true) => allow(function),
                Some(false) => refuse("changes its session"),
                None => refuse("is not listed"),
            },
        }
    }
}

/// `function f(…) does not exist`, as the server says it (func_get_detail's callers in parse_func.c); the types of the
/// arguments are left out where they are not known.
fn undefined(schema: Option<&str>, name: &str, argument_count: usize) -> Refusal {
    let arguments = if argument_count == 0 { "()" } else { "(…)" };
    let prefix = schema.map(|s| format!("{s}.")).unwrap_or_default();
    let what = format!("function {prefix}{name}{arguments} does not exist");
    Refusal::new(SqlState::UNDEFINED_FUNCTION, RULE, what).hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

fn split_name<'a>(catalog: &Snapshot, name: &[&'a str]) -> Result<(Option<&'a str>, &'a str), Refusal> {
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
fn candidates<'a>(
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
fn accepts(function: &Function, argument_count: usize) -> bool {
    let declared = function.arguments.len();
    let defaults = usize::try_from(function.defaults).unwrap_or(0);
    let fits = declared.saturating_sub(defaults) <= argument_count && argument_count <= declared;
    fits || (function.variadic != 0 && argument_count.saturating_add(1) >= declared)
}

/// Whether a function can be chosen for arguments of the known types among these (can_coerce_type, parse_coerce.c).
fn takes(catalog: &Snapshot, function: &Function, arguments: &[Option<Oid>]) -> bool {
    let last = function.arguments.len().checked_sub(1);
    arguments.iter().enumerate().all(|(at, given)| {
        let Some(given) = *given else { return true };
        let can = |target: Oid| coercion(catalog, given, target, Context::Implicit).is_some();
        let declared = function.arguments.get(at).copied().is_some_and(can);
        let spread = function.variadic != 0 && last.is_some_and(|last| at >= last) && can(function.variadic);
        declared || spread
    })
}

fn allow(function: &Function) -> FunctionVerdict {
    FunctionVerdict::Allowed {
        schema: function.schema.clone(),
        volatility: function.volatility,
        set_returning: function.returns_set,
        aggregate: function.kind == 'a',
    }
}

/// The verdict that holds for both of two overloads: a refusal before all, then what is special.
fn worse(left: FunctionVerdict, right: FunctionVerdict) -> FunctionVerdict {
    use FunctionVerdict::{Allowed, Refused, Special};
    let rank = |v: char| "isv".find(v).unwrap_or(usize::MAX);
    match (left, right) {
        (refused @ Refused(_), _) | (_, refused @ Refused(_)) => refused,
        (special @ Special(_), _) | (_, special @ Special(_)) => special,
        (
            Allowed { schema, volatility: left, set_returning, aggregate },
            Allowed { volatility: right, set_returning: right_set, aggregate: right_aggregate, .. },
        ) => Allowed {
            schema,
            volatility: if rank(left) >= rank(right) { left } else { right },
            set_returning: set_returning || right_set,
            aggregate: aggregate || right_aggregate,
        },
    }
}

/// Whether a type in the signature can only come from the server's own code.
fn has_internal_signature(catalog: &Snapshot, function: &Function) -> bool {
    const INTERNAL: [&str; 10] = [
        "internal",
        "cstring",
        "trigger",
        "event_trigger",
        "language_handler",
        "fdw_handler",
        "index_am_handler",
        "table_am_handler",
        "tsm_handler",
        "pg_ddl_command",
    ];
    let internal = |oid: &Oid| match catalog.type_by_oid(*oid) {
        Some(ty) => ty.schema == "pg_catalog" && INTERNAL.contains(&ty.name.as_str()),
        None => true,
    };
    function.arguments.iter().chain([&function.result]).any(internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Type;

    const TYPES: [(Oid, &str); 9] = [
        (20, "int8"),
        (25, "text"),
        (28, "xid"),
        (1184, "timestamptz"),
        (1186, "interval"),
        (2205, "regclass"),
        (2275, "cstring"),
        (2281, "internal"),
        (3615, "tsquery"),
    ];

    fn catalog(functions: &[(&str, &str, &[Oid], char)]) -> Snapshot {
        let mut catalog = Snapshot::new(1, 150_020, "ccm".into(), vec!["app".into(), "ext".into()]);
        for (oid, name) in TYPES {
            catalog.add_type(Type {
                oid,
                schema: "pg_catalog".into(),
                name: name.into(),
                kind: 'b',
                category: 'X',
                preferred: false,
                element: 0,
                array: 0,
                relation: 0,
                base: 0,
                collation: 0,
                extension: None,
            });
        }
        for (number, (schema, name, arguments, volatility)) in functions.iter().enumerate() {
            let own = if *schema == "pg_catalog" || *schema == "information_schema" {
                1000
            } else {
                FIRST_NORMAL_OID
            };
            catalog.add_function(function(
                own + u32::try_from(number).unwrap_or(0),
                schema,
                name,
                arguments,
                *volatility,
            ));
        }
        catalog
    }

    fn function(oid: Oid, schema: &str, name: &str, arguments: &[Oid], volatility: char) -> Function {
        Function {
            oid,
            schema: schema.into(),
            name: name.into(),
            arguments: arguments.to_vec(),
            variadic: 0,
            defaults: 0,
            argument_names: vec![],
            result: 25,
            returns_set: false,
            out_columns: vec![],
            kind: 'f',
            volatility,
            strict: true,
            internal: true,
            source: String::new(),
            leakproof: false,
            pristine: true,
            extension: None,
        }
    }

    fn verdict(catalog: &Snapshot, name: &[&str], count: usize) -> FunctionVerdict {
        Functions::verdict(catalog, &|schema, name| (schema, name) == ("app", "vat"), name, count)
    }

    fn state(verdict: FunctionVerdict) -> &'static str {
        match verdict {
            FunctionVerdict::Allowed { .. } => "allowed",
            FunctionVerdict::Special(_) => "special",
            FunctionVerdict::Refused(refusal) => refusal.state.0,
        }
    }

    #[test]
    fn a_name_is_allowed_only_when_each_overload_of_its_arity_is() {
        let catalog = catalog(&[
            ("pg_catalog", "age", &[1184], 's'),
            ("pg_catalog", "age", &[28], 's'),
            ("pg_catalog", "age", &[1184, 1184], 'i'),
            ("pg_catalog", "ts_rewrite", &[3615, 25], 'v'),
            ("pg_catalog", "ts_rewrite", &[3615, 3615, 3615], 'i'),
        ]);
        assert_eq!(state(verdict(&catalog, &["age"], 1)), "42501");
        assert_eq!(state(verdict(&catalog, &["age"], 2)), "allowed");
        assert_eq!(state(verdict(&catalog, &["ts_rewrite"], 2)), "42501");
        assert_eq!(state(verdict(&catalog, &["pg_catalog", "ts_rewrite"], 3)), "allowed");
    }

    #[test]
    fn overloads_that_cannot_take_the_arguments_do_not_count() {
        let catalog = catalog(&[
            ("pg_catalog", "age", &[1184], 's'),
            ("pg_catalog", "age", &[28], 's'),
            ("pg_catalog", "ts_rewrite", &[3615, 25], 'v'),
        ]);
        let typed = |name: &str, types: &[Option<Oid>]| {
            state(Functions::verdict_typed(&catalog, &|_, _| false, &[name], types))
        };
        assert_eq!(typed("age", &[Some(1184)]), "allowed");
        assert_eq!(typed("age", &[Some(28)]), "42501");
        assert_eq!(typed("age", &[Some(1186)]), "42883");
        assert_eq!(typed("ts_rewrite", &[Some(3615), None]), "42501");
        assert_eq!(typed("ts_rewrite", &[Some(20), None]), "42883");
    }

    #[test]
    fn what_no_rule_knows_is_refused() {
        let catalog = catalog(&[
            ("pg_catalog", "lower", &[25], 'i'),
            ("pg_catalog", "upper", &[25], 's'),
            ("pg_catalog", "binary_upgrade_set_next_attribute_versions", &[25], 'v'),
            ("pg_catalog", "query_to_xml", &[25], 'v'),
            ("pg_catalog", "date_in", &[2275], 's'),
            ("pg_catalog", "crc32", &[25], 'i'),
            ("information_schema", "_pg_truetypid", &[25], 'i'),
            ("app", "vat", &[25], 'v'),
            ("app", "run_sql", &[25], 'i'),
            ("elsewhere", "vat", &[25], 'i'),
        ]);
        let cases: [(&[&str], usize, &str); 14] = [
            (&["lower"], 1, "allowed"),
            (&["lower"], 2, "42883"),
            (&["upper"], 1, "42501"),
            (&["binary_upgrade_set_next_attribute_versions"], 1, "42501"),
            (&["query_to_xml"], 1, "42501"),
            (&["date_in"], 1, "42501"),
            (&["crc32"], 1, "42501"),
            (&["information_schema", "_pg_truetypid"], 1, "allowed"),
            (&["vat"], 1, "allowed"),
            (&["run_sql"], 1, "42501"),
            (&["elsewhere", "vat"], 1, "42501"),
            (&["nothing"], 0, "42883"),
            (&["ccm", "pg_catalog", "lower"], 1, "allowed"),
            (&["other", "pg_catalog", "lower"], 1, "0A000"),
        ];
        for (name, count, expected) in cases {
            assert_eq!(state(verdict(&catalog, name, count)), expected, "{name:?}");
        }
    }

    #[test]
    fn a_function_that_somebody_put_into_pg_catalog_is_no_builtin() {
        let mut catalog = catalog(&[]);
        catalog.add_function(function(FIRST_NORMAL_OID, "pg_catalog", "lower", &[25], 'i'));
        assert_eq!(state(verdict(&catalog, &["lower"], 1)), "42501");
    }

    #[test]
    fn known_extensions_are_allowed_but_for_what_changes_a_session() {
        let mut catalog = catalog(&[]);
        for (name, extension) in
            [("similarity", "pg_trgm"), ("set_limit", "pg_trgm"), ("crosstab", "tablefunc")]
        {
            let extension = Some(extension.to_owned());
            catalog.add_function(Function { extension, ..function(20_000, "ext", name, &[25], 'i') });
        }
        assert_eq!(state(verdict(&catalog, &["similarity"], 1)), "allowed");
        assert_eq!(state(verdict(&catalog, &["set_limit"], 1)), "42501");
        assert_eq!(state(verdict(&catalog, &["crosstab"], 1)), "42501");
    }

    #[test]
    fn what_depends_on_its_arguments_is_left_to_the_caller() {
        let catalog = catalog(&[
            ("pg_catalog", "nextval", &[2205], 'v'),
            ("pg_catalog", "pg_try_advisory_xact_lock", &[20], 'v'),
            ("pg_catalog", "pg_advisory_unlock_all", &[], 'v'),
            ("pg_catalog", "to_regclass", &[25], 's'),
        ]);
        assert_eq!(verdict(&catalog, &["nextval"], 1), FunctionVerdict::Special(SpecialFunction::Nextval));
        assert_eq!(
            verdict(&catalog, &["pg_try_advisory_xact_lock"], 1),
            FunctionVerdict::Special(SpecialFunction::AdvisoryLock(AdvisoryLock::Transaction))
        );
        assert_eq!(
            verdict(&catalog, &["pg_advisory_unlock_all"], 0),
            FunctionVerdict::Special(SpecialFunction::AdvisoryLock(AdvisoryLock::UnlockAll))
        );
        assert_eq!(
            verdict(&catalog, &["to_regclass"], 1),
            FunctionVerdict::Special(SpecialFunction::RegInput)
        );
    }

    #[test]
    fn variadic_and_defaults_widen_what_a_count_can_mean() {
        let variadic = Function { variadic: 25, ..function(1, "pg_catalog", "concat", &[25], 's') };
        assert!([1, 5].iter().all(|n| accepts(&variadic, *n)));
        let defaults = Function { defaults: 1, ..function(1, "pg_catalog", "f", &[25, 25], 's') };
        assert!(
            accepts(&defaults, 1)
                && accepts(&defaults, 2)
                && !accepts(&defaults, 0)
                && !accepts(&defaults, 3)
        );
    }
}
