//! Runs random conditions that are judged total over rows of adversarial values, and compares the objects that they
//! were typed with to those of the server's own parse tree.
//!
//! Run with a scratch database, as a superuser:
//! `PGBULKHEAD_TEST_DSN='host=… port=… user=… dbname=…' cargo test --test totality -- --ignored`.
//! `PGBULKHEAD_TEST_CASES` is the number of conditions, `PGBULKHEAD_TEST_SEED` chooses them.

mod server;

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};
use pgbulkhead::catalog::{Oid, Snapshot};
use pgbulkhead::sql::leaksafe::{BindCheck, LeakSafe, Total};
use pgbulkhead::sql::resolve::CastPath;
use pgbulkhead::sql::typed::{ColumnInfo, Expr, type_expression};

use server::{Random, Server, number};

/// A column: name, type as it is declared, the type's name in pg_type, values.
type Sample = (&'static str, &'static str, &'static str, &'static [&'static str]);

const SAMPLES: [Sample; 36] = [
    ("i8", "int8", "int8", &["0", "1", "-1", "9223372036854775807", "-9223372036854775808"]),
    ("i4", "int4", "int4", &["0", "1", "-1", "2147483647", "-2147483648"]),
    ("i2", "int2", "int2", &["0", "1", "-1", "32767", "-32768"]),
    ("id", "oid", "oid", &["0", "4294967295"]),
    ("ps", "numeric(10,2)", "numeric", &["0", "NaN", "99999999.99", "-99999999.99", "0.01"]),
    (
        "num",
        "numeric",
        "numeric",
        &["0", "NaN", "Infinity", "-Infinity", "1e131071", "-1e131071", "1e-16383", "1.5"],
    ),
    ("f8", "float8", "float8", &["0", "NaN", "Infinity", "-Infinity", "1.7e308", "-1.7e308", "5e-324"]),
    ("f4", "float4", "float4", &["0", "NaN", "Infinity", "3.4e38", "1e-45"]),
    ("b", "bool", "bool", &["t", "f"]),
    ("cash", "money", "money", &["0", "92233720368547758.07", "-92233720368547758.08"]),
    (
        "txt",
        "text",
        "text",
        &["", "\\", "(((", "%", "_a\\", "ẞİ̇ﬃ", "{\"k\":1}", " x ", "a,b", "1", "$.a", "[1,2)"],
    ),
    ("vc", "varchar(20)", "varchar", &["", "\\", "(((", "ẞİ̇ﬃ", "%\\", "x@y.z"]),
    ("bp", "char(3)", "bpchar", &["", "\\", "ẞ", "abc"]),
    ("nm", "name", "name", &["", "\\", "ẞ", "pg_class"]),
    ("ch", "\"char\"", "char", &["", "a", "\\"]),
    ("ba", "bytea", "bytea", &["", "\\x00", "\\x5c", "\\xff"]),
    ("bi", "bit(3)", "bit", &["101", "000"]),
    ("vb", "varbit", "varbit", &["", "1", "10101"]),
    (
        "uid",
        "uuid",
        "uuid",
        &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ),
    ("d", "date", "date", &["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "2024-02-29"]),
    (
        "ts",
        "timestamp",
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "2024-02-29 12:00",
        ],
    ),
    (
        "tz",
        "timestamptz",
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "2024-02-29 12:00+00",
        ],
    ),
    ("ti", "time", "time", &["00:00", "24:00", "23:59:59.999999"]),
    ("tt", "timetz", "timetz", &["00:00+15:59", "24:00-15:59"]),
    (
        "iv",
        "interval",
        "interval",
        &["0", "2147483647 months", "-2147483648 months", "2147483647 days", "-178000000 years"],
    ),
    (
        "js",
        "jsonb",
        "jsonb",
        &[
            "null",
            "{}",
            "[]",
            "{\"k\": \"v\", \"a\": [1, {\"b\": null}]}",
            "[[[[1e400]]]]",
            "\"x\"",
            "1e131071",
            "true",
        ],
    ),
    (
        "ta",
        "text[]",
        "_text",
        &["{}", "{a,NULL}", "{{a,b},{c,d}}", "[2147483645:2147483646]={a,b}", "{\"\\\\\"}"],
    ),
    ("ia", "int4[]", "_int4", &["{}", "{1,NULL}", "{{1,2},{3,4}}", "[-5:-4]={1,2}"]),
    ("na", "numeric[]", "_numeric", &["{}", "{NaN,Infinity}", "{1e131071}"]),
    ("tv", "tsvector", "tsvector", &["", "a:1A b:2", "w77 'x y':3"]),
    ("ir", "int4range", "int4range", &["empty", "(,)", "[2147483646,2147483647)", "[-2147483648,0)"]),
    ("tr", "tstzrange", "tstzrange", &["empty", "(,)", "[-infinity,infinity]", "[2024-01-01,2024-02-01)"]),
    ("nr", "numrange", "numrange", &["empty", "(,)", "[1e400,1e400]", "[0,1e400]"]),
    ("im", "int4multirange", "int4multirange", &["{}", "{(,)}", "{[1,2),[5,2147483647)}"]),
    ("ip", "inet", "inet", &["0.0.0.0", "255.255.255.255", "::/0", "10.0.0.0/8"]),
    ("mood", "mood", "mood", &["sad", "happy"]),
];

/// Literals beside the values: constants that a user would write, and some that raise.
const LITERALS: [&str; 14] =
    ["1", "0", "-1", "2", "1.5", "100", "'a'", "'a%'", "'\\'", "'year'", "'day'", "'1 day'", "'UTC'", "null"];

/// Functions that are called: listed ones and their neighbours.
const FUNCTIONS: [&str; 68] = [
    "lower",
    "upper",
    "initcap",
    "btrim",
    "ltrim",
    "rtrim",
    "length",
    "char_length",
    "octet_length",
    "left",
    "right",
    "substr",
    "substring",
    "split_part",
    "strpos",
    "starts_with",
    "replace",
    "ascii",
    "reverse",
    "concat",
    "repeat",
    "lpad",
    "chr",
    "date_part",
    "extract",
    "date_trunc",
    "isfinite",
    "date",
    "cardinality",
    "array_length",
    "array_ndims",
    "array_lower",
    "array_upper",
    "array_position",
    "isempty",
    "lower_inc",
    "upper_inf",
    "range_merge",
    "abs",
    "sign",
    "trunc",
    "scale",
    "mod",
    "ceil",
    "floor",
    "round",
    "sqrt",
    "ln",
    "jsonb_typeof",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_array_length",
    "host",
    "family",
    "masklen",
    "network",
    "int4",
    "int8",
    "numeric",
    "float8",
    "text",
    "time",
    "timestamp",
    "age",
    "now",
    "to_tsvector",
    "to_char",
    "position",
];

const CASTS: [&str; 16] = [
    "int2",
    "int4",
    "int8",
    "numeric",
    "float4",
    "float8",
    "text",
    "varchar",
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "jsonb",
    "bool",
    "text[]",
    "interval",
];

struct Generator {
    random: Random,
    operators: Vec<String>,
    /// Listed operators and functions: the text around their arguments, the types of these and of the result.
    listed: Vec<Listed>,
    /// The next literal becomes `$1`.
    parameter: bool,
}

#[derive(Clone)]
struct Listed {
    name: String,
    operator: bool,
    arguments: Vec<Oid>,
    result: Oid,
}

/// What the list admits under some condition.
fn listed(catalog: &Snapshot, list: &LeakSafe) -> Vec<Listed> {
    let mut found: Vec<Listed> = Vec::new();
    for function in catalog.functions().filter(|f| list.function(f.oid).is_some()) {
        let (name, arguments) = (format!("\"{}\"", function.name), function.arguments.clone());
        found.push(Listed { name, operator: false, arguments, result: function.result });
    }
    for operator in (0..20_000).filter_map(|oid| catalog.operator_by_oid(oid)) {
        if list.operator(operator.oid).is_some() {
            let arguments = [operator.left, operator.right].into_iter().filter(|t| *t != 0).collect();
            found.push(Listed {
                name: operator.name.clone(),
                operator: true,
                arguments,
                result: operator.result,
            });
        }
    }
    found.sort_by(|a, b| (&a.name, &a.arguments).cmp(&(&b.name, &b.arguments)));
    found
}

impl Generator {
    /// A condition of listed parts with arguments of their types.
    fn guided(&mut self, catalog: &Snapshot) -> String {
        let boolean: Vec<Listed> = self.listed.iter().filter(|l| l.result == 16).cloned().collect();
        let listed = self.random.of(&boolean).clone();
        self.applied(catalog, &listed, 3)
    }

    fn applied(&mut self, catalog: &Snapshot, listed: &Listed, depth: usize) -> String {
        // A polymorphic call's arguments are of one kind.
        let kind = self.random.below(SAMPLES.len());
        let arguments: Vec<String> =
            listed.arguments.iter().map(|ty| self.typed(catalog, *ty, kind, depth - 1)).collect();
        match (listed.operator, &*arguments) {
            (true, [left, right]) => format!("({left} {} {right})", listed.name),
            (true, [right]) => format!("({} {right})", listed.name),
            _ => format!("{}({})", listed.name, arguments.join(", ")),
        }
    }

    fn typed(&mut self, catalog: &Snapshot, ty: Oid, kind: usize, depth: usize) -> String {
        let of = |s: &Sample| catalog.find_type(None, s.2).map_or(0, |t| t.oid);
        let fits = |s: &&Sample| of(s) == ty;
        let exact: Vec<Sample> = SAMPLES.iter().filter(fits).copied().collect();
        // What has no column of its type is polymorphic, or wants a literal.
        let samples = if exact.is_empty() { vec![SAMPLES[kind]] } else { exact };
        let (name, declared, _, values) = *self.random.of(&samples);
        match self.random.below(10) {
            0..=3 => name.to_owned(),
            4 | 5 if std::mem::take(&mut self.parameter) => "$1".into(),
            4 => (*self.random.of(&LITERALS)).to_owned(),
            5 => format!("'{}'", self.random.of(values).replace('\'', "''")),
            6 => format!("'{}'::{declared}", self.random.of(values).replace('\'', "''")),
            7 => format!("coalesce({name}, '{}')", self.random.of(values).replace('\'', "''")),
            _ if depth > 0 => {
                let makers: Vec<Listed> = self.listed.iter().filter(|l| l.result == ty).cloned().collect();
                if makers.is_empty() {
                    return name.to_owned();
                }
                let maker = self.random.of(&makers).clone();
                self.applied(catalog, &maker, depth)
            }
            _ => name.to_owned(),
        }
    }

    fn condition(&mut self) -> String {
        match self.random.below(12) {
            0 => format!("{} IS NULL", self.value(2)),
            1 => format!("{} IN ({}, {})", self.value(2), self.value(1), self.value(1)),
            2 => format!("{} BETWEEN {} AND {}", self.value(2), self.value(1), self.value(1)),
            3 => format!("{} = ANY ({})", self.value(1), self.value(1)),
            4 => format!("{} LIKE {}", self.value(2), self.value(1)),
            5 => format!("({}, {}) > ({}, {})", self.value(1), self.value(1), self.value(1), self.value(1)),
            6 => format!("{} IS DISTINCT FROM {}", self.value(2), self.value(1)),
            7 => format!("({} OR NOT {})", self.comparison(), self.comparison()),
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> String {
        let name = match self.random.below(3) {
            0 => (*self.random.of(&["=", "<", ">=", "<>"])).to_owned(),
            _ => self.random.of(&self.operators).clone(),
        };
        format!("({} {name} {})", self.value(2), self.value(2))
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.below(2) == 0 {
            return match self.random.below(3) {
                0 if std::mem::take(&mut self.parameter) => "$1".into(),
                0 => (*self.random.of(&LITERALS)).to_owned(),
                1 => {
                    let (_, declared, _, values) = *self.random.of(&SAMPLES);
                    let quoted = self.random.of(values).replace('\'', "''");
                    if self.random.below(2) == 0 {
                        format!("'{quoted}'")
                    } else {
                        format!("'{quoted}'::{declared}")
                    }
                }
                _ => self.random.of(&SAMPLES).0.to_owned(),
            };
        }
        let depth = depth - 1;
        match self.random.below(9) {
            0 => format!("{}::{}", self.value(depth), self.random.of(&CASTS)),
            1 => format!("coalesce({}, {})", self.value(depth), self.value(depth)),
            2 => format!(
                "CASE WHEN {} IS NULL THEN {} ELSE {} END",
                self.value(0),
                self.value(depth),
                self.value(depth)
            ),
            3 => format!("greatest({}, {})", self.value(depth), self.value(depth)),
            4 => format!("({})[{}]", self.value(0), self.value(0)),
            5 | 6 => {
                let count = 1 + self.random.below(3);
                let arguments: Vec<String> = (0..count).map(|_| self.value(depth)).collect();
                format!("\"{}\"({})", self.random.of(&FUNCTIONS), arguments.join(", "))
            }
            7 => format!("nullif({}, {})", self.value(depth), self.value(depth)),
            _ => format!(
                "({} {} {})",
                self.value(depth),
                self.random.of(&self.operators).clone(),
                self.value(depth)
            ),
        }
    }
}

fn setup(schema: &str) -> String {
    let columns: Vec<String> = SAMPLES.iter().map(|(name, ty, ..)| format!("{name} {ty}")).collect();
    let mut text = format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema};
         CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE rows_ ({});",
        columns.join(", ")
    );
    let most = SAMPLES.iter().map(|s| s.3.len()).max().unwrap_or(0);
    for row in 0..=most {
        let value = |s: &Sample| match s.3.get(row % (s.3.len() + 1)) {
            Some(value) => format!("'{}'", value.replace('\'', "''")),
            None => "NULL".into(),
        };
        let values: Vec<String> = SAMPLES.iter().map(value).collect();
        text.push_str(&format!("INSERT INTO rows_ VALUES ({});", values.join(", ")));
    }
    text.push_str(
        "UPDATE rows_ SET num = (repeat('9', 131072) || '.5')::numeric, txt = repeat('ẞ', 200000) WHERE i8 IS NULL;",
    );
    text.push_str("SET statement_timeout = '10s'; SET client_min_messages = warning; SET TimeZone = 'America/New_York';");
    text
}

fn column(catalog: &Snapshot, column: &ColumnRef) -> Option<ColumnInfo> {
    let [Node { node: Some(NodeEnum::String(name)) }] = &*column.fields else { return None };
    let (_, declared, ty, _) = SAMPLES.iter().find(|s| s.0 == name.sval)?;
    let ty = catalog.find_type(None, ty)?;
    let typmod = match *declared {
        "numeric(10,2)" => ((10 << 16) | 2) + 4,
        "varchar(20)" => 24,
        "char(3)" => 7,
        "bit(3)" => 3,
        _ => -1,
    };
    Some(ColumnInfo {
        type_oid: ty.oid,
        typmod,
        collation: ty.collation,
        bounded: false,
        virtual_generated: false,
        base: true,
        origin: None,
    })
}

/// Operators and functions of a typed expression.
fn objects(expr: &Expr, operators: &mut BTreeSet<Oid>, functions: &mut BTreeSet<Oid>) {
    let mut list = |expressions: &[Expr]| {
        for expr in expressions {
            objects(expr, operators, functions);
        }
    };
    match expr {
        Expr::Op { operator, arguments, .. } => {
            list(arguments);
            operators.insert(operator.oid);
        }
        Expr::Call { function, arguments, .. } => {
            list(arguments);
            functions.insert(function.oid);
        }
        Expr::Cast { argument, path, .. } => {
            list(std::slice::from_ref(argument));
            if let CastPath::Function(function) = path {
                functions.insert(*function);
            }
        }
        Expr::ScalarArray { operator, left, array } => {
            list(&[(**left).clone(), (**array).clone()]);
            operators.insert(operator.oid);
        }
        Expr::Logic(arguments)
        | Expr::Pairs(arguments)
        | Expr::Array { elements: arguments, .. }
        | Expr::Coalesce { arguments, .. }
        | Expr::MinMax { arguments, .. } => list(arguments),
        Expr::NullTest(argument) | Expr::TruthTest(argument) => list(std::slice::from_ref(argument)),
        Expr::Case { conditions, results, .. } => {
            list(conditions);
            list(results);
        }
        Expr::Subscript { container, subscripts, .. } => {
            list(std::slice::from_ref(container));
            list(subscripts);
        }
        Expr::Column(_) | Expr::Const { .. } | Expr::Param { .. } | Expr::Now(_) | Expr::Other(_) => {}
    }
}

/// The oids behind a field of a parse tree.
fn field(tree: &str, name: &str) -> BTreeSet<Oid> {
    let mut found = BTreeSet::new();
    for rest in tree.split(&format!(":{name} ")).skip(1) {
        let list = rest.strip_prefix("(o ").and_then(|r| r.split_once(')')).map(|(list, _)| list);
        match list {
            Some(list) => found.extend(list.split(' ').filter_map(|n| n.parse::<Oid>().ok())),
            None => found
                .extend(rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<Oid>().ok())),
        }
    }
    found
}

fn parsed(condition: &str) -> Option<Node> {
    let parsed = pg_query::parse(&format!("SELECT {condition}"), pg_query::ParserOptions::default()).ok()?;
    let statement = parsed.protobuf.stmts.into_iter().next()?.stmt?.node?;
    let NodeEnum::SelectStmt(select) = statement else { return None };
    let NodeEnum::ResTarget(target) = select.target_list.into_iter().next()?.node? else { return None };
    target.val.map(|v| *v)
}

#[test]
#[ignore = "needs a server: PGBULKHEAD_TEST_DSN"]
fn total_conditions_raise_on_no_row() {
    let server = Server::connect(&setup("adversary"), &["adversary"]);
    let list = LeakSafe::load(&server.catalog);
    let names = server.query(
        "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 11 AND oprleft <> 0 ORDER BY 1",
    );
    let mut generator = Generator {
        random: Random::seeded(),
        operators: names,
        listed: listed(&server.catalog, &list),
        parameter: false,
    };
    let (mut bare, mut guarded, mut aside, mut wrong) = (0, 0, 0, Vec::new());
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 20_000) {
        generator.parameter = generator.random.below(3) == 0;
        let condition = match generator.random.below(4) {
            0 => generator.condition(),
            _ => generator.guided(&server.catalog),
        };
        let Some(node) = parsed(&condition) else { continue };
        let columns = |c: &ColumnRef| column(&server.catalog, c);
        let expr = type_expression(&node, &columns, &|_| None, &server.catalog);
        let Total::Yes { bind_checks, .. } = list.total(&server.catalog, &expr) else {
            guarded += 1;
            continue;
        };
        let found = if condition.contains("$1") {
            with_parameter(&server, &condition, &expr, &bind_checks)
        } else {
            with_literals(&server, &condition, &expr)
        };
        match found {
            None => aside += 1,
            Some(found) => {
                bare += 1;
                wrong.extend(found.into_iter().map(|e| format!("{condition}: {e}")));
            }
        }
    }
    assert_eq!(list.dropped(), 0, "entries that this server does not have as they were read");
    println!("{bare} total, {guarded} guarded, {aside} refused when planned");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(bare > 100, "nothing was run");
}

/// What goes wrong with a total condition over the rows; nothing where the server refuses it before any row.
fn with_literals(server: &Server, condition: &str, expr: &Expr) -> Option<Vec<String>> {
    let select = format!("SELECT count(*) FROM rows_ WHERE {condition}");
    server.run(&format!("EXPLAIN {select}")).ok()?;
    // In the target list too, where no other condition keeps a row from it.
    let statements = [select, format!("SELECT {condition} FROM rows_")];
    let mut wrong: Vec<String> = statements.iter().filter_map(|s| server.run(s).err()).collect();
    wrong.extend(difference(server, condition, expr));
    Some(wrong)
}

/// The same with a parameter of each value that the checks at Bind let through, by a plan that knows none of them.
fn with_parameter(
    server: &Server,
    condition: &str,
    expr: &Expr,
    checks: &[BindCheck],
) -> Option<Vec<String>> {
    server.run("DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan").ok()?;
    server.run(&format!("PREPARE p AS SELECT count(*) FROM rows_ WHERE {condition}")).ok()?;
    let theirs = server.query("SELECT parameter_types[1]::oid FROM pg_prepared_statements WHERE name = 'p'");
    let theirs: Oid = theirs.first()?.parse().ok()?;
    let mut wrong = Vec::new();
    let ours = parameters(expr);
    if !ours.iter().all(|ty| *ty == theirs) {
        wrong.push(format!("the parameter is {theirs}, ours {ours:?}"));
    }
    let of = |s: &&Sample| server.catalog.find_type(None, s.2).is_some_and(|t| t.oid == theirs);
    let values = SAMPLES.iter().find(of).map_or(&[][..], |s| s.3);
    for value in values.iter().filter(|v| checks.iter().all(|c| c.rule.holds(v))) {
        let execute = format!("EXECUTE p('{}')", value.replace('\'', "''"));
        // What fails when it is planned does so before any row.
        if server.run(&format!("EXPLAIN {execute}")).is_ok() {
            wrong.extend(server.run(&execute).err().map(|e| format!("{execute}: {e}")));
        }
    }
    Some(wrong)
}

/// The types of the parameters in an expression.
fn parameters(expr: &Expr) -> Vec<Oid> {
    // What an expression prints holds each parameter with its type.
    let text = format!("{expr:?}");
    let types = text.split("Param { number: 1, ty: ExprType { oid: ").skip(1);
    types.filter_map(|rest| rest.split(',').next().and_then(|n| n.parse().ok())).collect()
}

/// How the objects of a typed expression differ from the server's.
fn difference(server: &Server, condition: &str, expr: &Expr) -> Option<String> {
    let view = format!("CREATE OR REPLACE VIEW shown AS SELECT 1 AS x FROM rows_ WHERE {condition}");
    server.run(&view).ok()?;
    let tree =
        server.query("SELECT ev_action::text FROM pg_rewrite WHERE ev_class = 'shown'::regclass").pop()?;
    let (mut operators, mut functions) = (BTreeSet::new(), BTreeSet::new());
    objects(expr, &mut operators, &mut functions);
    let (_, tree) = tree.split_once(":jointree")?;
    let theirs: BTreeSet<Oid> = field(tree, "opno").union(&field(tree, "opnos")).copied().collect();
    let their_functions = field(tree, "funcid");
    let called = functions.is_subset(&their_functions);
    (operators != theirs || !called).then(|| {
        format!("operators {operators:?}, server's {theirs:?}; functions {functions:?}, server's {their_functions:?}")
    })
}

#[test]
#[ignore = "needs a server: PGBULKHEAD_TEST_DSN"]
fn what_the_rows_hold_does_raise() {
    let server = Server::connect(&setup("tame"), &["tame"]);
    for condition in [
        "txt ~ txt",
        "txt::int > 0",
        "'a' LIKE txt",
        "1 / i4 > 0",
        "i4 + 1 > 0",
        "abs(i8) > 0",
        "num * 10 > 0",
        "ceil(num) > 0",
        "d + 1 > now()",
        "tz::timestamp > now()",
        "array[ta, '{x,y}'] IS NOT NULL",
        "date_trunc('month', ts) > now()",
        "jsonb_array_length(js) > 0",
        "num::float8 > 1",
        "f8 + f8 > 1",
    ] {
        let raised = server.run(&format!("SELECT {condition} FROM rows_")).is_err();
        assert!(raised, "{condition} does not raise: the rows are too tame");
    }
}
