//! sqlparser's PostgreSQL, with a shorter way to what begins most expressions: a column's name, a number, a string, a
//! parameter.
//!
//! Before any expression sqlparser tries to read the name of a type and a string (`date '2026-01-01'`), throws that away
//! with a message that nobody reads, and begins again: a fifth of its time. [`Reader::parse_prefix`] goes on at once
//! where that attempt cannot succeed, by the tokens that follow; all else is left to sqlparser. That both ways give the
//! same trees is tested over the corpora below.

use std::any::TypeId;

use sqlparser::ast::{Expr, Ident};
use sqlparser::dialect::{BindPlaceholderStyle, Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// PostgreSQL's dialect.
#[derive(Debug)]
pub(super) struct Reader;

/// What PostgreSQL's dialect answers otherwise than the others do.
macro_rules! as_postgres {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> $answer {
            POSTGRES.$name($($argument),*)
        })*
    };
}

impl Dialect for Reader {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Word(word) if word.keyword == Keyword::NoKeyword && is_column(parser) => {
                let ident = Ident {
                    value: word.value.clone(),
                    quote_style: word.quote_style,
                    span: parser.peek_token_ref().span,
                };
                parser.advance_token();
                Some(Ok(Expr::Identifier(ident)))
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => {
                Some(parser.parse_value().map(Expr::Value))
            }
            _ => None,
        }
    }

    as_postgres! {
        supports_cte_materialization() -> bool;
        identifier_quote_style(identifier: &str) -> Option<char>;
        ordered_bind_placeholder_style() -> Option<BindPlaceholderStyle>;
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(kw: Keyword) -> bool;
        is_table_alias(kw: &Keyword, parser: &mut Parser<'_>) -> bool;
        supports_string_literal_column_alias(_explicit: bool) -> bool;
        supports_string_literal_table_alias(_explicit: bool) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        get_next_precedence(parser: &Parser<'_>) -> Option<Result<u8, ParserError>>;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        supports_drop_group() -> bool;
        supports_alter_user_as_alter_role() -> bool;
        supports_create_group() -> bool;
        supports_create_role_if_not_exists() -> bool;
        prec_value(prec: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_sql_option_without_value() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_exclude_constraint() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_tilde_like_match_operator() -> bool;
        supports_comparison_in_between_low_bound() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_named_fn_args_with_expr_name() -> bool;
        supports_named_fn_args_with_assignment_operator() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_copy_from_stdin_data() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_non_decimal_integer_literals() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_order_by_using_operator() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_left_associative_joins_without_parens() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        is_interval_qualifier(kw: Keyword) -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        is_custom_type_typed_string(first_keyword: Keyword, qualified: bool) -> bool;
        supports_aliased_function_args() -> bool;
        supports_comment_optimizer_hint() -> bool;
        supports_add_column_if_not_exists() -> bool;
        supports_attach_partition_of() -> bool;
        supports_detach_partition_of() -> bool;
        supports_table_inheritance_markers() -> bool;
        supports_column_generic_options() -> bool;
    }
}

/// Whether the next token, a word, is the name of a column or of its relation: what follows begins neither a string
/// nor anything of a call or a type.
fn is_column(parser: &Parser<'_>) -> bool {
    match &parser.peek_nth_token_ref(1).token {
        Token::Period => {
            matches!(parser.peek_nth_token_ref(2).token, Token::Word(_))
                && ends_name(&parser.peek_nth_token_ref(3).token)
        }
        other => ends_name(other),
    }
}

/// Tokens behind which neither a type's name nor a call goes on.
fn ends_name(token: &Token) -> bool {
    match token {
        Token::EOF
        | Token::Comma
        | Token::RParen
        | Token::RBracket
        | Token::DoubleColon
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::StringConcat => true,
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::AS
                | Keyword::ASC
                | Keyword::BETWEEN
                | Keyword::DESC
                | Keyword::ELSE
                | Keyword::END
                | Keyword::FROM
                | Keyword::GROUP
                | Keyword::IN
                | Keyword::IS
                | Keyword::JOIN
                | Keyword::LEFT
                | Keyword::LIKE
                | Keyword::LIMIT
                | Keyword::NOT
                | Keyword::OPERATOR
                | Keyword::ORDER
                | Keyword::THEN
                | Keyword::WHEN
                | Keyword::WHERE
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sqlparser::ast::Statement;
    use sqlparser::parser::ParserOptions;

    use super::*;
    use crate::sql::witness::cut::tests::corpora;
    use crate::sql::witness::{MAX_NESTING, tokens};

    fn read(dialect: &dyn Dialect, sql: &str) -> Option<Vec<Statement>> {
        Parser::new(dialect)
            .with_options(ParserOptions::new().with_unescape(false))
            .with_recursion_limit(MAX_NESTING)
            .with_tokens(tokens::of(sql).ok()?)
            .parse_statements()
            .ok()
    }

    /// Whether the text can be read; that both ways read it alike is required.
    fn agrees(sql: &str) -> bool {
        let read_so = read(&Reader, sql);
        assert_eq!(read_so, read(&POSTGRES, sql), "{sql}");
        read_so.is_some()
    }

    #[test]
    fn the_shorter_way_gives_the_same_trees_over_the_corpora() {
        let compare = || {
            let (found, golden) = corpora();
            let count = |texts: &[String]| texts.iter().filter(|sql| agrees(sql)).count();
            let (read, read_golden) = (count(&found), count(&golden));
            assert!(read > 10_000 && read_golden > 500, "{read} {read_golden}");
            println!("both read {read} of {}, and {read_golden} of {}", found.len(), golden.len());
        };
        std::thread::Builder::new().stack_size(64 << 20).spawn(compare).unwrap().join().unwrap();
    }

    /// Expressions put together of what can stand before and behind a name.
    fn fragments() -> impl Strategy<Value = String> {
        let pieces = [
            "a",
            "\"b\"",
            "a.b",
            "\"a\".b.c",
            "d.*",
            "date",
            "int",
            "xml",
            "interval",
            "array",
            "_utf8",
            "1",
            "2.5",
            "'s'",
            "$1",
            "(",
            ")",
            "[",
            "]",
            ".",
            ",",
            "::int",
            "::d.t",
            "=",
            "<>",
            "<",
            "+",
            "-",
            "*",
            "||",
            "->",
            "operator(pg_catalog.=)",
            "and",
            "or",
            "not",
            "as",
            "in",
            "is",
            "null",
            "between",
            "like",
            "collate",
            "case",
            "when",
            "then",
            "else",
            "end",
            "from",
            "where",
            "order by",
            "asc",
            "over",
            "filter",
            "any",
            "row",
            "exists",
            "at time zone",
            "values",
            "select",
            "join",
            "on",
            "limit",
            "group by",
            "within",
        ];
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..10)
            .prop_map(|pieces| format!("select {}", pieces.join(" ")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn the_shorter_way_gives_the_same_trees_of_any_text(sql in fragments()) {
            agrees(&sql);
        }
    }
}
