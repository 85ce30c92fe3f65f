//! What may be called. A function is allowed when a rule knows it: a line of `data/functions.tsv` for
//! `pg_catalog`, a known extension of `data/extensions.tsv`, `information_schema`'s helpers, or an entry of the
//! policy. Everything else is refused, whatever it calls itself; a new major or minor release adds nothing in
//! silence.
//!
//! A name is judged together with the number of its arguments: it is allowed only when every overload that such a
//! call could choose is. Where the types of the arguments tell which one the server chooses
//! ([`resolve`](super::resolve)), that one is judged alone.

mod overloads;
mod table;
mod verdict;

use crate::catalog::{Function, Oid, Snapshot};
use crate::policy::{Refusal, SqlState};

use super::resolve::{FunctionMatch, Resolution, resolve_function};
use overloads::{accepts, candidates, split_name, takes, undefined};
use table::{Class, TABLE};

pub use verdict::{AdvisoryLock, FunctionVerdict, RULE, SpecialFunction};

/// Oids below this one are the server's own (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL_OID: Oid = 16384;

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
        verdicts.reduce(FunctionVerdict::worse).unwrap_or_else(none)
    }

    /// Judges one overload.
    fn verdict_of(
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
                Some(Class::Allow) => FunctionVerdict::allowed(function),
                Some(Class::Special(special)) => FunctionVerdict::Special(special),
                Some(Class::Deny(why)) => refuse(why),
                None => refuse("is known to no rule"),
            },
            "information_schema" if builtin && function.name.starts_with("_pg_") => {
                FunctionVerdict::allowed(function)
            }
            schema if policy_listed(schema, &function.name) => FunctionVerdict::allowed(function),
            _ => match TABLE.extension(function) {
                Some(true) => FunctionVerdict::allowed(function),
                Some(false) => refuse("changes its session"),
                None => refuse("is not listed"),
            },
        }
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
