//! The catalog of a PostgreSQL 15 as a fixture: `pg_catalog` without what takes or gives internals, pg_trgm in `ext`,
//! intarray and a few objects of its own in `app`.

use pgbulkhead::catalog::{Cast, Collation, Function, Oid, Operator, Range, Snapshot, Type};

/// A snapshot of the fixture, search path `app, ext`.
pub fn fixture() -> Snapshot {
    with(|_| true, |_| {})
}

/// The fixture with functions changed or left out.
pub fn with(keep: impl Fn(&Function) -> bool, change: impl Fn(&mut Function)) -> Snapshot {
    let mut catalog = Snapshot::new(1, 150_020, "ccm".into(), vec!["app".into(), "ext".into()]);
    for line in include_str!("../fixtures/catalog_15.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[0] {
            "type" => catalog.add_type(ty(&fields)),
            "function" => {
                let mut function = function(&fields);
                change(&mut function);
                if keep(&function) {
                    catalog.add_function(function);
                }
            }
            "operator" => catalog.add_operator(operator(&fields)),
            "cast" => catalog.add_cast(Cast {
                source: oid(fields[1]),
                target: oid(fields[2]),
                context: letter(fields[3]),
                method: letter(fields[4]),
                function: oid(fields[5]),
            }),
            "range" => catalog.add_range(Range {
                range: oid(fields[1]),
                subtype: oid(fields[2]),
                multirange: oid(fields[3]),
            }),
            "collation" => catalog.add_collation(Collation {
                oid: oid(fields[1]),
                schema: fields[2].into(),
                name: fields[3].into(),
                deterministic: fields[4] == "t",
            }),
            other => panic!("a line of kind {other}"),
        }
    }
    catalog
}

fn ty(fields: &[&str]) -> Type {
    Type {
        oid: oid(fields[1]),
        schema: fields[2].into(),
        name: fields[3].into(),
        kind: letter(fields[4]),
        category: letter(fields[5]),
        preferred: fields[6] == "t",
        element: oid(fields[7]),
        array: oid(fields[8]),
        relation: oid(fields[9]),
        base: oid(fields[10]),
        collation: oid(fields[11]),
        extension: optional(fields[12]),
    }
}

fn function(fields: &[&str]) -> Function {
    Function {
        oid: oid(fields[1]),
        schema: fields[2].into(),
        name: fields[3].into(),
        arguments: fields[4].split(',').filter(|a| !a.is_empty()).map(oid).collect(),
        variadic: oid(fields[5]),
        defaults: fields[6].parse().unwrap(),
        argument_names: vec![],
        result: oid(fields[7]),
        returns_set: fields[8] == "t",
        out_columns: vec![],
        kind: letter(fields[9]),
        volatility: letter(fields[10]),
        strict: fields[11] == "t",
        internal: fields[12] == "t",
        source: fields[13].into(),
        leakproof: fields[15] == "t",
        pristine: true,
        extension: optional(fields[14]),
    }
}

fn operator(fields: &[&str]) -> Operator {
    Operator {
        oid: oid(fields[1]),
        schema: fields[2].into(),
        name: fields[3].into(),
        left: oid(fields[4]),
        right: oid(fields[5]),
        result: oid(fields[6]),
        function: oid(fields[7]),
        builtin_estimators: fields[8] == "t",
        extension: optional(fields[9]),
    }
}

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

fn letter(text: &str) -> char {
    text.chars().next().unwrap()
}

fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.into())
}
