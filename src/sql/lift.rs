//! From a rewritten tree to a template: the client's literals are cut out of the printed statement again, so
//! that one plan serves every statement of its shape.
//!
//! Each constant that stands where a literal token of the client stood becomes a marker of the same class, the
//! tree is printed once, and the printed text is cut at the markers by the lexer. A literal that cannot be
//! found again just so is left in the text, and pinned: the plan then holds for that token only.

use foldhash::{HashMap, HashSet};
use pg_query::protobuf::{AConst, Float, Integer, Node, ParamRef, String as StringNode, a_const::Val, node};

use super::lexer::{Kind, Lexer, LiteralClass, Token};
use super::parse::deparse;
use super::shape::{Pin, Statement};
use super::template::{Piece, TENANT_PARAMETER, Template};
use super::walk::{Visitor, walk};
use crate::policy::{Refusal, Rule, SqlState};

const TENANT_MARKER: &str = "pgbulkhead tenant";
const STRING_MARKER: &str = "pgbulkhead literal ";
const INTEGER_MARKER: u64 = 1_900_000_000;
const LARGE_MARKER: u64 = 7_000_000_000_000_000_000;

/// Literals that are lifted at most; more stay in the text.
const MAX_LIFTED: usize = 200_000;

/// Times a tree is printed to find out which literals can be holes; then none are.
const MAX_ATTEMPTS: usize = 3;

/// Makes the template of a rewritten tree, and the pins of the literals that are not holes in it.
///
/// Nodes that the client did not write have location −1; the tenant's place is a parameter numbered
/// [`TENANT_PARAMETER`]. `checked` are the literals that are checked otherwise each time (tenant values): they
/// are not pinned when they are not part of the template.
pub fn template(
    rewritten: &Node,
    statement: &Statement<'_>,
    checked: &[usize],
) -> Result<(Template, Vec<Pin>), Refusal> {
    template_of(&mut rewritten.clone(), statement, checked)
}

/// The same without a copy of the tree, which is as it was afterwards; not where it is refused.
pub(in crate::sql) fn template_of(
    tree: &mut Node,
    statement: &Statement<'_>,
    checked: &[usize],
) -> Result<(Template, Vec<Pin>), Refusal> {
    let mut left = Vec::new();
    let mut attempt = 0;
    let mut before = Vec::new();
    loop {
        if !before.is_empty() {
            walk(tree, &mut Unmarking { before: std::mem::take(&mut before).into_iter() });
        }
        attempt += 1;
        let mut marking = Marking {
            statement,
            left: &left,
            lifted: HashMap::default(),
            before: Vec::new(),
            tenants: 0,
            unknown: false,
        };
        walk(tree, &mut marking);
        before = std::mem::take(&mut marking.before);
        if marking.unknown && !marking.lifted.is_empty() {
            left = (0..statement.literals.len()).collect();
            continue;
        }
        let text = deparse(tree)?;
        let cut = cut(&text, &marking.lifted);
        let lost: Vec<usize> = marking
            .lifted
            .iter()
            .filter(|(index, mark)| cut.found.get(index).copied() != Some(mark.times))
            .map(|(index, _)| *index)
            .collect();
        if lost.is_empty() {
            if cut.tenants != marking.tenants {
                let message = "the tenant's place is lost when the statement is printed";
                return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("verify"), message));
            }
            let pins = pins(statement, &marking.lifted, checked);
            walk(tree, &mut Unmarking { before: before.into_iter() });
            return Ok((Template { pieces: cut.pieces }, pins));
        }
        if attempt < MAX_ATTEMPTS {
            left.extend(lost);
            left.sort_unstable();
        } else {
            left = (0..statement.literals.len()).collect();
        }
    }
}

fn pins(statement: &Statement<'_>, lifted: &HashMap<usize, Mark>, checked: &[usize]) -> Vec<Pin> {
    let checked: HashSet<usize> = checked.iter().copied().collect();
    (0..statement.literals.len())
        .filter(|index| !lifted.contains_key(index) && !checked.contains(index))
        .filter_map(|index| Some(Pin { index, token: statement.token(index)?.to_owned() }))
        .collect()
}

/// What became of one literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// The constant's sign was folded into it.
    negate: bool,
    /// Constants that came from this token (a rewriting may copy it).
    times: usize,
}

/// Puts markers into a tree.
struct Marking<'s> {
    statement: &'s Statement<'s>,
    /// Literals that stay in the text, sorted.
    left: &'s [usize],
    lifted: HashMap<usize, Mark>,
    /// What stood at each constant that the walk has shown, in the order of the walk.
    before: Vec<Before>,
    tenants: usize,
    unknown: bool,
}

/// What stood where a constant stands.
enum Before {
    Same,
    Literal(Option<Val>),
    Tenant(ParamRef),
}

impl Visitor for Marking<'_> {
    fn constant(&mut self, constant: &mut AConst) {
        let before = match self.mark_of(constant) {
            None => Before::Same,
            Some((index, class, negate)) => {
                self.lifted.entry(index).or_insert(Mark { negate, times: 0 }).times += 1;
                Before::Literal(constant.val.replace(marker(index, class, negate)))
            }
        };
        self.before.push(before);
    }

    fn parameter(&mut self, parameter: &mut Node) {
        if let Some(node::Node::ParamRef(tenant)) = parameter.node
            && tenant.number == TENANT_PARAMETER
        {
            self.before.push(Before::Tenant(tenant));
            let val = Some(Val::Sval(StringNode { sval: TENANT_MARKER.to_owned() }));
            parameter.node = Some(node::Node::AConst(AConst { isnull: false, location: -1, val }));
            self.tenants += 1;
        }
    }

    fn unknown(&mut self) {
        self.unknown = true;
    }
}

/// Takes the markers out of a tree again, in the order of the walk that put them in.
struct Unmarking {
    before: std::vec::IntoIter<Before>,
}

impl Visitor for Unmarking {
    fn constant(&mut self, _: &mut AConst) {}

    fn constant_node(&mut self, node: &mut Node) {
        match (self.before.next(), &mut node.node) {
            (Some(Before::Literal(val)), Some(node::Node::AConst(constant))) => constant.val = val,
            (Some(Before::Tenant(tenant)), place) => *place = Some(node::Node::ParamRef(tenant)),
            (Some(Before::Same | Before::Literal(_)) | None, _) => {}
        }
    }

    fn unknown(&mut self) {}
}

impl Marking<'_> {
    /// The literal that a constant becomes a hole for, with its class and sign.
    fn mark_of(&self, constant: &AConst) -> Option<(usize, LiteralClass, bool)> {
        let (index, negate) = self.origin(constant.location)?;
        let class = self.statement.literals.get(index)?.class;
        let token = self.statement.token(index).unwrap_or_default();
        let lifted = index < MAX_LIFTED
            && self.left.binary_search(&index).is_err()
            && came_from(constant, class, token, negate);
        lifted.then_some((index, class, negate))
    }

    /// The literal that a constant at `location` came from, and whether signs before it turn it round: the
    /// grammar folds a minus into a constant and moves its location to the sign (gram.y: doNegate).
    fn origin(&self, location: i32) -> Option<(usize, bool)> {
        if let Some(index) = self.statement.literal_at(location) {
            return Some((index, false));
        }
        let start = usize::try_from(location).ok()?;
        let text = self.statement.text;
        if text.as_bytes().get(start) != Some(&b'-') {
            return None;
        }
        let mut lexer = Lexer::new(text, start);
        let mut negate = false;
        while let Ok(Some(token)) = lexer.next_token() {
            match token.kind {
                Kind::Space | Kind::Open => {}
                Kind::Operator if text.get(token.start..token.end) == Some("-") => negate = !negate,
                Kind::Literal(class) if !class.is_string() => {
                    let index = self.statement.literal_at(i32::try_from(token.start).ok()?)?;
                    return Some((index, negate));
                }
                _ => return None,
            }
        }
        None
    }
}

/// Whether a constant has the value of the token at its location. Anything else is a node that has the
/// location by accident.
fn came_from(constant: &AConst, class: LiteralClass, token: &str, negate: bool) -> bool {
    match (&constant.val, class) {
        (Some(Val::Ival(Integer { ival })), LiteralClass::Integer) => {
            token.parse::<i64>().is_ok_and(|value| i64::from(*ival) == if negate { -value } else { value })
        }
        (Some(Val::Fval(Float { fval })), LiteralClass::Bigint | LiteralClass::Numeric) => {
            fval.strip_prefix('-').map_or(!negate && fval == token, |digits| negate && digits == token)
        }
        (Some(Val::Sval(value)), LiteralClass::String) => {
            let inside = token.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
            inside.is_some_and(|inside| inside.replace("''", "'") == value.sval)
        }
        (Some(Val::Sval(value)), LiteralClass::DollarString) => {
            let tag = token.get(1..).and_then(|t| t.find('$')).map_or(0, |n| n + 2);
            token.get(tag..token.len().saturating_sub(tag)) == Some(value.sval.as_str())
        }
        (Some(Val::Sval(_)), LiteralClass::EscapeString) => true,
        _ => false,
    }
}

fn marker(index: usize, class: LiteralClass, negate: bool) -> Val {
    let sign = if negate { "-" } else { "" };
    let number = |base: u64| base.saturating_add(u64::try_from(index).unwrap_or(u64::MAX));
    match class {
        LiteralClass::String | LiteralClass::EscapeString | LiteralClass::DollarString => {
            Val::Sval(StringNode { sval: format!("{STRING_MARKER}{index}") })
        }
        LiteralClass::Integer => {
            let ival = i32::try_from(number(INTEGER_MARKER)).unwrap_or(i32::MAX);
            Val::Ival(Integer { ival: if negate { -ival } else { ival } })
        }
        LiteralClass::Bigint => Val::Fval(Float { fval: format!("{sign}{}", number(LARGE_MARKER)) }),
        LiteralClass::Numeric => Val::Fval(Float { fval: format!("{sign}{}.5", number(LARGE_MARKER)) }),
    }
}

/// A printed statement, cut at its markers.
#[derive(Default)]
struct Cut {
    pieces: Vec<Piece>,
    found: HashMap<usize, usize>,
    tenants: usize,
}

impl Cut {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }
}

fn cut(text: &str, lifted: &HashMap<usize, Mark>) -> Cut {
    let mut cut = Cut::default();
    let mut lexer = Lexer::new(text, 0);
    let mut done = 0;
    let mut before: Option<Token> = None;
    while let Ok(Some(token)) = lexer.next_token() {
        let last = before.replace(token);
        let Kind::Literal(class) = token.kind else { continue };
        let word = text.get(token.start..token.end).unwrap_or_default();
        if word.strip_prefix('\'').and_then(|w| w.strip_suffix('\'')) == Some(TENANT_MARKER) {
            cut.text(text.get(done..token.start).unwrap_or_default());
            cut.pieces.push(Piece::Tenant);
            cut.tenants += 1;
            done = token.end;
            continue;
        }
        let Some(index) = marked(word, class) else { continue };
        let Some(mark) = lifted.get(&index) else { continue };
        let Some(start) = hole(text, token, last, mark.negate) else { continue };
        cut.text(text.get(done..start).unwrap_or_default());
        cut.pieces.push(Piece::Literal { index, negate: mark.negate });
        *cut.found.entry(index).or_default() += 1;
        done = token.end;
    }
    cut.text(text.get(done..).unwrap_or_default());
    cut
}

/// Where the hole for a marker begins: at its sign, where it has one. None where the token that is put in its
/// place could run into what stands before it.
fn hole(text: &str, token: Token, last: Option<Token>, negate: bool) -> Option<usize> {
    let touching = last.filter(|l| l.kind != Kind::Space);
    if negate {
        let sign = touching.filter(|l| text.get(l.start..l.end) == Some("-"))?;
        return Some(sign.start);
    }
    let free = touching.is_none_or(|l| matches!(l.kind, Kind::Open | Kind::Other | Kind::Close));
    free.then_some(token.start)
}

fn marked(word: &str, class: LiteralClass) -> Option<usize> {
    let number = |digits: &str, base: u64| {
        let index = digits.parse::<u64>().ok()?.checked_sub(base)?;
        usize::try_from(index).ok()
    };
    match class {
        LiteralClass::Integer => number(word, INTEGER_MARKER),
        LiteralClass::Bigint => number(word, LARGE_MARKER),
        LiteralClass::Numeric => number(word.strip_suffix(".5")?, LARGE_MARKER),
        LiteralClass::String => {
            word.strip_prefix('\'')?.strip_suffix('\'')?.strip_prefix(STRING_MARKER)?.parse().ok()
        }
        LiteralClass::EscapeString | LiteralClass::DollarString => None,
    }
}
