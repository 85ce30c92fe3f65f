//! Where tokens end, and where statements do.

use std::collections::BTreeSet;

use pg_query::protobuf::{KeywordKind, Token};
use pgbulkhead::sql::lexer::{Kind, Lexer};
use pgbulkhead::sql::{Limits, bounds::Bounded, statements};
use proptest::prelude::*;

use crate::corpus::corpus;

/// The boundaries that decide: of names, literals, parameters, semicolons and parentheses.
fn own_tokens(text: &str) -> Option<BTreeSet<(usize, usize)>> {
    let mut lexer = Lexer::of_client(Bounded::new(text, &Limits::default()).ok()?, 0);
    let mut found = BTreeSet::new();
    while let Some(token) = lexer.next_token().ok()? {
        if !matches!(token.kind, Kind::Space | Kind::Operator | Kind::Other) {
            found.insert((token.start, token.end));
        }
    }
    Some(found)
}

fn postgresql_tokens(text: &str) -> Option<BTreeSet<(usize, usize)>> {
    let mut found = BTreeSet::new();
    for token in pg_query::scan(text).ok()?.tokens {
        let (start, end) = (usize::try_from(token.start).unwrap(), usize::try_from(token.end).unwrap());
        let word = &text[start..end];
        let wanted = token.keyword_kind != KeywordKind::NoKeyword as i32
            || matches!(
                Token::try_from(token.token).unwrap_or(Token::Nul),
                Token::Ident
                    | Token::Uident
                    | Token::Fconst
                    | Token::Sconst
                    | Token::Usconst
                    | Token::Bconst
                    | Token::Xconst
                    | Token::Iconst
                    | Token::Param
            )
            || matches!(word, ";" | "(" | ")" | "[" | "]");
        if wanted {
            found.insert((start, end));
        }
    }
    Some(found)
}

/// `N'…'` is two tokens there and one here.
fn has_national(text: &str) -> bool {
    text.contains("n'") || text.contains("N'")
}

#[test]
fn tokens_end_where_postgresql_says() {
    let mut compared = 0;
    for text in corpus() {
        if has_national(text) {
            continue;
        }
        let (Some(own), Some(theirs)) = (own_tokens(text), postgresql_tokens(text)) else { continue };
        assert_eq!(own, theirs, "{text}");
        compared += 1;
    }
    println!("{compared} texts compared");
    assert!(compared > 800);
}

fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        "$",
        "$$",
        "$a$",
        "$a",
        "a$",
        "$1",
        "$b$",
        "e'",
        "E'",
        "b'",
        "x'",
        "u&'",
        "U&\"",
        "n",
        "--",
        "/*",
        "*/",
        "*",
        "/",
        "-",
        "+",
        "@",
        "=",
        "<",
        "&",
        "|",
        "\n",
        "\r",
        " ",
        "\t",
        "\u{c}",
        ";",
        "(",
        ")",
        "[",
        "]",
        "1",
        "1.",
        ".5",
        "1e5",
        "2e",
        "0x1F",
        "1_000",
        "1..2",
        ".",
        "..",
        ":",
        "::",
        ":=",
        ",",
        "a",
        "select",
        "from",
        "é",
        "\u{a0}",
        "_",
        "uescape",
        "'x'",
        "E'\\''",
        "99999999999",
        "1_",
        "_1",
        "{",
        "'a'\n'b'",
        "'a'--c\n'b'",
        "'a' 'b'",
    ]);
    prop::collection::vec(fragment, 0..14).prop_map(|f| f.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_tokens_end_where_postgresql_says(text in fragments()) {
        if !has_national(&text) && !text.contains("$0") && !text.contains("$9") && let Some(theirs) = postgresql_tokens(&text) {
            prop_assert_eq!(own_tokens(&text), Some(theirs));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_are_split_where_postgresql_splits(
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6), 1..6)
    ) {
        let corpus = corpus();
        let glue = [";", ";\n", " ; -- it's; a comment\n", ";/* ; /* ' */ ; */", ";;", " /* x */;"];
        let text: String = picks.iter().map(|(i, g)| format!("{}{}", i.get(corpus), glue[*g])).collect();
        // A function's body of statements holds semicolons of its own; DDL is refused whole or in parts.
        let has_body = text.to_lowercase().contains("begin atomic");
        if let (Ok(theirs), false) = (pg_query::split_with_parser(&text), has_body) {
            let Ok(own) = statements(&text, &Limits::default()) else { return Ok(()) };
            prop_assert_eq!(own.len(), theirs.len(), "{}", text);
            for (own, theirs) in own.iter().zip(theirs) {
                prop_assert!(theirs.contains(own.text), "{:?} in {:?}", own.text, theirs);
                prop_assert_eq!(&text[own.offset..own.offset + own.text.len()], own.text);
            }
        }
    }
}
