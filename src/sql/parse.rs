//! PostgreSQL's own parser and deparser behind one door. Nothing else in the crate makes a tree or prints one,
//! so that another binding of the same grammar could take its place.
//!
//! Both recurse: call them on a planning thread only, and drop trees there.

use pg_query::protobuf::{AConst, Node, TypeName, node::Node as NodeEnum};

use super::normalise::Statement;
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
        Ok(Self { node })
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

/// Prints a statement's tree.
pub fn deparse(node: &Node) -> Result<String, Refusal> {
    node.deparse(pg_query::DeparseOptions::default()).map_err(|e| match e {
        pg_query::Error::Parse(message) if is_depth(&message) => too_complex(),
        _ => Refusal::new(SqlState::NOT_SUPPORTED, Rule("deparse"), "the statement cannot be printed"),
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
    let mut places = text.match_indices(near).map(|(at, _)| at);
    let (first, second) = (places.next()?, places.next());
    if second.is_none() {
        return Some(first);
    }
    text.match_indices(near).map(|(at, _)| at).take(MAX_PROBES).find(|at| {
        let prefix = text.get(..at + near.len()).unwrap_or_default();
        matches!(pg_query::scan_tokens(prefix), Ok(tokens)
            if tokens.last().is_some_and(|t| usize::try_from(t.start).is_ok_and(|start| start == *at)))
            && matches!(pg_query::parse(prefix, 0), Err(pg_query::Error::Parse(m)) if m == message)
    })
}
