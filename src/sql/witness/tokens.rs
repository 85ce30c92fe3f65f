//! Where sqlparser's tokens differ from PostgreSQL's, and the difference only costs readable statements: put right
//! before it parses. Nothing that can hold a relation is touched.
//!
//! * Words that other databases reserve and PostgreSQL does not know (`qualify`, `settings`, `minus`): plain names.
//! * Row locks: `FOR NO KEY UPDATE` and `FOR KEY SHARE` are read as `FOR UPDATE` and `FOR SHARE`, and of the aliases
//!   after OF the first is kept. A lock names aliases of its level, and no relation.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::cut::cut;

/// Cuts a text into tokens. Literals keep their escapes: unescaping and printing again would turn data into SQL.
pub(super) fn of(sql: &str) -> Result<Vec<Token>, String> {
    let mut words = match cut(sql) {
        Some(words) => words,
        None => by_sqlparser(sql)?,
    };
    words.iter_mut().for_each(plain_name);
    let locks = words.iter().any(|token| keyword(Some(token)) == Keyword::FOR);
    Ok(if locks { plain_locks(words) } else { words })
}

/// The tokens that sqlparser's lexer gives, where it reads quotes as PostgreSQL does.
pub(super) fn by_sqlparser(sql: &str) -> Result<Vec<Token>, String> {
    if has_eaten(sql) {
        return Err("an operator that sqlparser's lexer misreads".into());
    }
    let dialect = PostgreSqlDialect {};
    let mut tokens =
        Tokenizer::new(&dialect, sql).with_unescape(false).tokenize().map_err(|e| e.to_string())?;
    let quoted = quoted_parts(sql).ok_or("a comment, or a quote that is not closed")?;
    if !tokens.iter().filter_map(quoted_token).eq(quoted) {
        return Err("a quote that sqlparser's lexer misreads".into());
    }
    tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
    Ok(tokens)
}

/// Whether a text may hold one of the two operators behind which sqlparser's lexer drops a character (`&>'` opens no string):
/// PostgreSQL's printer puts a space there, and nothing else is read, also not between quotes.
pub(super) fn has_eaten(sql: &str) -> bool {
    let eaten = |operator: &str| {
        sql.match_indices(operator).any(|(at, _)| !followed_by_space(sql, at + operator.len()))
    };
    sql.contains('&') && (eaten("&>") || eaten("&<|"))
}

/// What stands between quotes, as PostgreSQL's lexer cuts it (scan.l). None where a quote stays open, and where
/// there is a comment: PostgreSQL's printer writes none. The text of `E'…'` is left out: sqlparser unescapes it.
fn quoted_parts(sql: &str) -> Option<Vec<Option<&str>>> {
    let (bytes, mut parts, mut at) = (sql.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b' ');
        let mut escapes = false;
        let end = match byte {
            b'\'' | b'"' => {
                escapes = *byte == b'\''
                    && before.eq_ignore_ascii_case(&b'e')
                    && !in_name(at.checked_sub(2).and_then(|i| bytes.get(i)));
                closing_quote(bytes, at, escapes)?
            }
            b'$' if !in_name(Some(&before)) => match dollar_tag(sql, at) {
                Some(tag) => {
                    let from = at.checked_add(tag.len())?;
                    let length = sql.get(from..)?.find(tag)?;
                    parts.push(Some(sql.get(from..from.checked_add(length)?)?));
                    at = from.checked_add(length)?.checked_add(tag.len())?;
                    continue;
                }
                None => at,
            },
            b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
            b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
            _ => at,
        };
        if end > at {
            let text = sql.get(at + 1..end)?;
            parts.push((!escapes).then_some(text));
        }
        at = end + 1;
    }
    Some(parts)
}

/// The place of the quote that closes the one at `open`; doubled quotes stay inside, and so do those after a
/// backslash where it escapes.
fn closing_quote(bytes: &[u8], open: usize, escapes: bool) -> Option<usize> {
    let quote = bytes.get(open)?;
    let mut at = open + 1;
    loop {
        let byte = bytes.get(at)?;
        let doubled = byte == quote && bytes.get(at + 1) == Some(quote);
        if doubled || (escapes && *byte == b'\\') {
            at += 2;
        } else if byte == quote {
            return Some(at);
        } else {
            at += 1;
        }
    }
}

fn dollar_tag(sql: &str, at: usize) -> Option<&str> {
    let name = sql.get(at + 1..)?.bytes().take_while(|b| in_name(Some(b)) && *b != b'$').count();
    let first = sql.as_bytes().get(at + 1)?;
    let end = at + name + 1;
    (sql.as_bytes().get(end) == Some(&b'$') && !first.is_ascii_digit()).then(|| sql.get(at..=end)).flatten()
}

fn in_name(byte: Option<&u8>) -> bool {
    byte.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || !b.is_ascii())
}

fn quoted_token(token: &Token) -> Option<Option<&str>> {
    match token {
        Token::SingleQuotedString(text)
        | Token::NationalStringLiteral(text)
        | Token::HexStringLiteral(text)
        | Token::SingleQuotedByteStringLiteral(text) => Some(Some(text)),
        Token::EscapedStringLiteral(_) | Token::UnicodeStringLiteral(_) => Some(None),
        Token::DollarQuotedString(text) => Some(Some(&text.value)),
        Token::Word(word) => word.quote_style.map(|_| Some(word.value.as_str())),
        _ => None,
    }
}

fn followed_by_space(sql: &str, at: usize) -> bool {
    sql.as_bytes().get(at) == Some(&b' ')
}

/// A word that PostgreSQL's grammar does not know is a name (checked against PostgreSQL 18's kwlist.h).
fn plain_name(token: &mut Token) {
    if let Token::Word(word) = token
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

pub(super) fn keyword(token: Option<&Token>) -> Keyword {
    match token {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}
