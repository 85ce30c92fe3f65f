//! Compares the resolution of operators, functions, casts and common types with a server's own choice, which the
//! parse tree of a view shows.
//!
//! `PGBULKHEAD_TEST_CASES` is the number of cases of each kind, `PGBULKHEAD_TEST_SEED` chooses them.

mod catalog;
mod server;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgbulkhead::catalog::{Function, Oid};
use pgbulkhead::sql::resolve::{
    CastPath, Context, FunctionMatch, OperatorMatch, Resolution, coercion, common_type, common_type_works,
    oid, resolve_function, resolve_operator, resolve_scalar_array,
};

use server::{Random, Server, number};

/// Shows the parse tree of an expression, or the SQLSTATE that it gives.
const PROBE: &str = r"
CREATE OR REPLACE FUNCTION public.probe(expressions text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE e text; found text; answers text[] := '{}';
BEGIN
  FOREACH e IN ARRAY expressions LOOP
    BEGIN
      EXECUTE 'CREATE VIEW public.probe_view AS SELECT ' || e || ' AS x';
      SELECT ev_action::text INTO found FROM pg_rewrite WHERE ev_class = 'public.probe_view'::regclass;
      EXECUTE 'DROP VIEW public.probe_view';
      found := substr(found, strpos(found, ':targetList'), 400);
    EXCEPTION WHEN OTHERS THEN found := SQLSTATE;
    END;
    answers := answers || found;
  END LOOP;
  RETURN answers;
END $$;
CREATE SCHEMA IF NOT EXISTS ext;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA ext;
DROP SCHEMA IF EXISTS shadow CASCADE;
CREATE SCHEMA shadow;
CREATE TYPE shadow.mood AS ENUM ('sad', 'happy');
CREATE DOMAIN shadow.short AS text CHECK (length(value) < 10);
CREATE DOMAIN shadow.shorter AS shadow.short;
CREATE DOMAIN shadow.cents AS int4;
CREATE DOMAIN shadow.tags AS text[];
CREATE TYPE shadow.pair AS (a int4, b text);
CREATE TABLE shadow.parent (a int4);
CREATE TABLE shadow.child () INHERITS (shadow.parent);
CREATE FUNCTION shadow.lower(varchar) RETURNS text LANGUAGE sql AS 'select $1::text';
CREATE FUNCTION shadow.pick(int4, variadic numeric[]) RETURNS int4 LANGUAGE sql AS 'select 1';
CREATE FUNCTION shadow.pick(int4, int4, int4 DEFAULT 3) RETURNS int4 LANGUAGE sql AS 'select 1';
CREATE FUNCTION shadow.pick(numeric, text DEFAULT 'x') RETURNS int4 LANGUAGE sql AS 'select 1';
CREATE FUNCTION shadow.of_parent(shadow.parent) RETURNS int4 LANGUAGE sql AS 'select 1';
CREATE FUNCTION shadow.near(shadow.cents, shadow.cents) RETURNS bool LANGUAGE sql AS 'select true';
CREATE OPERATOR shadow.=# (LEFTARG = shadow.cents, RIGHTARG = shadow.cents, FUNCTION = shadow.near);
CREATE FUNCTION shadow.same(text, varchar) RETURNS bool LANGUAGE sql AS 'select true';
CREATE OPERATOR shadow.= (LEFTARG = text, RIGHTARG = varchar, FUNCTION = shadow.same);";

const INTERNAL: Oid = 2281;

#[derive(Default, Debug)]
struct Tally {
    agreed: usize,
    unsure: usize,
    /// The server refuses for a reason that is not the choice's.
    aside: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn finish(self, kind: &str) {
        println!("{kind}: {} agreed, {} unsure, {} aside", self.agreed, self.unsure, self.aside);
        assert!(self.wrong.is_empty(), "{kind}: {} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert!(self.agreed > 100, "{kind}: nothing was compared");
    }

    /// `ours`: nothing for «unsure», else what we say in the words of [`theirs`].
    fn take(&mut self, case: &str, ours: Option<String>, theirs: &str) {
        match ours {
            _ if theirs == "aside" => self.aside += 1,
            None => self.unsure += 1,
            Some(ours) if ours == theirs => self.agreed += 1,
            Some(ours) => self.wrong.push(format!("{case}: server {theirs}, ours {ours}")),
        }
    }
}

/// A server with types to choose from.
struct Bench {
    _alone: MutexGuard<'static, ()>,
    server: Server,
    random: Random,
    /// Types with the text that makes a value of them.
    types: Vec<(Oid, String)>,
}

const TYPES: &str = "
SELECT t.oid || ' NULL::' || format_type(t.oid, -1) FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
WHERE typtype <> 'p' AND nspname IN ('pg_catalog', 'shadow', 'ext')
  AND (typtype <> 'c' OR nspname = 'shadow') AND (typcategory <> 'A' OR nspname = 'shadow'
    OR typelem IN (SELECT oid FROM pg_type e WHERE e.typtype IN ('b', 'r', 'm'))) ORDER BY t.oid";

fn connect() -> Bench {
    // The tests make the same schema.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::connect(PROBE, &["shadow", "ext"]);
    server.run("SET client_min_messages = warning").unwrap();
    let mut types = vec![(oid::UNKNOWN, "NULL".to_owned())];
    types.extend(server.query(TYPES).iter().map(|row| {
        let (oid, value) = row.split_once(' ').unwrap();
        (oid.parse().unwrap(), value.to_owned())
    }));
    Bench { _alone: alone, server, random: Random::seeded(), types }
}

impl Bench {
    /// A type, often one of `near`, a common one or none.
    fn pick(&mut self, near: &[Oid]) -> (Oid, String) {
        const COMMON: [Oid; 16] =
            [16, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1114, 1184, 1700, 2950, 3802, 1009];
        let wanted = match self.random.below(10) {
            0 | 1 => oid::UNKNOWN,
            2..=5 if !near.is_empty() => *self.random.of(near),
            6 | 7 => *self.random.of(&COMMON),
            8 if !near.is_empty() => {
                let category = self.server.catalog.type_by_oid(*self.random.of(near)).map(|t| t.category);
                let kin: Vec<Oid> = self
                    .types
                    .iter()
                    .map(|t| t.0)
                    .filter(|t| self.server.catalog.type_by_oid(*t).map(|t| t.category) == category)
                    .collect();
                if kin.is_empty() { oid::TEXT } else { *self.random.of(&kin) }
            }
            _ => self.random.of(&self.types).0,
        };
        let found = self.types.iter().find(|(oid, _)| *oid == wanted).cloned();
        found.unwrap_or_else(|| self.types[0].clone())
    }

    fn ask(&self, expressions: &[String]) -> Vec<String> {
        let quoted = |e: &String| format!("'{}'", e.replace('\'', "''"));
        let part = |part: &[String]| {
            let list: Vec<String> = part.iter().map(quoted).collect();
            self.server.query(&format!("SELECT unnest(public.probe(ARRAY[{}]))", list.join(", ")))
        };
        expressions.chunks(200).flat_map(part).collect()
    }
}

/// The outermost node of an answer and the number behind one of its fields.
fn node<'a>(answer: &'a str, field: &str) -> (&'a str, Option<Oid>) {
    let Some((_, expression)) = answer.split_once(":expr {") else { return (answer, None) };
    let kind = expression.split_whitespace().next().unwrap_or("");
    let value = expression
        .split_once(&format!(":{field} "))
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()));
    (kind, value)
}

/// What a SQLSTATE says about the choice.
fn refused(answer: &str) -> &'static str {
    match answer {
        "42883" | "42704" => "none",
        "42725" => "several",
        _ => "aside",
    }
}

fn say<T>(resolution: Resolution<T>, found: impl Fn(T) -> String) -> Option<String> {
    match resolution {
        Resolution::Found(x) => Some(found(x)),
        Resolution::NotFound => Some("none".into()),
        Resolution::Ambiguous => Some("several".into()),
        Resolution::Unsure(_) => None,
    }
}

#[test]
fn operators_are_those_that_the_server_chooses() {
    let mut bench = connect();
    let names = operator_names(&bench);
    let mut cases = Vec::new();
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 4_000) {
        let (name, near) = bench.random.of(&names).clone();
        let prefix = bench.random.below(12) == 0;
        let left = (!prefix).then(|| bench.pick(&near));
        let right = bench.pick(&near);
        let text = match &left {
            Some((_, left)) => format!("{left} {name} {}", right.1),
            None => format!("{name} {}", right.1),
        };
        cases.push((text, name, left.map(|l| l.0), right.0));
    }
    let mut tally = Tally::default();
    let answers = bench.ask(&cases.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
    for ((text, name, left, right), answer) in cases.iter().zip(&answers) {
        let theirs = match (node(answer, "opno"), node(answer, "opresulttype")) {
            (("OPEXPR", Some(operator)), (_, Some(result))) => format!("{operator} gives {result}"),
            _ => refused(answer).into(),
        };
        let ours = resolve_operator(&bench.server.catalog, None, name, *left, *right);
        tally.take(text, say(ours, |m| format!("{} gives {}", m.operator.oid, m.result)), &theirs);
    }
    tally.finish("operators");
}

#[test]
fn operators_over_arrays_are_those_that_the_server_chooses() {
    let mut bench = connect();
    let names = operator_names(&bench);
    let mut cases = Vec::new();
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 4_000) / 4 {
        let (name, near) = bench.random.of(&names).clone();
        let arrays: Vec<Oid> =
            near.iter().filter_map(|t| bench.server.catalog.type_by_oid(*t)).map(|t| t.array).collect();
        let (left, right) = (bench.pick(&near), bench.pick(&arrays));
        cases.push((format!("{} {name} ANY ({})", left.1, right.1), name, left.0, right.0));
    }
    let mut tally = Tally::default();
    let answers = bench.ask(&cases.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
    for ((text, name, left, right), answer) in cases.iter().zip(&answers) {
        let theirs = match node(answer, "opno") {
            ("SCALARARRAYOPEXPR", Some(operator)) => operator.to_string(),
            // An operand that is no array is 42809 at the server, no operator here.
            _ => refused(answer).into(),
        };
        let ours = resolve_scalar_array(&bench.server.catalog, None, name, *left, *right);
        tally.take(text, say(ours, |m| m.operator.oid.to_string()), &theirs);
    }
    tally.finish("operators over arrays");
}

/// Each operator's name with the types that operators of that name take.
fn operator_names(bench: &Bench) -> Vec<(String, Vec<Oid>)> {
    let rows = bench.server.query(
        "SELECT oprname || ' ' || string_agg(DISTINCT x::text, ' ') FROM pg_operator, unnest(ARRAY[oprleft, oprright]) x
         WHERE x <> 0 GROUP BY oprname ORDER BY oprname",
    );
    let parse = |row: &String| {
        let (name, types) = row.split_once(' ').unwrap();
        (name.to_owned(), types.split(' ').map(|t| t.parse().unwrap()).collect())
    };
    rows.iter().map(parse).collect()
}

#[test]
fn functions_are_those_that_the_server_chooses() {
    let mut bench = connect();
    // Nothing can be given for an argument of type internal.
    let callable = |f: &&Arc<Function>| f.kind != 'w' && !f.arguments.contains(&INTERNAL);
    let mut functions: Vec<_> = bench.server.catalog.functions().filter(callable).cloned().collect();
    functions.sort_by_key(|f| f.oid);
    let overloaded: Vec<Arc<_>> = functions
        .iter()
        .filter(|f| bench.server.catalog.functions_named(&f.name).len() > 1)
        .cloned()
        .collect();
    let mut cases = Vec::new();
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 4_000) {
        let list = if bench.random.below(3) == 0 { &functions } else { &overloaded };
        let function = bench.random.of(list).clone();
        let mut inputs = Vec::new();
        for near in &function.arguments {
            inputs.push(bench.pick(&[*near]));
        }
        match bench.random.below(12) {
            0 => drop(inputs.pop()),
            1 => inputs.push(bench.pick(&function.arguments)),
            _ => {}
        }
        let variadic = function.variadic != 0 && bench.random.below(3) == 0 && !inputs.is_empty();
        let list: Vec<&str> = inputs.iter().map(|i| i.1.as_str()).collect();
        let list = match list.split_last() {
            Some((last, rest)) if variadic => [rest, &[&format!("VARIADIC {last}")]].concat().join(", "),
            _ => list.join(", "),
        };
        let types: Vec<Oid> = inputs.iter().map(|i| i.0).collect();
        cases.push((format!("\"{}\"({list})", function.name), function.name.clone(), types, variadic));
    }
    let mut tally = Tally::default();
    let answers = bench.ask(&cases.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
    for ((text, name, inputs, variadic), answer) in cases.iter().zip(&answers) {
        let theirs = match (node(answer, "funcid"), node(answer, "funcresulttype")) {
            (("FUNCEXPR", Some(function)), (_, Some(result))) => format!("{function} gives {result}"),
            _ => match (node(answer, "aggfnoid"), node(answer, "aggtype")) {
                (("AGGREF", Some(function)), (_, Some(result))) => format!("{function} gives {result}"),
                _ if answer.contains(":expr {") => "cast".to_owned(),
                _ => refused(answer).into(),
            },
        };
        let ours = resolve_function(&bench.server.catalog, None, name, inputs, *variadic);
        let ours = say(ours, |m| match m {
            FunctionMatch::Call { function, result, .. } => format!("{} gives {result}", function.oid),
            FunctionMatch::Cast { .. } => "cast".into(),
        });
        tally.take(text, ours, &theirs);
    }
    tally.finish("functions");
}

#[test]
fn casts_are_those_that_the_server_chooses() {
    let mut bench = connect();
    let mut cases = Vec::new();
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 4_000) / 2 {
        let from = bench.random.of(&bench.types[1..]).clone();
        let to = bench.pick(&[from.0]);
        let target = to.1.trim_start_matches("NULL::").to_owned();
        if to.0 != oid::UNKNOWN && from.0 != to.0 {
            cases.push((format!("CAST({} AS {target})", from.1), from.0, to.0));
        }
    }
    let mut tally = Tally::default();
    let answers = bench.ask(&cases.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
    for ((text, from, to), answer) in cases.iter().zip(&answers) {
        if bench.server.catalog.type_by_oid(*to).is_some_and(|t| t.kind == 'd') {
            continue;
        }
        let theirs = match node(answer, "funcid") {
            ("FUNCEXPR", Some(function)) => format!("{:?}", CastPath::Function(function)),
            ("RELABELTYPE", _) => "Binary".into(),
            ("COERCEVIAIO", _) => "InOut".into(),
            ("ARRAYCOERCEEXPR", _) => "Array".into(),
            ("CONVERTROWTYPEEXPR", _) => "Row".into(),
            _ if answer == "42846" => "none".into(),
            (kind, _) => format!("aside {kind}").split(' ').next().unwrap_or("").into(),
        };
        let ours = match coercion(&bench.server.catalog, *from, *to, Context::Explicit) {
            None => "none".into(),
            Some(CastPath::Array(_)) => "Array".into(),
            Some(path) => format!("{path:?}"),
        };
        tally.take(text, Some(ours), &theirs);
    }
    tally.finish("casts");
}

#[test]
fn common_types_are_those_that_the_server_chooses() {
    let mut bench = connect();
    let mut cases = Vec::new();
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 4_000) / 4 {
        let first = bench.pick(&[]);
        let mut inputs = vec![first.clone()];
        for _ in 0..1 + bench.random.below(3) {
            inputs.push(bench.pick(&[first.0]));
        }
        let list: Vec<&str> = inputs.iter().map(|i| i.1.as_str()).collect();
        cases
            .push((format!("COALESCE({})", list.join(", ")), inputs.iter().map(|i| i.0).collect::<Vec<_>>()));
    }
    let mut tally = Tally::default();
    let answers = bench.ask(&cases.iter().map(|c| c.0.clone()).collect::<Vec<_>>());
    for ((text, inputs), answer) in cases.iter().zip(&answers) {
        let theirs = match node(answer, "coalescetype") {
            ("COALESCEEXPR" | "COALESCE", Some(common)) => common.to_string(),
            _ if answer == "42804" || answer == "42846" => "none".into(),
            _ => "aside".into(),
        };
        let common = common_type(&bench.server.catalog, inputs);
        let ours = common.filter(|c| common_type_works(&bench.server.catalog, *c, inputs));
        tally.take(text, Some(ours.map_or("none".into(), |c| c.to_string())), &theirs);
    }
    tally.finish("common types");
}

#[test]
fn recorded_choices_are_made_again() {
    let catalog = catalog::fixture();
    let mut tally = Tally::default();
    for line in include_str!("resolution_cases.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, name, types, expected] = *fields else { panic!("{line}: four fields") };
        let types: Vec<Oid> = types.split(' ').filter_map(|t| t.parse().ok()).collect();
        let ours = match (kind, &*types) {
            ("operator", [right]) => operator(resolve_operator(&catalog, None, name, None, *right)),
            ("operator", [left, right]) => {
                operator(resolve_operator(&catalog, None, name, Some(*left), *right))
            }
            _ => say(resolve_function(&catalog, None, name, &types, false), |m| match m {
                FunctionMatch::Call { function, result, .. } => format!("{} {result}", function.oid),
                FunctionMatch::Cast { .. } => "cast".into(),
            }),
        };
        tally.take(line, ours, expected);
    }
    tally.finish("recorded choices");
}

fn operator(found: Resolution<OperatorMatch>) -> Option<String> {
    say(found, |m| format!("{} {}", m.operator.oid, m.result))
}
