//! PostgreSQL's own parser and deparser behind one door. Nothing else in the crate makes a tree or prints one,
//! so that another binding of the same grammar could take its place.
//!
//! Both recurse: call them on a planning thread only, and drop trees there.

use pg_query::protobuf::{AConst, Node, ParseResult, RawStmt, TypeName, node::Node as NodeEnum};

use super::copy::in_words;
use super::lexer::{Kind, Lexer};
use super::print::print;
use super::shape::Statement;
use super::walk::{Visitor, walk};
use crate::policy::{Refusal, Rule, SqlState};

/// `server_version_num` from which on `1_000` and `0x1f` are numbers.
const MODERN_NUMBERS: u32 = 160_000;

/// Prefixes of a statement that are parsed to find where a syntax error is.
const MAX_PROBES: usize = 16;

/// The raw parse tree of one statement. Locations are bytes of the statement's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The statement's node.
    pub node: Node,
}

impl Tree {
    /// Parses a statement for a server of `server_version_num`.
    ///
    /// 42601 with the place for what PostgreSQL's grammar refuses and for numbers that the server would read
    /// otherwise; 54001 beyond the parser's depth; 0A000 for a type modifier that is an expression. The
    /// refusal's position is a byte of the statement's text.
    pub fn parse(statement: &Statement<'_>, server_version_num: u32) -> Result<Self, Refusal> {
        let mut node = parse_one(statement.text)?;
        if server_version_num < MODERN_NUMBERS
            && let Some(position) = statement.modern_number
        {
            let message = "numbers with underscores or a base prefix need PostgreSQL 16";
            let mut refusal = Refusal::new(SqlState::SYNTAX, Rule("syntax"), message);
            refusal.position = Some(position);
            return Err(refusal);
        }
        check_modifiers(&mut node)?;
        Ok(Self::of(node))
    }

    /// A parsed statement in the form in which it is read back once it is printed.
    pub fn of(mut node: Node) -> Self {
        in_words(&mut node);
        Self { node }
    }
}

/// Parses a view's definition or another text that is not a client's. Its constants get location −1: no
/// literal of a client's statement is at their place.
pub fn parse_definition(sql: &str) -> Result<Node, Refusal> {
    struct Unplace;
    impl Visitor for Unplace {
        fn constant(&mut self, constant: &mut AConst) {
            constant.location = -1;
        }
        fn unknown(&mut self) {}
    }
    let mut node = parse_one(sql)?;
    check_modifiers(&mut node)?;
    walk(&mut node, &mut Unplace);
    Ok(node)
}

/// Parses a text that must be exactly one statement.
pub fn parse_one(text: &str) -> Result<Node, Refusal> {
    let parsed = pg_query::parse(text, 0).map_err(|e| refuse(&e, text))?;
    let mut statements = parsed.protobuf.stmts.into_iter();
    match (statements.next().and_then(|s| s.stmt), statements.next()) {
        (Some(node), None) => Ok(*node),
        (None, _) => Err(Refusal::new(SqlState::SYNTAX, Rule("syntax"), "there is no statement")),
        (Some(_), Some(_)) => Err(Refusal::new(
            SqlState::NOT_SUPPORTED,
            Rule("syntax"),
            "the grammar and the lexer disagree where a statement ends",
        )),
    }
}

/// Prints a statement's tree, which is the same afterwards. What [`print`] does not know goes to pg_query's printer:
/// it is moved there and back, never copied.
pub fn deparse(node: &mut Node) -> Result<String, Refusal> {
    if let Some(text) = print(node) {
        return Ok(text);
    }
    let unprintable =
        || Refusal::new(SqlState::NOT_SUPPORTED, Rule("deparse"), "the statement cannot be printed");
    let Some(inner) = node.node.take() else { return Err(unprintable()) };
    let statement = RawStmt { stmt: Some(Box::new(Node { node: Some(inner) })), ..RawStmt::default() };
    let mut whole = ParseResult { stmts: vec![statement], ..ParseResult::default() };
    let printed = pg_query::deparse(&whole, pg_query::DeparseOptions::default());
    node.node = whole.stmts.pop().and_then(|s| s.stmt).and_then(|s| s.node);
    printed.map_err(|e| match e {
        pg_query::Error::Parse(message) if is_depth(&message) => too_complex(),
        _ => unprintable(),
    })
}

fn check_modifiers(node: &mut Node) -> Result<(), Refusal> {
    let mut modifiers = Modifiers { refused: None };
    walk(node, &mut modifiers);
    match modifiers.refused {
        None => Ok(()),
        Some(location) => Err(Refusal::new(
            SqlState::NOT_SUPPORTED,
            Rule("type-modifier"),
            "a type modifier must be a constant, a name or a parameter",
        )
        .at(location)),
    }
}

struct Modifiers {
    refused: Option<i32>,
}

impl Visitor for Modifiers {
    fn constant(&mut self, _: &mut AConst) {}

    fn type_name(&mut self, type_name: &mut TypeName) {
        let plain = |node: &Node| match &node.node {
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
            Some(NodeEnum::ColumnRef(name)) => {
                name.fields.len() == 1
                    && name.fields.iter().all(|f| matches!(f.node, Some(NodeEnum::String(_))))
            }
            _ => false,
        };
        if !type_name.typmods.iter().all(plain) {
            self.refused = Some(type_name.location);
        }
    }

    fn unknown(&mut self) {}
}

fn is_depth(message: &str) -> bool {
    ["nested too deeply", "stack depth limit exceeded", "memory exhausted"]
        .iter()
        .any(|m| message.contains(m))
}

fn too_complex() -> Refusal {
    Refusal::new(SqlState::TOO_COMPLEX, Rule("bounds"), "the statement is nested too deeply")
}

fn refuse(error: &pg_query::Error, text: &str) -> Refusal {
    match error {
        pg_query::Error::Parse(message) if is_depth(message) => too_complex(),
        pg_query::Error::Parse(message) => {
            let mut refusal = Refusal::new(SqlState::SYNTAX, Rule("syntax"), message.clone());
            refusal.position = position(message, text);
            refusal
        }
        pg_query::Error::Conversion(_) => {
            Refusal::new(SqlState::BAD_ENCODING, Rule("encoding"), "invalid byte sequence: 0x00")
        }
        _ => too_complex(),
    }
}

/// Where a parser's message is about. The binding gives the message alone, so the place is found by parsing
/// the text up to each occurrence of the token that the message names: the first prefix that fails in the
/// same way ends at it.
fn position(message: &str, text: &str) -> Option<usize> {
    if message.ends_with("at end of input") {
        return Some(text.len());
    }
    let (_, near) = message.split_once("at or near \"")?;
    let near = near.strip_suffix('"')?;
    if near.is_empty() {
        return None;
    }
    let ends =
        |prefix: &str| matches!(pg_query::parse(prefix, 0), Err(pg_query::Error::Parse(m)) if m == message);
    let mut found = Vec::new();
    let mut lexer = Lexer::new(text, 0);
    while let Ok(Some(token)) = lexer.next_token() {
        let here = text.get(token.start..).unwrap_or_default();
        if token.kind != Kind::Space && here.starts_with(near) {
            found.push(token.start);
        }
    }
    match found.as_slice() {
        [] => None,
        [only] => Some(*only),
        several => several
            .iter()
            .copied()
            .take(MAX_PROBES)
            .find(|at| ends(text.get(..at.saturating_add(near.len())).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Limits, statements};

    fn refusal(text: &str, version: u32) -> Refusal {
        let found = statements(text, &Limits::default()).unwrap();
        Tree::parse(&found[0], version).unwrap_err()
    }

    #[test]
    fn a_syntax_error_tells_its_place() {
        for (text, at) in [
            ("select 1 frm t", 13),
            ("select a, from t", 10),
            ("select a from t where where x", 22),
            ("select (a from t", 10),
            ("select 1 +", 10),
            ("select a from b from from c", 16),
        ] {
            let refusal = refusal(text, 180_000);
            assert_eq!((refusal.state, refusal.position), (SqlState::SYNTAX, Some(at)), "{text}");
        }
    }

    #[test]
    fn numbers_of_16_are_refused_below_it() {
        for text in ["select 1_000", "select 0x1F, 2", "select 0b10", "select 0o7"] {
            assert_eq!(refusal(text, 150_000).position, Some(7), "{text}");
            let found = statements(text, &Limits::default()).unwrap();
            assert!(Tree::parse(&found[0], 160_000).is_ok());
        }
    }

    #[test]
    fn an_expression_as_type_modifier_is_refused() {
        for text in ["select 1::numeric(1+1)", "select a::foo(b.c)", "select a::foo((select 1))"] {
            assert_eq!(refusal(text, 180_000).state, SqlState::NOT_SUPPORTED, "{text}");
        }
        for text in ["select a::geometry(Point, 4326)", "select a::numeric(3, -2)", "select a::varchar(3)[]"]
        {
            assert!(Tree::parse(&statements(text, &Limits::default()).unwrap()[0], 180_000).is_ok());
        }
    }

    #[test]
    fn depth_is_an_answer_and_not_an_abort() {
        let deep = |text: String| {
            std::thread::Builder::new()
                .stack_size(64 << 20)
                .spawn(move || refusal(&text, 180_000).state)
                .unwrap()
                .join()
                .unwrap()
        };
        assert_eq!(deep(format!("select {}1", "1+".repeat(400_000 / 2 - 2))), SqlState::TOO_COMPLEX);
        assert_eq!(deep(format!("select {}1", "not ".repeat(50_000))), SqlState::TOO_COMPLEX);
        assert_eq!(deep(format!("select 1{}", "::int".repeat(50_000))), SqlState::TOO_COMPLEX);
        assert_eq!(deep(format!("select {}", "case when ".repeat(20_000))), SqlState::TOO_COMPLEX);
    }

    #[test]
    fn an_empty_text_is_no_statement() {
        assert_eq!(parse_one("").unwrap_err().state, SqlState::SYNTAX);
        assert_eq!(parse_one("select 1; select 2").unwrap_err().state, SqlState::NOT_SUPPORTED);
    }

    #[test]
    fn constants_of_a_definition_have_no_place() {
        let node = parse_definition("select 1, 'x'").unwrap();
        assert!(!format!("{node:?}").contains("AConst { isnull: false, location: 7"));
    }
}
