//! COPY … FROM STDIN, which sqlparser reads in another dialect only: cut at its WHERE, whose condition sqlparser
//! reads. Each row that is loaded passes it, so that it must prove the row to be the tenant's.

use sqlparser::ast::{Expr, Ident, ObjectName};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::Token;

use super::facts::Tenancy;
use super::names;
use super::predicate::Access;
use super::scope::Scope;
use super::{MAX_NESTING, Walk, tokens};

/// A COPY FROM STDIN.
pub(super) struct CopyFrom {
    name: ObjectName,
    /// The columns by name; none: all of them.
    columns: Vec<Ident>,
    condition: Option<Expr>,
}

/// Reads a COPY FROM STDIN; none for any other statement.
pub(super) fn read(sql: &str) -> Option<Result<CopyFrom, String>> {
    if !sql.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("copy ")) {
        return None;
    }
    let tokens = match tokens::of(sql) {
        Ok(tokens) => tokens,
        Err(reason) => return Some(Err(reason)),
    };
    let from = outside(&tokens, |pair| matches!(pair, [Keyword::FROM, Keyword::STDIN]))?;
    Some(cut(&tokens, from))
}

fn cut(tokens: &[Token], from: usize) -> Result<CopyFrom, String> {
    let head = tokens.get(1..from).unwrap_or_default();
    let end = head.iter().position(|token| *token == Token::LParen).unwrap_or(head.len());
    let (name, columns) = head.split_at_checked(end).unwrap_or((head, &[]));
    let mut named = parser(name.to_vec());
    let name = named.parse_object_name(false).map_err(|e| e.to_string())?;
    let (only_names, columns) = match columns {
        [] => (true, Vec::new()),
        [Token::LParen, names @ .., Token::RParen] => {
            let only = names.iter().all(|token| matches!(token, Token::Word(_) | Token::Comma));
            (only, names.iter().filter_map(name_of).collect())
        }
        _ => (false, Vec::new()),
    };
    if named.peek_token().token != Token::EOF || !only_names {
        return Err("a COPY of something else than a relation's columns".into());
    }
    let rest = tokens.get(from.saturating_add(2)..).unwrap_or_default();
    let Some(condition) = outside(rest, |pair| matches!(pair, [Keyword::WHERE, _])) else {
        return Ok(CopyFrom { name, columns, condition: None });
    };
    let mut parser = parser(rest.get(condition.saturating_add(1)..).unwrap_or_default().to_vec());
    let condition = parser.parse_expr().map_err(|e| e.to_string())?;
    if parser.peek_token().token != Token::EOF {
        return Err("something stands behind the condition of a COPY".into());
    }
    Ok(CopyFrom { name, columns, condition: Some(condition) })
}

fn name_of(token: &Token) -> Option<Ident> {
    match token {
        Token::Word(word) => Some(match word.quote_style {
            Some(quote) => Ident::with_quote(quote, word.value.as_str()),
            None => Ident::new(word.value.as_str()),
        }),
        _ => None,
    }
}

fn parser(tokens: Vec<Token>) -> Parser<'static> {
    Parser::new(&PostgreSqlDialect {})
        .with_options(ParserOptions::new().with_unescape(false))
        .with_recursion_limit(MAX_NESTING)
        .with_tokens(tokens)
}

/// The first place outside parentheses whose word and the next are these.
fn outside(tokens: &[Token], wanted: impl Fn([Keyword; 2]) -> bool) -> Option<usize> {
    let mut depth = 0usize;
    tokens.iter().enumerate().position(|(at, token)| {
        match token {
            Token::LParen => depth = depth.saturating_add(1),
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let next = tokens.get(at.saturating_add(1));
        depth == 0 && wanted([tokens::keyword(Some(token)), tokens::keyword(next)])
    })
}

impl Walk<'_> {
    /// Walks a COPY FROM STDIN.
    pub(super) fn copy_from(&mut self, copy: &CopyFrom, scope: &Scope<'_>) {
        let CopyFrom { name, columns, condition } = copy;
        self.optional(condition.as_ref(), scope);
        let Some(leaf) = self.target(self.leaf_named(name, None), &name.to_string()) else { return };
        let proved = match &leaf.tenancy {
            Tenancy::Shared => true,
            Tenancy::Tenant { .. } => condition
                .as_ref()
                .is_some_and(|condition| self.prover.restricts_or_guards(condition, &leaf, Access::Write)),
            // A condition of COPY has no sub-select: a parent cannot be proved.
            Tenancy::Child { .. } | Tenancy::Catalog | Tenancy::Unknown => false,
        };
        if !proved {
            self.contradict(format!("COPY into {name} does not prove its rows to be the tenant's"));
        }
        let given = |column: &String| columns.is_empty() || columns.iter().any(|c| names::fold(c) == *column);
        for key in self.prover.facts.keys(&leaf.schema, &leaf.name) {
            if key.null_by_default.iter().all(given) {
                self.unproved_key(&leaf, &key);
            }
        }
    }
}
