//! Where sqlparser's tokens differ from PostgreSQL's, and the difference only costs readable statements: put right
//! before it parses. Nothing that can hold a relation is touched.
//!
//! * Words that other databases reserve and PostgreSQL does not know (`qualify`, `settings`, `minus`): plain names.
//! * Row locks: `FOR NO KEY UPDATE` and `FOR KEY SHARE` are read as `FOR UPDATE` and `FOR SHARE`, and of the aliases
//!   after OF the first is kept. A lock names aliases of its level, and no relation.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

/// Cuts a text into tokens. Literals keep their escapes: unescaping and printing again would turn data into SQL.
pub(super) fn of(sql: &str) -> Result<Vec<Token>, String> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).with_unescape(false).tokenize().map_err(|e| e.to_string())?;
    let words = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    Ok(plain_locks(words.map(plain_name).collect()))
}

/// A word that PostgreSQL's grammar does not know is a name (checked against PostgreSQL 18's kwlist.h).
fn plain_name(mut token: Token) -> Token {
    if let Token::Word(word) = &mut token
        && matches!(
            word.keyword,
            Keyword::ANTI
                | Keyword::APPLY
                | Keyword::ASOF
                | Keyword::CONNECT
                | Keyword::CONVERT
                | Keyword::DISTRIBUTE
                | Keyword::DIV
                | Keyword::INTERPOLATE
                | Keyword::LAMBDA
                | Keyword::MATCH_CONDITION
                | Keyword::MATCH_RECOGNIZE
                | Keyword::MINUS
                | Keyword::OPEN
                | Keyword::OUTPUT
                | Keyword::PIVOT
                | Keyword::PREWHERE
                | Keyword::QUALIFY
                | Keyword::REGEXP
                | Keyword::RLIKE
                | Keyword::SAMPLE
                | Keyword::SEMI
                | Keyword::SETTINGS
                | Keyword::SORT
                | Keyword::STRAIGHT_JOIN
                | Keyword::STRUCT
                | Keyword::TOP
                | Keyword::TRY_CAST
                | Keyword::TRY_CONVERT
                | Keyword::SAFE_CAST
                | Keyword::UNPIVOT
                | Keyword::XOR
        )
    {
        word.keyword = Keyword::NoKeyword;
    }
    token
}

fn plain_locks(tokens: Vec<Token>) -> Vec<Token> {
    let mut read = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        read.push(token.clone());
        rest = after;
        if keyword(Some(token)) == Keyword::FOR {
            rest = plain_lock(&mut read, after);
        }
    }
    read
}

/// Reads the lock after FOR, if it is one; gives what follows it.
fn plain_lock<'t>(read: &mut Vec<Token>, after: &'t [Token]) -> &'t [Token] {
    let words = [0, 1, 2].map(|i| keyword(after.get(i)));
    let strength = match words {
        [Keyword::UPDATE | Keyword::SHARE, ..] => 0,
        [Keyword::KEY, Keyword::SHARE, _] => 1,
        [Keyword::NO, Keyword::KEY, Keyword::UPDATE] => 2,
        _ => return after,
    };
    let (Some(word), Some(mut rest)) = (after.get(strength), after.get(strength + 1..)) else { return after };
    read.push(word.clone());
    if let [of, first @ Token::Word(_), others @ ..] = rest
        && keyword(Some(of)) == Keyword::OF
    {
        read.extend([of.clone(), first.clone()]);
        rest = others;
        while let [Token::Comma, Token::Word(_), others @ ..] = rest {
            rest = others;
        }
    }
    rest
}

fn keyword(token: Option<&Token>) -> Keyword {
    match token {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}
