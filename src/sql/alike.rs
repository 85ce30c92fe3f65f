//! Texts that differ in literals only, told by comparing what stands between the literals: cheaper than making
//! the shape of each. What is not surely alike is not alike; it is then lexed as a whole.

use std::ops::Range;

use smallvec::SmallVec;

use super::bounds::Bounded;
use super::lexer::LiteralClass;
use super::lexer::{Kind, Lexer, ends_before_literal};
use super::shape::{Literal, Normalised};

/// Longer texts and more literals are not kept.
const LONGEST: usize = 4096;
const MOST_LITERALS: usize = 32;
/// Bytes of a text that it may be looked up by.
const LONGEST_HEAD: usize = 64;

/// Tokens of literals, as ranges of a text.
pub type Tokens = SmallVec<[Range<usize>; 6]>;

/// A text of one statement, and where its literals are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    /// Where the statement begins and ends; around it are white space and a semicolon.
    statement: Range<usize>,
    /// Tokens as ranges of the statement.
    literals: Box<[Literal]>,
}

/// A text that is alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    /// The statement in it.
    pub statement: Range<usize>,
    /// The statement's literals, as ranges of the statement.
    pub literals: Tokens,
}

impl Pattern {
    /// The pattern of a text; none where it has more in it than one statement, where its lexing was in doubt, or
    /// where the byte before a literal could become part of another one's token.
    pub fn of(text: Bounded<'_>, statement: &Normalised<'_, '_>) -> Option<Self> {
        let whole = text.text();
        let simple = whole.get(statement.next..).is_some_and(|rest| rest.trim_ascii().is_empty())
            && whole.len() <= LONGEST
            && statement.literals.len() <= MOST_LITERALS
            && statement.parameter_types.is_empty()
            && statement.modern_number.is_none()
            && !statement.is_in_doubt()
            && !text.is_suspicious();
        let before = |literal: &Literal| {
            let at = literal.token.start.checked_sub(1)?;
            statement.text.as_bytes().get(at).copied()
        };
        let apart = statement.literals.iter().all(|literal| before(literal).is_some_and(ends_before_literal));
        let end = statement.offset.checked_add(statement.text.len())?;
        (simple && apart).then(|| Self {
            text: whole.into(),
            statement: statement.offset..end,
            literals: statement.literals.into(),
        })
    }

    /// The same as [`Self::find`] for a text whose literals are short integers. What is the same as the known text or a
    /// digit needs no bounds: it holds nothing that a lexer could stumble over.
    #[inline]
    pub fn find_with_integers(&self, text: &str) -> Option<Alike> {
        let offset = self.statement.start;
        let (known_text, bytes) = (self.text.as_bytes(), text.as_bytes());
        let (mut known, mut at) = (0_usize, 0_usize);
        let mut literals = Tokens::new();
        for literal in &self.literals {
            let between = known_text.get(known..literal.token.start.checked_add(offset)?)?;
            let start = at.checked_add(between.len())?;
            if literal.class != LiteralClass::Integer || bytes.get(at..start)? != between {
                return None;
            }
            (known, at) = (literal.token.end.checked_add(offset)?, short_integer(bytes, start)?);
            literals.push(start.checked_sub(offset)?..at.checked_sub(offset)?);
        }
        if known_text.get(known..)? != bytes.get(at..)? {
            return None;
        }
        let end = self.statement.end.checked_sub(known)?.checked_add(at)?;
        Some(Alike { statement: offset..end, literals })
    }

    /// The statement of a text that is the same but for literals of the same classes.
    ///
    /// Between two tokens the lexer knows nothing but where it stands. So if a literal begins where one began and
    /// has its class, and the bytes behind it are the same up to the next one, then the tokens are the same.
    #[inline]
    pub fn find(&self, text: Bounded<'_>) -> Option<Alike> {
        if text.is_suspicious() {
            return None;
        }
        let offset = self.statement.start;
        let (known_text, bytes) = (self.text.as_bytes(), text.text().as_bytes());
        let (mut known, mut at) = (0_usize, 0_usize);
        let mut literals = Tokens::new();
        for literal in &self.literals {
            let between = known_text.get(known..literal.token.start.checked_add(offset)?)?;
            let same = bytes.get(at..)?.starts_with(between);
            let start = same.then(|| at.checked_add(between.len()))??;
            let token = Lexer::of_client(text, start).next_token().ok()??;
            if token.kind != Kind::Literal(literal.class) {
                return None;
            }
            (known, at) = (literal.token.end.checked_add(offset)?, token.end);
            literals.push(token.start.checked_sub(offset)?..token.end.checked_sub(offset)?);
        }
        if known_text.get(known..)? != bytes.get(at..)? {
            return None;
        }
        let end = self.statement.end.checked_sub(known)?.checked_add(at)?;
        Some(Alike { statement: offset..end, literals })
    }
}

/// Where the integer that begins at a byte ends, if it surely is one token of that class for every major: so short that
/// it is no bigint, and nothing behind it that a number could go on with.
#[inline]
fn short_integer(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let digits = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let ends = match rest.get(digits) {
        None => true,
        Some(b'.' | b'_' | b'$' | 0x80..) => false,
        Some(next) => !next.is_ascii_alphanumeric(),
    };
    ((1..10).contains(&digits) && ends).then(|| start.saturating_add(digits))
}

/// How texts that are alike begin: everything before the first byte that may be of a literal, within bounds.
#[inline]
pub fn head(text: &str) -> &[u8] {
    let near = text.as_bytes().get(..LONGEST_HEAD).unwrap_or(text.as_bytes());
    // Whole runs first: the compiler compares their bytes all at once.
    let (runs, _) = near.as_chunks::<16>();
    let plain = |run: &&[u8; 16]| !run.iter().fold(false, |any, byte| any | may_be_of_literal(*byte));
    let skipped = runs.iter().take_while(plain).count().saturating_mul(16);
    let rest = near.get(skipped..).unwrap_or_default();
    let end = rest.iter().position(|byte| may_be_of_literal(*byte)).unwrap_or(rest.len());
    near.get(..skipped.saturating_add(end)).unwrap_or_default()
}

fn may_be_of_literal(byte: u8) -> bool {
    (byte == b'\'') | (byte == b'$') | byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Limits, Normaliser};

    fn pattern(text: &str) -> Option<Pattern> {
        let limits = Limits::default();
        let bounded = Bounded::new(text, &limits).unwrap();
        let mut normaliser = Normaliser::new(limits);
        let statement = normaliser.next_statement(bounded, 0).unwrap().unwrap();
        Pattern::of(bounded, &statement)
    }

    fn tokens(pattern: &str, text: &str) -> Option<Vec<String>> {
        let bounded = Bounded::new(text, &Limits::default()).unwrap();
        let found = self::pattern(pattern)?.find(bounded)?;
        let statement = &text[found.statement];
        Some(found.literals.into_iter().map(|range| statement[range].to_owned()).collect())
    }

    #[test]
    fn literals_of_a_class_stand_for_each_other() {
        let known = "select a from t where b = 'x' and c in (1, 2.5)";
        let found = tokens(known, "select a from t where b = 'it''s' and c in (77, .5)");
        assert_eq!(found, Some(vec!["'it''s'".into(), "77".into(), ".5".into()]));
        for other in [
            "select a from t where b = 'x' and c in (1, 25)",
            "select a from t where b = 'x' and c in (99999999999, 2.5)",
            "select a from t where b = E'x' and c in (1, 2.5)",
            "select a from t where b = 'x' and c in (1, 2.5) ",
            "select a from t where b = 'x' and c in (1, 2.5) -- x",
            "select a from t where b = 'x' or c in (1, 2.5)",
            "select a from t where b = 'x' and c in (1_0, 2.5)",
            "select a from t where b = 'x'\n'y' and c in (1, 2.5)",
            "select a from t where b = 'x",
            "select a from t where b = '\u{feff}' and c in (1, 2.5)",
        ] {
            assert_eq!(tokens(known, other), None, "{other}");
        }
    }

    #[test]
    fn what_is_alike_has_the_same_shape() {
        let texts = [
            "select a from t where b = 1",
            "select a from t where b = 1and c = 2",
            "select a from t where b =.5",
            "select a from t where b = 'x' /* 7 */ and c=3",
            "select a from t where b = $x$1$x$ and c = E'\\'' limit 5",
            "select a from t where b-1 > -2",
            "select (1)[2], array[3,4]",
            " \n select a from t where b = 1 and c = 'x' ;\n",
            "select a from t where b = 1;",
            "select a from t where b = 1\n",
            "select a from t where b = 1 or 22>=c",
        ];
        let literals = [
            "1",
            "22",
            "007",
            "999999999",
            "2147483647",
            "2147483648",
            "1.",
            "1e5",
            "1e",
            "1a",
            "1é",
            ".5",
            "1.5",
            "'a'",
            "'b c'",
            "E'\\n'",
            "$x$y$x$",
            "99999999999",
            "1_0",
            "0x1",
        ];
        let limits = Limits::default();
        let shape = |text: &str| {
            let mut normaliser = Normaliser::new(limits);
            let found = normaliser.next_statement(Bounded::new(text, &limits).unwrap(), 0).ok()??;
            let ranges: Vec<_> = found.literals.iter().map(|l| l.token.clone()).collect();
            Some((found.shape.to_owned(), found.text.to_owned(), ranges))
        };
        let (mut alike, mut glances) = (0, 0);
        for known in texts {
            let Some(pattern) = pattern(known) else { continue };
            let offset = pattern.statement.start;
            for literal in &pattern.literals {
                for other in literals {
                    let place = literal.token.start + offset..literal.token.end + offset;
                    let text = format!("{}{other}{}", &known[..place.start], &known[place.end..]);
                    let found = pattern.find(Bounded::new(&text, &limits).unwrap());
                    if let Some(at_a_glance) = pattern.find_with_integers(&text) {
                        assert_eq!(found.as_ref(), Some(&at_a_glance), "{text}");
                        glances += 1;
                    }
                    let Some(found) = found else { continue };
                    let (shape_of_text, statement, ranges) = shape(&text).unwrap();
                    assert_eq!(&text[found.statement], statement);
                    assert_eq!(
                        (shape(known).unwrap().0, found.literals.to_vec()),
                        (shape_of_text, ranges),
                        "{text}"
                    );
                    alike += 1;
                }
            }
        }
        assert!(alike > 20 && glances > 10, "{alike} {glances}");
    }

    #[test]
    fn literal_that_may_grow_into_what_stands_before_it_makes_no_pattern() {
        for text in
            ["select a.5", "select t.5 from t", "select 'a'1.5", "select $$a$$'b'", "select 1; select 2"]
        {
            assert_eq!(pattern(text), None, "{text}");
        }
    }
}
