//! Patterns of LIKE and queries of full text: literals, parameters, and what is made of them.

use crate::catalog::Oid;

use super::super::resolve::CastPath;
use super::super::typed::Expr;
use super::facts::Facts;
use super::total::{Judge, Reason, is_builtin};
use super::{BindRule, constants, types};

/// Makers of a tsquery, with a configuration and with the session's.
const MADE_BY: [&str; 4] =
    ["to_tsquery_byid", "plainto_tsquery_byid", "phraseto_tsquery_byid", "websearch_to_tsquery_byid"];
const MADE_BY_DEFAULT: [&str; 4] =
    ["to_tsquery", "plainto_tsquery", "phraseto_tsquery", "websearch_to_tsquery"];

/// What the text of a query is made of.
#[derive(Debug, Default)]
pub struct QueryPieces {
    /// Parameters: no longer than [`LARGEST_QUERY`](super::LARGEST_QUERY) each.
    pub parameters: Vec<i32>,
    /// Byte offsets of literals, no longer than that each.
    pub literals: Vec<i32>,
}

/// The pieces of a query that is made of literals and parameters by one of PostgreSQL's makers, and that so has
/// no more operators than they have bytes; nothing for any other expression.
pub fn query_pieces(expr: &Expr) -> Option<QueryPieces> {
    let Expr::Call { function, arguments, .. } = expr else { return None };
    let source = function.source.as_str();
    let text = match &**arguments {
        [Expr::Const { .. }, text] if MADE_BY.contains(&source) => text,
        [text] if MADE_BY_DEFAULT.contains(&source) => text,
        _ => return None,
    };
    if !is_builtin(function) {
        return None;
    }
    let mut pieces = QueryPieces::default();
    collect(text, &mut pieces).then_some(pieces)
}

fn collect(expr: &Expr, pieces: &mut QueryPieces) -> bool {
    match expr {
        Expr::Param { number, .. } => pieces.parameters.push(*number),
        Expr::Const { text: Some(text), location, .. } if text.len() <= constants::LARGEST_QUERY => {
            pieces.literals.push(*location);
        }
        Expr::Cast { argument, path: CastPath::Binary, .. } => return collect(argument, pieces),
        Expr::Op { operator, arguments, .. } if operator.oid == TEXT_CONCATENATION => {
            return arguments.iter().all(|argument| collect(argument, pieces));
        }
        _ => return false,
    }
    true
}

/// `text || text`.
const TEXT_CONCATENATION: Oid = 654;

impl Judge<'_> {
    /// A pattern: a literal, a literal with its ESCAPE, a parameter, what is joined of literals and parameters, and
    /// each under lower or upper.
    pub fn pattern(&mut self, expr: Option<&Expr>) -> Result<(), Reason> {
        const REASON: Reason = "a pattern that is no checked literal";
        match expr {
            Some(Expr::Const { ty, .. }) if types::is_text(ty.oid) => {
                let text = self.literal(expr)?;
                constants::pattern(text, Some('\\')).then_some(()).ok_or(REASON)
            }
            Some(Expr::Param { number, ty }) if types::is_text(ty.oid) => {
                self.check(*number, BindRule::LikePattern);
                Ok(())
            }
            Some(Expr::Cast { argument, path: CastPath::Binary, .. }) => self.pattern(Some(argument)),
            Some(Expr::Op { operator, .. }) if self.is_concatenation(operator.function) => {
                self.joined_pattern(expr)
            }
            Some(Expr::Call { function, arguments, .. }) if is_builtin(function) => {
                match (function.source.as_str(), &**arguments) {
                    ("lower" | "upper", [inner]) => self.pattern(Some(inner)),
                    ("text_concat", _) => self.joined_pattern(expr),
                    ("like_escape", [pattern, escape]) => {
                        let escape = self.literal(Some(escape))?;
                        let mut characters = escape.chars();
                        let (Some(escape), None) = (characters.next(), characters.next()) else {
                            return Err(REASON);
                        };
                        let text = self.literal(Some(pattern))?;
                        constants::pattern(text, Some(escape)).then_some(()).ok_or(REASON)
                    }
                    _ => Err(REASON),
                }
            }
            _ => Err(REASON),
        }
    }

    pub fn tsquery(&mut self, arguments: &[Expr], facts: &[Facts]) -> Result<(), Reason> {
        const TSQUERY: u32 = 3615;
        const REASON: Reason = "a query that is no checked literal";
        // A parameter's recursion is as deep as its text is long.
        let param = |a: &&Expr| matches!(a, Expr::Param { .. }) && a.ty().oid == TSQUERY;
        if let Some(Expr::Param { number, .. }) = arguments.iter().find(param) {
            self.check(*number, BindRule::AtMost(constants::LARGEST_QUERY));
            return Ok(());
        }
        let folded = |(a, f): &(&Expr, &Facts)| a.ty().oid == TSQUERY && f.folded;
        let Some((query, _)) = arguments.iter().zip(facts).find(folded) else { return Err(REASON) };
        let text = match query {
            Expr::Const { .. } => self.literal(Some(query))?,
            Expr::Call { function, arguments, .. }
                if is_builtin(function) && MADE_BY.contains(&function.source.as_str()) =>
            {
                self.literal(arguments.get(1))?
            }
            _ => return Err(REASON),
        };
        constants::tsquery(text).then_some(()).ok_or(REASON)
    }

    fn is_concatenation(&self, function: Oid) -> bool {
        self.catalog.function_by_oid(function).is_some_and(|f| is_builtin(f) && f.source == "textcat")
    }

    /// `'%' || $1 || '%'` or concat of the same: short, and its last piece is a literal that does not end in a
    /// backslash, so the pattern's end is not escaped.
    fn joined_pattern(&mut self, expr: Option<&Expr>) -> Result<(), Reason> {
        const REASON: Reason = "a pattern that may end in an escape character";
        let mut pieces = Vec::new();
        expr.map_or(Err(REASON), |expr| self.pieces(expr, &mut pieces))?;
        let (mut literals, mut parameters) = (0_usize, Vec::new());
        for piece in &pieces {
            match piece {
                Expr::Param { number, .. } => parameters.push(*number),
                _ => literals = literals.saturating_add(self.literal(Some(piece))?.len()),
            }
        }
        match pieces.last() {
            Some(last @ Expr::Const { .. }) => {
                let text = self.literal(Some(last))?;
                if text.is_empty() || text.ends_with('\\') {
                    return Err(REASON);
                }
            }
            _ => return Err(REASON),
        }
        let left = constants::LONGEST_PATTERN.checked_sub(literals).ok_or(REASON)?;
        let each = left.checked_div(parameters.len()).unwrap_or(0);
        for number in parameters {
            self.check(number, BindRule::AtMost(each));
        }
        Ok(())
    }

    /// The texts that are joined, in order.
    fn pieces<'e>(&self, expr: &'e Expr, pieces: &mut Vec<&'e Expr>) -> Result<(), Reason> {
        match expr {
            Expr::Const { ty, text: Some(_), .. } | Expr::Param { ty, .. }
                if types::is_text(ty.oid) || ty.oid == super::super::resolve::oid::UNKNOWN =>
            {
                pieces.push(expr);
                Ok(())
            }
            Expr::Const { .. } | Expr::Param { .. } => Err("a pattern of what is no text"),
            Expr::Cast { argument, path: CastPath::Binary, .. } => self.pieces(argument, pieces),
            Expr::Op { operator, arguments, .. } if self.is_concatenation(operator.function) => {
                arguments.iter().try_for_each(|argument| self.pieces(argument, pieces))
            }
            Expr::Call { function, arguments, .. }
                if is_builtin(function) && function.source == "text_concat" =>
            {
                arguments.iter().try_for_each(|argument| self.pieces(argument, pieces))
            }
            _ => Err("a pattern that is no checked literal"),
        }
    }
}
