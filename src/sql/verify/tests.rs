use super::*;
use crate::sql::{Literal, LiteralClass};

const TENANT_MARK: &str = "$2147483647";

fn tree(sql: &str) -> Node {
    let parsed = pg_query::parse(sql, 0).expect("test SQL parses");
    *parsed.protobuf.stmts[0].stmt.clone().expect("a statement")
}

/// A client's statement whose literals are the given tokens.
fn client<'a>(text: &'a str, tokens: &[(&str, LiteralClass)]) -> Statement<'a> {
    let literals = tokens.iter().map(|(token, class)| {
        let start = text.find(token).expect("the token is in the text");
        Literal { token: start..start + token.len(), class: *class }
    });
    Statement {
        text,
        offset: 0,
        shape: text.to_owned(),
        literals: literals.collect(),
        modern_number: None,
        parameter_types: Vec::new(),
    }
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

/// Cuts a text at the tenant's mark and at `#0`, `#1`, `-#0`.
fn template(printed: &str) -> Template {
    let mut pieces = Vec::new();
    for (i, part) in printed.split(TENANT_MARK).enumerate() {
        if i > 0 {
            pieces.push(Piece::Tenant);
        }
        let mut rest = part;
        while let Some(at) = rest.find('#') {
            let negate = rest[..at].ends_with('-');
            pieces.push(text(&rest[..at - usize::from(negate)]));
            let index = usize::from(rest.as_bytes()[at + 1] - b'0');
            pieces.push(Piece::Literal { index, negate });
            rest = &rest[at + 2..];
        }
        pieces.push(text(rest));
    }
    Template { pieces }
}

fn reason(result: Result<VerifiedSql, Refusal>) -> String {
    let refusal = result.expect_err("is refused");
    assert_eq!((refusal.state.0, refusal.rule.0), ("0A000", "verify"));
    refusal.quarantined.expect("both texts are kept").reason
}

#[test]
fn the_decided_tree_is_let_through() {
    let sql = "SELECT d.id FROM app.documents d WHERE d.tenant_id OPERATOR(pg_catalog.=) $2147483647::int AND d.id = $1";
    let verified = verify(&tree(sql), template(sql), &client("select", &[]), 2).expect("verified");
    assert!(verified.uses_tenant());
    let mut out = Vec::new();
    verified.render_extended(&mut out, 2, |_| b"");
    assert_eq!(out, sql.replace(TENANT_MARK, "$2").as_bytes());
}

#[test]
fn another_tree_is_refused_with_both_texts() {
    let decided = tree("SELECT 1 FROM app.t WHERE t.a OPERATOR(pg_catalog.=) $2147483647::int");
    let other = template("SELECT 1 FROM app.t WHERE t.b OPERATOR(pg_catalog.=) $2147483647::int");
    let refusal = verify(&decided, other, &client("select 1 from t", &[]), 1).expect_err("refused");
    let kept = refusal.quarantined.expect("kept");
    assert_eq!(kept.original, "select 1 from t");
    assert_eq!(kept.rewritten, "SELECT 1 FROM app.t WHERE t.b OPERATOR(pg_catalog.=) $1::int");
    assert_eq!(kept.reason, "the text reads as another tree");
}

#[test]
fn every_kind_of_difference_is_seen() {
    let pairs = [
        ("SELECT a FROM s.t", "SELECT b FROM s.t"),
        ("SELECT 1", "SELECT 1.0"),
        ("SELECT '1'", "SELECT 1"),
        ("SELECT ''", "SELECT NULL"),
        ("SELECT $1", "SELECT $2"),
        ("SELECT a FROM s.t LEFT JOIN s.u ON true", "SELECT a FROM s.t JOIN s.u ON true"),
        ("SELECT a FROM s.t", "SELECT a FROM ONLY s.t"),
        ("SELECT a FROM s.t UNION SELECT 1", "SELECT a FROM s.t UNION ALL SELECT 1"),
        ("SELECT a FROM s.t FOR UPDATE", "SELECT a FROM s.t FOR SHARE"),
        ("SELECT a FROM s.t ORDER BY 1", "SELECT a FROM s.t ORDER BY 1 DESC"),
        ("SELECT a OPERATOR(pg_catalog.=) b FROM s.t", "SELECT a = b FROM s.t"),
        ("WITH x AS MATERIALIZED (SELECT 1) SELECT 1", "WITH x AS (SELECT 1) SELECT 1"),
        ("SELECT a FROM s.t WHERE b AND c OR d", "SELECT a FROM s.t WHERE b AND (c OR d)"),
        ("INSERT INTO s.t (a, b) VALUES (1, 2)", "INSERT INTO s.t (b, a) VALUES (1, 2)"),
        ("SELECT count(*)", "SELECT count(DISTINCT a)"),
        ("SELECT b'1'", "SELECT x'1'"),
    ];
    for (decided, printed) in pairs {
        let result = verify(&tree(decided), template(printed), &client("", &[]), 9);
        assert!(result.is_err(), "{decided}\n{printed}");
        assert!(verify(&tree(printed), template(printed), &client("", &[]), 9).is_ok(), "{printed}");
    }
}

#[test]
fn places_do_not_matter() {
    let printed = "SELECT a, 'x' FROM s.t AS t WHERE (a > 1) AND b IN (1, 2)";
    let decided = tree("select  a ,  'x'  from  s.t  t  where a>1 and b in(1,2)");
    assert!(verify(&decided, template(printed), &client("", &[]), 1).is_ok());
}

#[test]
fn exactly_one_statement_is_let_through() {
    let decided = tree("SELECT 1");
    for printed in ["SELECT 1; SELECT 1", "", "-- nothing"] {
        assert!(verify(&decided, template(printed), &client("", &[]), 1).is_err(), "{printed}");
    }
}

#[test]
fn literals_come_back_as_the_tokens_they_were() {
    let statement = client(
        "where a = 'it''s' and b = -42",
        &[("'it''s'", LiteralClass::String), ("42", LiteralClass::Integer)],
    );
    let decided = tree("SELECT 1 FROM s.t WHERE a = 'it''s' AND b = -42");
    let verified =
        verify(&decided, template("SELECT 1 FROM s.t WHERE a = #0 AND b = -#1"), &statement, 1).expect("ok");
    let mut out = Vec::new();
    verified.render_simple(&mut out, None, |i| [b"'x\\'".as_slice(), b"7"][i]);
    assert_eq!(out, b"SELECT 1 FROM s.t WHERE a = 'x\\' AND b = -7");
}

#[test]
fn a_hole_inside_a_string_is_refused_even_where_the_tree_is_equal() {
    let statement = client("select 42", &[("42", LiteralClass::Integer)]);
    let result = verify(&tree("SELECT 'a42'"), template("SELECT 'a#0'"), &statement, 1);
    assert_eq!(reason(result), "a literal's hole is not a constant of its own");
}

#[test]
fn a_hole_glued_to_another_token_is_refused() {
    let string = client("select 'ab'", &[("'ab'", LiteralClass::String)]);
    for (decided, printed) in [
        ("SELECT e'ab'", "SELECT e#0"),
        ("SELECT x'ab'", "SELECT x#0"),
        ("SELECT u&'ab'", "SELECT u&#0"),
        ("SELECT 'a''ab'", "SELECT 'a'#0"),
        ("SELECT \"'ab'\"", "SELECT \"#0\""),
        ("SELECT 1", "SELECT 1 -- #0"),
    ] {
        assert!(verify(&tree(decided), template(printed), &string, 1).is_err(), "{printed}");
    }
    let digits = client("select 42", &[("42", LiteralClass::Integer)]);
    for (decided, printed) in
        [("SELECT 142", "SELECT 1#0"), ("SELECT 1.42", "SELECT 1.#0"), ("SELECT a42", "SELECT a#0")]
    {
        assert!(verify(&tree(decided), template(printed), &digits, 1).is_err(), "{printed}");
    }
}

#[test]
fn a_tenant_inside_a_string_is_refused() {
    let result = verify(&tree("SELECT ' $2'"), template("SELECT ' $2147483647'"), &client("", &[]), 2);
    assert_eq!(reason(result), "the tenant's holes are not the tenant's parameters");
}

#[test]
fn a_tenant_that_a_quote_would_change_is_refused() {
    let result = verify(&tree("SELECT u&$2147483647"), template("SELECT u&$2147483647"), &client("", &[]), 2);
    assert_eq!(reason(result), "the tenant's hole does not stand free");
}

#[test]
fn the_clients_parameter_is_never_the_tenants() {
    let sql = "SELECT 1 FROM s.t WHERE a = $2 AND b = $2147483647";
    assert_eq!(
        reason(verify(&tree(sql), template(sql), &client("", &[]), 2)),
        "the client's parameter has the tenant's number"
    );
    assert!(verify(&tree(sql), template(sql), &client("", &[]), 3).is_ok());
    // The tenant printed as plain text instead of a hole would be sent unbound in the simple protocol.
    let decided = tree("SELECT $2147483647::int");
    assert!(verify(&decided, template("SELECT $2::int"), &client("", &[]), 2).is_err());
}

#[test]
fn a_hole_without_a_literal_is_refused() {
    let result = verify(&tree("SELECT 1"), template("SELECT #3"), &client("select 1", &[]), 1);
    assert_eq!(reason(result), "a hole has no literal");
}

/// Prints what verification costs; `cargo test --profile ci verification_cost -- --nocapture`.
#[test]
fn verification_cost() {
    let sql = "SELECT d.id, d.title, d.status, c.name AS customer, t.name AS template, l.state FROM app.documents d \
               JOIN app.customers c ON c.id = d.customer_id LEFT JOIN app.templates t ON t.tenant_id OPERATOR(pg_catalog.=) \
               $2147483647::int AND t.id = d.template_id LEFT JOIN app.deliveries l ON l.tenant_id OPERATOR(pg_catalog.=) \
               $2147483647::int AND l.document_id = d.id WHERE d.tenant_id OPERATOR(pg_catalog.=) $2147483647::int AND \
               c.tenant_id OPERATOR(pg_catalog.=) $2147483647::int AND d.status = 'sent' ORDER BY d.created_at DESC LIMIT 50";
    let (decided, printed, statement) = (tree(sql), template(sql), client("", &[]));
    let best = |work: &dyn Fn()| {
        let run = |_| {
            let start = std::time::Instant::now();
            (0..50).for_each(|_| work());
            start.elapsed() / 50
        };
        (0..9).map(run).min().expect("nine runs")
    };
    let parse = best(&|| drop(pg_query::parse(&sql.replace(TENANT_MARK, "$2"), 0)));
    let encode = best(&|| drop(canonical::encode(&decided)));
    let whole = best(&|| drop(verify(&decided, printed.clone(), &statement, 2)));
    println!("{} bytes: parse {parse:?}, encode {encode:?} (twice), verify {whole:?}", sql.len());
    assert!(verify(&decided, printed, &statement, 2).is_ok());
}

#[test]
fn both_ways_to_compare_give_the_same_answer() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/legit.jsonl");
    let lines = std::fs::read_to_string(corpus).unwrap();
    let texts = lines.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["sql"].as_str().map(str::to_owned)
    });
    let more = [
        "select $1::numeric($2, 3)",
        "update t set (a, b) = (select $1, 2)",
        "begin",
        "listen a",
        "listen b",
    ];
    let parsed = |sql: String| pg_query::parse(&sql, 0).ok()?.protobuf.stmts.pop()?.stmt.map(|tree| *tree);
    let trees: Vec<Node> = texts.chain(more.map(str::to_owned)).filter_map(parsed).collect();
    assert!(trees.len() > 100);
    // The dear way is for utility statements.
    let unknown = trees.iter().filter(|tree| Places::of_decided(&mut (*tree).clone()).unknown).count();
    assert!(unknown * 10 < trees.len(), "{unknown} of {}", trees.len());
    for pair in trees.windows(2) {
        let [one, other] = pair else { continue };
        for (decided, read) in [(one, one), (one, other)] {
            let by_encoding = equal_as_bytes(decided, read, 7);
            let by_fields = equal(&mut decided.clone(), &mut read.clone(), 7);
            assert_eq!(by_encoding.is_ok(), by_fields.is_ok());
            assert_eq!(by_fields.is_ok(), std::ptr::eq(decided, read) || decided == read);
            let places = |found: Result<Places, String>| {
                let Ok(Places { parameters, mut constants, .. }) = found else { return Default::default() };
                let mut parameters: Vec<_> = parameters.iter().map(|p| (p.number, p.location)).collect();
                parameters.sort_unstable();
                constants.sort_unstable();
                (parameters, constants)
            };
            assert_eq!(places(by_encoding), places(by_fields));
        }
    }
}

#[test]
fn the_tenants_mark_is_no_parameter_that_can_be_sent() {
    let sql = "SELECT 1 WHERE a = $2147483647";
    let unmarked = Template { pieces: vec![text(sql)] };
    assert_eq!(
        reason(verify(&tree(sql), unmarked, &client("", &[]), 3)),
        "the text has the tenant's mark for a parameter"
    );
}
