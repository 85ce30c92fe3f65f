//! A client's text cut into statements, each with its literals lifted out.

use std::fmt::Write as _;

use super::bounds::{Bounded, Limits};
use super::lexer::{Fault, Kind, LexError, Lexer, Token};
use super::shape::{Literal, Normalised, Statement, TYPES, WHOLE_TEXT, mark};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};

/// Cuts a text into its statements. None for a text of white space, comments and semicolons.
///
/// Refuses with 54000 or 54001 beyond the limits, 22021 for characters that majors read differently, 42601 for
/// what PostgreSQL's lexer refuses; the position is a byte of `text`.
pub fn statements<'a>(text: &'a str, limits: &Limits) -> Result<Vec<Statement<'a>>, Refusal> {
    let text = Bounded::new(text, limits)?;
    let mut normaliser = Normaliser::new(*limits);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(next) = normaliser.next_statement(text, from)? {
        from = next.next;
        found.push(next.to_statement());
    }
    Ok(found)
}

/// Normalises statement after statement with the same buffers.
#[derive(Debug, Default)]
pub struct Normaliser {
    limits: Limits,
    shape: String,
    literals: Vec<Literal>,
    declared: Vec<Oid>,
}

impl Normaliser {
    /// A normaliser with empty buffers.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Says which parameter types the client declared for the statements that follow (Parse); none for a
    /// simple query. They are part of the shape: a condition that is total for a parameter of one type need
    /// not be for another.
    pub fn declare(&mut self, types: &[Oid]) {
        self.declared.clear();
        self.declared.extend_from_slice(types);
    }

    fn push_types(&mut self) {
        if self.declared.iter().any(|oid| *oid != 0) {
            self.shape.push_str(TYPES);
            for oid in &self.declared {
                // Writing to a string cannot fail.
                let _ = write!(self.shape, "{oid},");
            }
        }
    }

    /// The first statement that begins at byte `from` or later, or none. Allocates only where a buffer grows.
    /// Errors as of [`statements`].
    pub fn next_statement<'n, 'a>(
        &'n mut self,
        text: Bounded<'a>,
        from: usize,
    ) -> Result<Option<Normalised<'n, 'a>>, Refusal> {
        self.shape.clear();
        self.literals.clear();
        let whole = text.text();
        let mut lexer = Lexer::of_client(text, from);
        let mut scan = Scan { run: from, ..Scan::default() };
        let mut next = whole.len();
        loop {
            if scan.first.is_some() && !scan.gap {
                self.pass_plain(&mut lexer, &mut scan)?;
            }
            let Some(token) = lexer.next_token().map_err(|e| refuse(e, whole))? else { break };
            if token.kind == Kind::Semicolon && scan.nesting == 0 {
                if scan.first.is_some() {
                    next = token.end;
                    break;
                }
                scan.run = token.end;
            } else {
                self.take(whole, token, &mut scan)?;
            }
        }
        let Some(first) = scan.first else { return Ok(None) };
        self.shape.push_str(whole.get(scan.run..scan.last).unwrap_or_default());
        let text = whole.get(first..scan.last).unwrap_or_default();
        if scan.doubt {
            self.shape.clear();
            self.literals.clear();
            self.shape.push_str(WHOLE_TEXT);
            self.shape.push_str(text);
        }
        for literal in &mut self.literals {
            literal.token.start = literal.token.start.saturating_sub(first);
            literal.token.end = literal.token.end.saturating_sub(first);
        }
        self.push_types();
        let modern_number = lexer.modern_number().map(|at| at.saturating_sub(first));
        let (shape, literals) = (self.shape.as_str(), self.literals.as_slice());
        let parameter_types = self.declared.as_slice();
        Ok(Some(Normalised { text, offset: first, next, shape, literals, modern_number, parameter_types }))
    }

    /// Tokens that only have to be counted.
    #[inline(always)]
    fn pass_plain(&self, lexer: &mut Lexer<'_>, scan: &mut Scan) -> Result<(), Refusal> {
        let (tokens, last) = lexer.pass_plain();
        if tokens > 0 {
            scan.last = last;
            scan.tokens = scan.tokens.saturating_add(tokens);
            if scan.tokens > self.limits.max_tokens {
                return Err(too_complex("too many tokens", last));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn take(&mut self, whole: &str, token: Token, scan: &mut Scan) -> Result<(), Refusal> {
        if token.kind == Kind::Space {
            let single = token.end - token.start == 1 && whole.as_bytes().get(token.start) == Some(&b' ');
            if scan.first.is_some() && !single {
                self.shape.push_str(whole.get(scan.run..scan.last).unwrap_or_default());
                scan.run = scan.last;
                scan.gap = true;
            }
            return Ok(());
        }
        scan.tokens += 1;
        if scan.tokens > self.limits.max_tokens {
            return Err(too_complex("too many tokens", token.start));
        }
        if scan.first.is_none() {
            scan.first = Some(token.start);
            scan.run = token.start;
        } else if scan.gap {
            self.shape.push(' ');
            scan.run = token.start;
            scan.gap = false;
        }
        scan.last = token.end;
        match token.kind {
            Kind::Literal(class) => {
                self.shape.push_str(whole.get(scan.run..token.start).unwrap_or_default());
                self.shape.push_str(mark(class));
                scan.run = token.end;
                self.literals.push(Literal { token: token.start..token.end, class });
            }
            Kind::Open => {
                scan.nesting += 1;
                if scan.nesting > self.limits.max_nesting {
                    return Err(too_complex("parentheses are nested too deeply", token.start));
                }
            }
            Kind::Close => scan.nesting = scan.nesting.saturating_sub(1),
            Kind::UnicodeEscape => scan.doubt = true,
            _ => {}
        }
        Ok(())
    }
}

/// How far a statement was read.
#[derive(Default)]
struct Scan {
    /// First byte of the first token.
    first: Option<usize>,
    /// The byte after the last token.
    last: usize,
    /// First byte that was not copied to the shape yet.
    run: usize,
    /// White space or comments were left out.
    gap: bool,
    nesting: usize,
    tokens: usize,
    doubt: bool,
}

fn too_complex(message: &str, position: usize) -> Refusal {
    let mut refusal = Refusal::new(SqlState::TOO_COMPLEX, Rule("bounds"), message)
        .hint("The limits keep one statement from taking everybody's time.");
    refusal.position = Some(position);
    refusal
}

fn refuse(error: LexError, text: &str) -> Refusal {
    let syntax = |message: &str| {
        let near = text.get(error.position..).unwrap_or_default();
        let near: String = near.chars().take(64).collect();
        Refusal::new(SqlState::SYNTAX, Rule("syntax"), format!("{message} at or near \"{near}\""))
    };
    let mut refusal = match error.fault {
        Fault::UnterminatedString => syntax("unterminated quoted string"),
        Fault::UnterminatedName => syntax("unterminated quoted identifier"),
        Fault::UnterminatedDollarString => syntax("unterminated dollar-quoted string"),
        Fault::UnterminatedComment => syntax("unterminated /* comment"),
        Fault::CommentNesting => too_complex("comments are nested too deeply", error.position),
        Fault::OperatorRun => too_complex("too many operator characters in a row", error.position),
        Fault::ParameterNumber => {
            Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), "parameters are numbered from $1 to $65535")
        }
        Fault::BadCharacter => Refusal::new(
            SqlState::BAD_ENCODING,
            Rule("encoding"),
            "vertical tab and U+FEFF are accepted in strings and comments only",
        ),
    };
    refusal.position = Some(error.position);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(text: &str) -> Vec<String> {
        let found = statements(text, &Limits::default()).unwrap();
        found.into_iter().map(|s| s.shape.replace('\0', "?")).collect()
    }

    fn state(text: &str) -> SqlState {
        statements(text, &Limits::default()).unwrap_err().state
    }

    #[test]
    fn comments_and_white_space_are_no_part_of_a_shape() {
        let shape = vec!["select a from t where b = ?s"];
        for text in [
            "select a from t where b = 'x'",
            " \n select\n\ta  from /* request 7 */ t where b = 'it''s' -- trace=9",
            "/* x */ select a /* /* nested */ */ from t where b = '--' /*;*/ ;",
        ] {
            assert_eq!(shapes(text), shape, "{text}");
        }
    }

    #[test]
    fn passing_over_plain_tokens_changes_no_shape() {
        let end = " /* \u{feff} */";
        for text in [
            "select a, b.c , t.* from t where a=b and c <= d or e::text = 'x'",
            "select  a , b\n,c from\tt",
            "select a -- x\n, b - c / d -1 /* e */ , f-- g",
            "select \"a\".\"b\", \"c\"\"d\" , \"e\"from t",
            "select e'x', E 'y', b'01', x'ff', n'z', u&'a', U&\"b\", e, b, x, n, u, e & 'x'",
            "select a1, a$1, $1, 1a, .5, a.5, a..b, 1..2",
            "select :a, ?, @>b, a->>'c', a#>>'{d}' , é, ü=ß",
            "select a;",
            "select a ; select b",
            "a ",
        ] {
            // Where a U+FEFF may be, nothing is passed over.
            let longer = format!("{text}{end}");
            let (fast, slow) =
                (statements(text, &Limits::default()), statements(&longer, &Limits::default()));
            let (fast, slow) = (fast.unwrap().pop().unwrap(), slow.unwrap().pop().unwrap());
            assert_eq!((&fast.shape, fast.text, &fast.literals), (&slow.shape, slow.text, &slow.literals));
        }
    }

    #[test]
    fn each_class_has_its_mark() {
        assert_eq!(
            shapes(
                "select 'a', E'b', $$c$$, 1, 2147483647, 3000000000, 99999999999999999999, 1.5, .5, 1e3, -1"
            ),
            ["select ?s, ?e, ?d, ?i, ?i, ?b, ?n, ?n, ?n, ?n, -?i"]
        );
    }

    #[test]
    fn what_is_in_doubt_is_not_lifted() {
        for text in
            ["select 1_000", "select 0x1F", "select 1from t", "select B'01', x'ff', N'a'", "select 'a'\n'b'"]
        {
            assert_eq!(shapes(text), [text]);
        }
        for number in ["2147483648", "9223372036854775808"] {
            assert_eq!(shapes(&format!("select -{number}")), [format!("select -{number}")]);
        }
        assert_eq!(shapes("select U&'!0061' uescape '!', 1"), ["?wselect U&'!0061' uescape '!', 1"]);
    }

    #[test]
    fn names_that_look_like_dollar_quotes_are_names() {
        assert_eq!(shapes("select a$b$, c from t where d = $b$x$b$"), ["select a$b$, c from t where d = ?d"]);
    }

    #[test]
    fn a_carriage_return_ends_a_comment() {
        assert_eq!(shapes("select 1 --\r; delete from t"), ["select ?i", "delete from t"]);
    }

    #[test]
    fn semicolons_split_outside_of_parentheses_and_strings_only() {
        assert_eq!(shapes(";; select ';' ; ; select (1;2) ; -- ;\n").len(), 2);
        assert_eq!(shapes(" -- only ; a comment\n ; /* ; */ "), Vec::<String>::new());
        let found = statements("select 1; select 22", &Limits::default()).unwrap();
        assert_eq!((found[1].offset, found[1].text, found[1].token(0)), (10, "select 22", Some("22")));
    }

    #[test]
    fn unterminated_tokens_are_syntax_errors() {
        for text in ["select 'a", "select \"a", "select $$a$", "select /* /* */", "select E'a\\'"] {
            assert_eq!(state(text), SqlState::SYNTAX, "{text}");
        }
    }

    #[test]
    fn statement_behind_empty_ones_is_found_once() {
        for text in [";select 1", ";;select 1 -- ;", "; /* ; */ ; select 1 ;", ";;select 1;;"] {
            assert_eq!(statements(text, &Limits::default()).unwrap().len(), 1, "{text}");
        }
        assert_eq!(statements("select 1;;select 2 -- ;", &Limits::default()).unwrap().len(), 2);
    }

    #[test]
    fn characters_that_majors_read_differently_pass_in_strings_and_comments_only() {
        for text in ["select\u{b}1", "select \u{feff}a", "select \"\u{feff}\"", "select \"\u{b}\""] {
            assert_eq!(state(text), SqlState::BAD_ENCODING, "{text:?}");
        }
        assert_eq!(shapes("select '\u{b}\u{feff}' /* \u{b}\u{feff} */ , \u{a0}"), ["select ?s , \u{a0}"]);
    }

    #[test]
    fn limits_hold_and_what_is_large_but_flat_passes() {
        let list = format!("select 1 in ({}1)", "1,".repeat(100_000));
        assert_eq!(statements(&list, &Limits::default()).unwrap()[0].literals.len(), 100_002);
        assert_eq!(state(&"x ".repeat(500_000)), SqlState::TOO_COMPLEX);
        assert_eq!(state(&format!("select {}", "(".repeat(100_000))), SqlState::TOO_COMPLEX);
        assert_eq!(state(&format!("select 1 {}1", "+".repeat(1_000_000))), SqlState::TOO_COMPLEX);
        assert_eq!(state(&format!("select 1 {}", "/*".repeat(20_000))), SqlState::TOO_COMPLEX);
        assert_eq!(state(&"x".repeat(2_000_000)), SqlState::TOO_LARGE);
        assert_eq!(state("select $65536"), SqlState::TOO_LARGE);
        assert_eq!(state("select $0"), SqlState::TOO_LARGE);
    }

    #[test]
    fn a_literal_is_found_by_the_place_of_its_node() {
        let found = statements("select 1, 'x'", &Limits::default()).unwrap();
        assert_eq!(
            (found[0].literal_at(7), found[0].literal_at(10), found[0].literal_at(8)),
            (Some(0), Some(1), None)
        );
        assert_eq!(found[0].literal_at(-1), None);
    }
}
