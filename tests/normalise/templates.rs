//! One template serves every statement of its shape.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;
use pgbulkhead::sql::parse::parse_one;
use pgbulkhead::sql::{
    Limits, LiteralClass, Piece, Statement, TENANT_PARAMETER, Template, Tree, statements, template, verify,
};

use crate::SERVER;
use crate::corpus::corpus;

fn on_a_big_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 20).spawn(work).unwrap().join().unwrap();
}

fn one(text: &str) -> Option<Statement<'_>> {
    let mut found = statements(text, &Limits::default()).ok()?;
    if found.len() == 1 { found.pop() } else { None }
}

/// A tree without what depends on places.
fn shape_of(node: &Node) -> serde_json::Value {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.retain(|key, _| {
                    !key.ends_with("location")
                        && !matches!(
                            key.as_str(),
                            "list_start" | "list_end" | "rexpr_list_start" | "rexpr_list_end"
                        )
                });
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(node).unwrap();
    strip(&mut value);
    value
}

fn instantiate(template: &Template, statement: &Statement<'_>) -> String {
    let mut out = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Literal { index, negate } => {
                out.push_str(if *negate { "-" } else { "" });
                out.push_str(statement.token(*index).unwrap());
            }
            Piece::Prepared => out.push_str(Template::PREPARED),
            Piece::Channel(_) => out.push_str("pgbulkhead_channel"),
            Piece::Tenant => out.push_str("$9999"),
        }
    }
    out
}

/// Another token of the same class.
fn another(class: LiteralClass, index: usize) -> String {
    match class {
        LiteralClass::String => format!("'o''ther -- \\ /* {index} ; $$'"),
        LiteralClass::EscapeString => format!("E'o\\'ther \\\\ {index}'"),
        LiteralClass::DollarString => format!("$q$o'ther \" $ {index}$q$"),
        LiteralClass::Integer => format!("00{}", 41 + index),
        LiteralClass::Bigint => format!("{}", 8_000_000_000_u64 + u64::try_from(index).unwrap()),
        LiteralClass::Numeric => format!(".{}e3", 5 + index),
    }
}

/// The statement with every literal but those pinned replaced.
fn with_other_literals(statement: &Statement<'_>, pinned: &[usize]) -> String {
    let (mut out, mut done) = (String::new(), 0);
    for (index, literal) in statement.literals.iter().enumerate() {
        out.push_str(&statement.text[done..literal.token.start]);
        if pinned.contains(&index) {
            out.push_str(statement.token(index).unwrap());
        } else {
            out.push_str(&another(literal.class, index));
        }
        done = literal.token.end;
    }
    out.push_str(&statement.text[done..]);
    out
}

#[derive(Default, Debug)]
struct Count {
    statements: usize,
    lifted: usize,
    pinned: usize,
}

fn check_template(text: &str, count: &mut Count) {
    let Some(statement) = one(text) else { return };
    let Ok(tree) = Tree::parse(&statement, SERVER) else { return };
    if !matches!(
        tree.node.node,
        Some(
            NodeEnum::SelectStmt(_)
                | NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::MergeStmt(_)
        )
    ) {
        return;
    }
    let before = shape_of(&tree.node);
    let Ok((template, pins)) = template(&tree.node, &statement, &[]) else { panic!("{text}") };
    count.statements += 1;
    count.pinned += pins.len();
    count.lifted += statement.literals.len() - pins.len();
    let tenant_parameter = if text.contains("$65535") { 1 } else { u16::MAX };
    if let Err(refusal) = verify(&tree.node, template.clone(), &statement, tenant_parameter) {
        panic!("{text}\n{refusal:?}");
    }
    let again = instantiate(&template, &statement);
    assert_eq!(before, shape_of(&parse_one(&again).unwrap()), "{text}\n{again}");

    let pinned: Vec<usize> = pins.iter().map(|p| p.index).collect();
    let changed = with_other_literals(&statement, &pinned);
    let other = one(&changed).unwrap();
    assert_eq!(statement.shape, other.shape);
    let Ok(expected) = Tree::parse(&other, SERVER) else { panic!("{text}\n{changed}") };
    let printed = instantiate(&template, &other);
    assert_eq!(shape_of(&expected.node), shape_of(&parse_one(&printed).unwrap()), "{changed}\n{printed}");
}

/// A template made for one statement, filled with the literals of another of the same shape, is that other
/// statement.
#[test]
fn a_template_serves_every_statement_of_its_shape() {
    on_a_big_stack(|| {
        let mut count = Count::default();
        let mut pinned = BTreeSet::new();
        for text in corpus() {
            let before = count.pinned;
            check_template(text, &mut count);
            if count.pinned > before {
                pinned.insert(text);
            }
        }
        println!("{count:?}");
        for text in pinned.iter().take(40) {
            println!("pinned in: {}", text.chars().take(200).collect::<String>());
        }
        assert!(count.statements > 700 && count.lifted > 10 * count.pinned);
    });
}

#[test]
fn literals_that_decide_on_the_tree_are_pinned() {
    on_a_big_stack(|| {
        for (text, expected) in [
            ("select 1::numeric(10,2)", vec!["10", "2"]),
            ("select 'x'::varchar(3)", vec!["3"]),
            ("select 1::float(53)", vec!["53"]),
            ("select interval(3) '1 day'", vec!["3"]),
            ("select -1, - 2, -(3), - - 4, -0, 5-6, 7 - -8, -1.5, -9999999999", vec![]),
            ("select a[1:2], b from t order by 1 limit 10 offset 5", vec![]),
            ("select date '2020-01-01', timestamp 'now', interval '1' year, 't'::bool", vec![]),
            ("select x like 'a!%' escape '!' from t where y in (1,2,3) and z between -1 and 2", vec![]),
            (
                "select substring('abc' from 2 for 1), overlay('a' placing 'b' from 1), position('a' in 'b')",
                vec![],
            ),
            ("select -2147483648, -9223372036854775808", vec![]),
            ("insert into t values (1, $$x$$, E'a\\nb', 1.5, 99999999999)", vec![]),
            ("explain select 1", vec![]),
            ("set application_name = 'x'", vec!["'x'"]),
        ] {
            let statement = one(text).unwrap();
            let tree = Tree::parse(&statement, SERVER).unwrap();
            let (_, pins) = template(&tree.node, &statement, &[]).unwrap();
            let tokens: Vec<&str> = pins.iter().map(|p| p.token.as_str()).collect();
            assert_eq!(tokens, expected, "{text}");
            check_template(text, &mut Count::default());
        }
    });
}

/// Adds the tenant's predicate to a SELECT.
fn with_tenant(node: &mut Node) {
    let condition = parse_one("select tenant_id = $1::int4").unwrap();
    let Some(NodeEnum::SelectStmt(select)) = condition.node else { panic!() };
    let mut condition = select.target_list[0].clone();
    let Some(NodeEnum::ResTarget(target)) = &mut condition.node else { panic!() };
    let Some(NodeEnum::AExpr(equals)) = &mut target.val.as_mut().unwrap().node else { panic!() };
    let Some(NodeEnum::TypeCast(cast)) = &mut equals.rexpr.as_mut().unwrap().node else { panic!() };
    let Some(NodeEnum::ParamRef(parameter)) = &mut cast.arg.as_mut().unwrap().node else { panic!() };
    parameter.number = TENANT_PARAMETER;
    let Some(NodeEnum::SelectStmt(select)) = &mut node.node else { panic!() };
    select.where_clause = target.val.clone();
}

#[test]
fn the_tenant_is_a_hole_beside_the_literals() {
    let statement = one("select 1, 'pgbulkhead tenant' from t").unwrap();
    let mut tree = Tree::parse(&statement, SERVER).unwrap();
    with_tenant(&mut tree.node);
    let (template, pins) = template(&tree.node, &statement, &[]).unwrap();
    assert!(pins.is_empty());
    let text = |text: &str| Piece::Text(text.to_owned());
    let literal = |index| Piece::Literal { index, negate: false };
    assert_eq!(
        template.pieces,
        [
            text("SELECT "),
            literal(0),
            text(", "),
            literal(1),
            text(" FROM t WHERE tenant_id = "),
            Piece::Tenant,
            text("::int4")
        ]
    );
    assert!(verify(&tree.node, template, &statement, 3).is_ok());
}

/// A literal that was left in its place is text, whatever it says: it cannot become a hole.
#[test]
fn a_text_that_looks_like_a_marker_is_not_taken_for_one() {
    for text in [
        "select 1::numeric(1900000001, 2), 5 from t",
        "select 'a'::foo('pgbulkhead tenant'), 'b'::foo('pgbulkhead literal 0')",
        "select 1900000001, 1900000000, 7000000000000000001, 'pgbulkhead literal 3', 'pgbulkhead literal 0'",
        "select n'pgbulkhead literal 0', 'x', n'pgbulkhead tenant'",
    ] {
        let statement = one(text).unwrap();
        let tree = Tree::parse(&statement, SERVER).unwrap();
        if let Ok((template, _)) = template(&tree.node, &statement, &[]) {
            assert!(!template.pieces.contains(&Piece::Tenant), "{text}");
            assert!(verify(&tree.node, template, &statement, u16::MAX).is_ok(), "{text}");
        }
    }
}

#[test]
fn a_literal_that_is_checked_each_time_is_not_pinned() {
    let statement = one("insert into t values (1, 'x'::varchar(3))").unwrap();
    let tree = Tree::parse(&parse_less(&statement), SERVER).unwrap();
    let (_, pins) = template(&tree.node, &statement, &[0]).unwrap();
    let pinned: Vec<usize> = pins.iter().map(|p| p.index).collect();
    assert_eq!(pinned, [1, 2]);
}

/// Another statement, in whose tree none of the literals is.
fn parse_less<'a>(statement: &Statement<'_>) -> Statement<'a> {
    Statement { text: "insert into t values (default)", literals: Vec::new(), ..owned(statement) }
}

fn owned<'a>(statement: &Statement<'_>) -> Statement<'a> {
    Statement {
        text: "",
        offset: 0,
        shape: statement.shape.clone(),
        literals: statement.literals.clone(),
        modern_number: None,
        parameter_types: Vec::new(),
    }
}
