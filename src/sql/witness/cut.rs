//! The witness's own lexer for plain texts, which nearly all printed statements are: names, keywords, strings, numbers,
//! `$n` and the common operators. It gives sqlparser's tokens a tenth as dear as sqlparser's lexer, which
//! works character by character through an iterator, and looks each time for what other databases write.
//!
//! **Why it may be trusted.** It reads a text by PostgreSQL's rules (scan.l), or not at all: [`cut`] gives nothing where
//! it meets anything that is not written down here, and sqlparser's lexer takes the whole text, with the checks that its
//! reading of quotes needs. Where both read a text they give the same tokens, which is tested over the corpora and over
//! generated texts below.
//!
//! What is left to sqlparser, and why: every byte that is not ASCII outside of quotes; white space other than blanks
//! (behind a line break a string can go on); a word that touches a quote or an ampersand (`E'…'`, `U&'…'`); a number
//! that touches a letter or a second point; a run of operator characters that is not in [`operator`], so also the
//! beginnings of comments; `$` before anything but a number; semicolons, braces, backslashes.

use std::sync::LazyLock;

use foldhash::HashMap;
use sqlparser::keywords::{ALL_KEYWORDS, ALL_KEYWORDS_INDEX, Keyword};
use sqlparser::tokenizer::{Token, Word};

use super::tokens::has_eaten;

/// sqlparser's keywords by their capitals. Its own look-up compares ten of them, byte by byte, for each word.
static KEYWORDS: LazyLock<HashMap<&[u8], Keyword>> = LazyLock::new(|| {
    ALL_KEYWORDS.iter().map(|word| word.as_bytes()).zip(ALL_KEYWORDS_INDEX.iter().copied()).collect()
});

/// No keyword is as long.
const LONGEST: usize = 48;

/// Cuts a text into tokens, or gives nothing where it is not plain. Literals keep their doubled quotes.
pub(super) fn cut(sql: &str) -> Option<Vec<Token>> {
    if has_eaten(sql) {
        return None;
    }
    let bytes = sql.as_bytes();
    let mut tokens = Vec::with_capacity(sql.len() / 3);
    let mut at = 0_usize;
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        let mut end = at + 1;
        let token = match byte {
            b' ' => {
                at = end;
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                end = end_of(bytes, end, in_word);
                if matches!(bytes.get(end), Some(b'\'' | b'"' | b'&' | 0x80..)) {
                    return None;
                }
                let value = sql.get(at..end)?;
                Token::Word(Word { keyword: keyword(value), value: value.to_owned(), quote_style: None })
            }
            b'"' => {
                end = closing(bytes, at)?;
                let value = sql.get(at + 1..end - 1)?.to_owned();
                Token::Word(Word { keyword: Keyword::NoKeyword, value, quote_style: Some('"') })
            }
            b'\'' => {
                end = closing(bytes, at)?;
                Token::SingleQuotedString(sql.get(at + 1..end - 1)?.to_owned())
            }
            b'0'..=b'9' => {
                end = number(bytes, at)?;
                Token::Number(sql.get(at..end)?.to_owned(), false)
            }
            b'$' => {
                end = end_of(bytes, end, |b| b.is_ascii_digit());
                if end == at + 1 || ends_badly(bytes, end) {
                    return None;
                }
                Token::Placeholder(sql.get(at..end)?.to_owned())
            }
            b'.' => match (next, tokens.last()) {
                (b'a'..=b'z' | b'A'..=b'Z' | b'"', _) | (b'_', Some(Token::Word(_))) => Token::Period,
                // `OPERATOR(pg_catalog.=)`, `d.*`.
                (operator, _) if in_operator(operator) => Token::Period,
                _ => return None,
            },
            b'(' => Token::LParen,
            b')' => Token::RParen,
            b'[' => Token::LBracket,
            b']' => Token::RBracket,
            b',' => Token::Comma,
            b':' if next == b':' => {
                end += 1;
                Token::DoubleColon
            }
            b':' if next == b'=' => return None,
            b':' => Token::Colon,
            _ => {
                end = end_of(bytes, at, in_operator);
                operator(bytes.get(at..end)?)?
            }
        };
        tokens.push(token);
        at = end;
    }
    Some(tokens)
}

fn keyword(word: &str) -> Keyword {
    let mut capitals = [0; LONGEST];
    let Some(capitals) = capitals.get_mut(..word.len()) else { return Keyword::NoKeyword };
    capitals.copy_from_slice(word.as_bytes());
    capitals.make_ascii_uppercase();
    KEYWORDS.get(&*capitals).copied().unwrap_or(Keyword::NoKeyword)
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

fn in_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

/// The place of the first byte from `at` on that is not `inside`.
fn end_of(bytes: &[u8], mut at: usize, inside: impl Fn(u8) -> bool) -> usize {
    while bytes.get(at).is_some_and(|byte| inside(*byte)) {
        at += 1;
    }
    at
}

/// The place behind the quote that closes the one at `open`. Two of them in a row are part of the text.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let quote = bytes.get(open)?;
    let mut at = open + 1;
    loop {
        at = end_of(bytes, at, |byte| byte != *quote);
        bytes.get(at)?;
        if bytes.get(at + 1) != Some(quote) {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of a number of digits with a fraction or without one.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digit = |byte: u8| byte.is_ascii_digit();
    let mut end = end_of(bytes, at, digit);
    if bytes.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = end_of(bytes, fraction, digit);
        if end == fraction {
            return None;
        }
    }
    (!ends_badly(bytes, end) && bytes.get(end) != Some(&b'.')).then_some(end)
}

/// Whether a number ends in a letter, which majors of PostgreSQL and sqlparser read each otherwise.
fn ends_badly(bytes: &[u8], end: usize) -> bool {
    bytes.get(end).is_some_and(|byte| in_word(*byte) || matches!(byte, b'\'' | b'"') || !byte.is_ascii())
}

/// The token of a whole run of operator characters.
fn operator(run: &[u8]) -> Option<Token> {
    Some(match run {
        b"=" => Token::Eq,
        b"<" => Token::Lt,
        b">" => Token::Gt,
        b"<=" => Token::LtEq,
        b">=" => Token::GtEq,
        b"<>" | b"!=" => Token::Neq,
        b"+" => Token::Plus,
        b"-" => Token::Minus,
        b"*" => Token::Mul,
        b"/" => Token::Div,
        b"%" => Token::Mod,
        b"||" => Token::StringConcat,
        b"->" => Token::Arrow,
        b"->>" => Token::LongArrow,
        b"@>" => Token::AtArrow,
        b"<@" => Token::ArrowAt,
        b"&&" => Token::Overlap,
        b"~" => Token::Tilde,
        b"~*" => Token::TildeAsterisk,
        b"!~" => Token::ExclamationMarkTilde,
        b"!~*" => Token::ExclamationMarkTildeAsterisk,
        b"~~" => Token::DoubleTilde,
        b"!~~" => Token::ExclamationMarkDoubleTilde,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sql::witness::tokens::by_sqlparser;

    /// Whether the text is plain; that both lexers agree on it is required.
    fn agrees(sql: &str) -> bool {
        let cut = cut(sql);
        if let Some(tokens) = &cut {
            assert_eq!(Ok(tokens), by_sqlparser(sql).as_ref(), "{sql}");
        }
        cut.is_some()
    }

    /// Every text below a value.
    fn texts(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => found.push(text.clone()),
            serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
            serde_json::Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
            _ => {}
        }
    }

    /// Every text of the corpora, and every text of the rewriting cases.
    pub(in crate::sql::witness) fn corpora() -> (Vec<String>, Vec<String>) {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let (mut found, mut golden) = (Vec::new(), Vec::new());
        for directory in ["corpus", "corpus/orm_sql", "corpus/orm_suites", "rewrite"] {
            for entry in std::fs::read_dir(corpus.join(directory)).unwrap() {
                let path = entry.unwrap().path();
                match path.extension().and_then(|e| e.to_str()) {
                    Some("jsonl") => {
                        for line in std::fs::read_to_string(path).unwrap().lines() {
                            texts(&serde_json::from_str(line).unwrap(), &mut found);
                        }
                    }
                    Some("toml") if directory == "rewrite" => {
                        let cases: toml::Value =
                            toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
                        texts(&serde_json::to_value(cases).unwrap(), &mut golden);
                    }
                    _ => {}
                }
            }
        }
        (found, golden)
    }

    #[test]
    fn both_lexers_agree_over_the_corpora() {
        let (found, golden) = corpora();
        assert!(found.len() > 20_000 && golden.len() > 1_000, "{} {}", found.len(), golden.len());
        let plain = found.iter().filter(|sql| agrees(sql)).count();
        let golden_plain = golden.iter().filter(|sql| agrees(sql)).count();
        println!("plain are {plain} of {}, and {golden_plain} of {}", found.len(), golden.len());
        assert!(plain * 2 > found.len() && golden_plain * 10 > golden.len() * 7);
    }

    #[test]
    fn every_keyword_is_found_in_any_letters() {
        for (word, expected) in ALL_KEYWORDS.iter().zip(ALL_KEYWORDS_INDEX) {
            assert_eq!((keyword(word), keyword(&word.to_lowercase())), (*expected, *expected), "{word}");
        }
        assert_eq!(keyword("documents"), Keyword::NoKeyword);
        assert_eq!(keyword(&"a".repeat(100)), Keyword::NoKeyword);
    }

    #[test]
    fn what_is_not_plain_is_left() {
        for sql in [
            "select E'a'",
            "select b'1'",
            "select n'a'",
            "select x'1F'",
            "select U&'a'",
            "select U&\"a\"",
            "u&\"a\"",
            "select ab'c'",
            "select 'a",
            "select \"a",
            "select $$a$$",
            "select $a$b$a$",
            "select $1a",
            "select $",
            "select 1a",
            "select 1_000",
            "select 0x1f",
            "select 1e5",
            "select 1.",
            "select .5",
            "select 1..2",
            "select 1.5.2",
            "select 1 -- a",
            "select /* a */ 1",
            "select 1;",
            "select 'a'\n'b'",
            "select\t1",
            "select ü",
            "select aü",
            "select 1ü",
            "select a <-> b",
            "select a &> b",
            "select \"a&>\"",
            "select 'a &<|b'",
            "select a @- b",
            "select a =- b",
            "select a := b",
            "select a => b",
            "select {a}",
            "select a \\ b",
            "select a._",
            "(a)._b",
            "$1'a'",
            "1'a'",
        ] {
            // A field that begins with an underscore is one behind a word only.
            assert_eq!(agrees(sql), sql == "select a._", "{sql}");
        }
    }

    #[test]
    fn what_is_printed_is_plain() {
        for sql in [
            "SELECT d.id, d.\"Title\", c.*, count(*) FROM app.documents d, \"a\"\"b\" c WHERE d.tenant_id OPERATOR(pg_catalog.=) $9::int",
            "SELECT 'it''s', '', '--', '/*', 'ü', \"ü\", 1.5, 0, a[1:2], a->>'b', a @> b, a - -1, a$1, -1.5::numeric",
        ] {
            assert!(agrees(sql), "{sql}");
        }
    }

    /// Texts put together of what lexers stumble over.
    fn fragments() -> impl Strategy<Value = String> {
        let pieces = [
            " ",
            "a",
            "E",
            "b",
            "n",
            "U&",
            "x",
            "_",
            "1",
            "0",
            ".",
            "1.5",
            "'",
            "''",
            "\"",
            "\"\"",
            "$",
            "$1",
            "$$",
            "$a$",
            "-",
            "--",
            "/",
            "*",
            "/*",
            "*/",
            "=",
            "<",
            ">",
            "|",
            "||",
            "&",
            "!",
            "~",
            "~~",
            "@",
            "#",
            "?",
            "%",
            "^",
            "`",
            "+",
            ":",
            "::",
            ":=",
            ";",
            ",",
            "(",
            ")",
            "[",
            "]",
            "{",
            "\\",
            "\n",
            "\t",
            "ü",
            "select",
            "for update of a",
            "'s'",
            "\"N\"",
            "->",
            "e1",
        ];
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..14).prop_map(|p| p.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn both_lexers_agree_on_any_text(sql in fragments()) {
            agrees(&sql);
        }
    }
}
