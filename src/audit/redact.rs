//! A statement without its literals: they may be passwords, tokens or other people's data.

/// Longest text that is kept, in bytes.
const KEPT: usize = 4096;

/// The statement with every string, number and dollar-quoted body as `?`, without comments, and cut. Where a
/// quote is not closed, nothing after it is kept. Follows PostgreSQL's lexer (`scan.l`) with
/// standard_conforming_strings on, as it is pinned.
pub fn redact(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len().min(KEPT));
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        if out.len() >= KEPT {
            out.push('…');
            break;
        }
        rest = match step(rest, first, &mut out) {
            Some(rest) => rest,
            None => {
                out.push_str("?…");
                break;
            }
        };
    }
    out
}

/// Takes one token off, puts what may be kept of it out; nothing where the token does not end.
fn step<'t>(text: &'t str, first: char, out: &mut String) -> Option<&'t str> {
    let after = text.strip_prefix(first)?;
    match first {
        '\'' => {
            let rest = quoted(after, out.ends_with(['e', 'E']) && is_prefix(out))?;
            out.push('?');
            Some(rest)
        }
        '"' => {
            let (name, rest) = after.split_once('"')?;
            out.push('"');
            push_cut(out, name);
            out.push('"');
            Some(rest)
        }
        '$' => match dollar_body(text) {
            Some(rest) => {
                out.push('?');
                rest
            }
            None => {
                out.push('$');
                let digits = digits(after);
                out.push_str(after.get(..digits)?);
                after.get(digits..)
            }
        },
        '-' if after.starts_with('-') => {
            out.push(' ');
            Some(after.find('\n').and_then(|end| after.get(end..)).unwrap_or_default())
        }
        '/' if after.starts_with('*') => {
            out.push(' ');
            comment(after.strip_prefix('*')?)
        }
        '0'..='9' => {
            out.push('?');
            let end = after.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_')));
            after.get(end.unwrap_or(after.len())..)
        }
        letter if letter.is_alphabetic() || letter == '_' => {
            let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')));
            let (word, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
            push_cut(out, word);
            Some(rest)
        }
        other => {
            out.push(other);
            Some(after)
        }
    }
}

/// A word, as far as there is room.
fn push_cut(out: &mut String, word: &str) {
    let room = KEPT.saturating_sub(out.len());
    out.extend(word.char_indices().take_while(|(at, _)| *at < room).map(|(_, c)| c));
}

/// Whether what was put out last is a word of one letter: the `E` of `E'…'`.
fn is_prefix(out: &str) -> bool {
    let before = out.chars().rev().nth(1);
    !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
}

/// What follows the closing quote; two quotes are one, and so is a backslash with what follows it.
fn quoted(text: &str, escapes: bool) -> Option<&str> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if escapes => {
                bytes.next();
            }
            b'\'' if text.as_bytes().get(at.checked_add(1)?) == Some(&b'\'') => {
                bytes.next();
            }
            b'\'' => return text.get(at.checked_add(1)?..),
            _ => {}
        }
    }
    None
}

/// `$tag$…$tag$`: what follows it, or nothing where it does not end. `None` where the text starts with no tag.
fn dollar_body(text: &str) -> Option<Option<&str>> {
    let tag_end = text.get(1..)?.find('$')?.checked_add(2)?;
    let (tag, rest) = text.split_at_checked(tag_end)?;
    let name = tag.get(1..tag_end.checked_sub(1)?)?;
    let starts_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
    if starts_with_digit || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    Some(rest.find(tag).and_then(|at| rest.get(at.checked_add(tag.len())?..)))
}

/// What follows a comment, which may hold others.
fn comment(mut text: &str) -> Option<&str> {
    let mut depth = 1_usize;
    while depth > 0 {
        let at = text.find(['*', '/'])?;
        let here = text.get(at..)?;
        let (step, taken) = match here {
            _ if here.starts_with("*/") => (depth.checked_sub(1)?, 2),
            _ if here.starts_with("/*") => (depth.checked_add(1)?, 2),
            _ => (depth, 1),
        };
        depth = step;
        text = here.get(taken..)?;
    }
    Some(text)
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_every_kind_are_taken_out() {
        for (text, kept) in [
            ("SELECT * FROM t WHERE a = 'secret' AND b = 42", "SELECT * FROM t WHERE a = ? AND b = ?"),
            ("set pgbulkhead.tenant_token = 'ey.secret.x'", "set pgbulkhead.tenant_token = ?"),
            ("alter user x password 'it''s secret'", "alter user x password ?"),
            ("select 'a\\', 'secret'", "select ?, ?"),
            (r"select E'a\', secret', b", "select E?, b"),
            (r"select e'a\\', 'secret'", "select e?, ?"),
            (r"select type'a\', 'secret'", "select type?, ?"),
            ("select $$secret$$, $a$se$$cret$a$, $1, $12", "select ?, ?, $1, $12"),
            ("select U&'secret', x'00ff', 1e10, 0xff, 1.5", "select U&?, x?, ?, ?, ?"),
            ("select 1 -- 'secret\n, 'secret'", "select ?  \n, ?"),
            ("select /* ' /* nested */ secret */ 'secret'", "select   ?"),
            ("select \"a'b\", 'secret', t1.c2", "select \"a'b\", ?, t1.c2"),
            ("select a$b$c$b$d", "select a$b$c$b$d"),
            ("select 'ünïcode', ü", "select ?, ü"),
        ] {
            assert_eq!(redact(text), kept, "{text}");
        }
    }

    #[test]
    fn nothing_is_kept_after_a_quote_that_does_not_end() {
        for text in
            ["a 'secret", "a $x$secret", "a /* secret", "a \"secret", r"a E'\'secret", "a 'x' 'secret"]
        {
            assert!(!redact(text).contains("secret"), "{}", redact(text));
            assert!(redact(text).ends_with("?…"));
        }
    }

    #[test]
    fn a_long_statement_is_cut() {
        let cut = redact(&"a,".repeat(1 << 20));
        assert!(cut.len() < KEPT + 8 && cut.ends_with('…'));
        assert!(redact(&format!("select {}", "ab".repeat(100_000))).len() <= KEPT + 8);
    }
}
