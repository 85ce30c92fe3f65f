//! Whether two answers to the same statement are the same.

use crate::support::wire::{Answer, Field, Outcome};

/// The first oid of what users made.
const FIRST_NORMAL_OID: u32 = 16384;
/// oid, regproc, regclass, regtype and their arrays: what the two schemas cannot have in common.
const OID_TYPES: [u32; 4] = [26, 24, 2205, 2206];

/// How closely two answers can be the same.
#[derive(Debug, Clone, Copy)]
pub struct Closeness {
    /// The rows come in an order that the statement asked for.
    pub ordered: bool,
    pub rows: Rows,
}

/// What must be the same of two results' rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Each value.
    Same,
    /// Each value, but for oids in it and for privileges, which the two schemas cannot have in common.
    WithoutOids,
    /// Their number: the values depend on the time, or on the plan.
    Counted,
    /// Nothing.
    Any,
}

/// The first difference between what is judged and the oracle, if there is one.
pub fn difference(judged: &Answer, oracle: &Answer, closeness: Closeness) -> Option<String> {
    let (judged_parts, oracle_parts) = (judged.outcomes(), oracle.outcomes());
    for (at, expected) in oracle_parts.iter().enumerate() {
        let Some(found) = judged_parts.get(at) else {
            return Some(format!("statement {at} has no answer, expected {}", summary(expected)));
        };
        if let Some(difference) = outcome_difference(found, expected, closeness) {
            return Some(difference);
        }
    }
    if judged_parts.len() != oracle_parts.len() {
        return Some(format!("{} answers, expected {}", judged_parts.len(), oracle_parts.len()));
    }
    if judged.status != oracle.status {
        let (found, expected) = (char::from(judged.status), char::from(oracle.status));
        return Some(format!("transaction status {found}, expected {expected}"));
    }
    None
}

fn outcome_difference(found: &Outcome, expected: &Outcome, closeness: Closeness) -> Option<String> {
    if found.state() != expected.state() {
        return Some(format!("{}, expected {}", summary(found), summary(expected)));
    }
    if expected.error.is_some() {
        return None;
    }
    if found.tag != expected.tag && closeness.rows != Rows::Any {
        return Some(format!("tag {:?}, expected {:?}", found.tag, expected.tag));
    }
    let (names, expected_names) = (field_names(found), field_names(expected));
    if names != expected_names {
        return Some(format!("columns {names:?}, expected {expected_names:?}"));
    }
    let (count, expected_count) = (found.rows.len(), expected.rows.len());
    match closeness.rows {
        Rows::Any => return None,
        _ if count != expected_count => return Some(format!("{count} rows, expected {expected_count}")),
        Rows::Counted => return None,
        Rows::Same | Rows::WithoutOids => {}
    }
    if copied(found, closeness) != copied(expected, closeness) {
        return Some("other COPY data".into());
    }
    let without_oids = closeness.rows == Rows::WithoutOids;
    let (mut rows, mut expected_rows) = (rows_of(found, without_oids), rows_of(expected, without_oids));
    if !closeness.ordered {
        rows.sort();
        expected_rows.sort();
    }
    let at = rows.iter().zip(&expected_rows).position(|(a, b)| a != b)?;
    Some(format!("row {at}: {}, expected {}", shown(&rows[at]), shown(&expected_rows[at])))
}

/// The lines of COPY data, in the order in which they matter.
fn copied(outcome: &Outcome, closeness: Closeness) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = outcome.copied.split_inclusive(|b| *b == b'\n').map(normalised).collect();
    if !closeness.ordered {
        lines.sort();
    }
    lines
}

/// Names, and types as far as both schemas share them.
fn field_names(outcome: &Outcome) -> Option<Vec<(String, u32)>> {
    let of = |field: &Field| {
        let type_oid = if field.type_oid < FIRST_NORMAL_OID { field.type_oid } else { 0 };
        (field.name.clone(), type_oid)
    };
    outcome.fields.as_ref().map(|fields| fields.iter().map(of).collect())
}

fn rows_of(outcome: &Outcome, without_oids: bool) -> Vec<Vec<Option<Vec<u8>>>> {
    let hides = |at: usize| {
        let field = outcome.fields.as_ref().and_then(|fields| fields.get(at));
        field.is_some_and(|field| OID_TYPES.contains(&field.type_oid))
    };
    let value = |(at, value): (usize, &Option<Vec<u8>>)| {
        value.as_ref().map(|v| match hides(at) {
            true => b"(oid)".to_vec(),
            false if without_oids => masked(&normalised(v)),
            false => normalised(v),
        })
    };
    outcome.rows.iter().map(|row| row.iter().enumerate().map(value).collect()).collect()
}

/// The oracle's schema and role under the names of the judged ones.
fn normalised(value: &[u8]) -> Vec<u8> {
    if value == b"rls" {
        return b"app".to_vec();
    }
    let Ok(text) = std::str::from_utf8(value) else { return value.to_vec() };
    text.replace("rls.", "app.").replace("app_rls", "app_backend").into_bytes()
}

/// A text with each number of five digits masked, which in a catalog is an oid, and with the one set of
/// privileges that differs.
fn masked(value: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(value) else { return value.to_vec() };
    let mut out = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        out.push_str(if digits.len() == 5 { "(oid)" } else { digits });
        out.push_str(&part[digits.len()..]);
    }
    out.replace("app_backend=arwdDxt/", "app_backend=arwd/").into_bytes()
}

fn shown(row: &[Option<Vec<u8>>]) -> String {
    let value = |value: &Option<Vec<u8>>| {
        value.as_ref().map_or("NULL".into(), |v| format!("{:.60}", String::from_utf8_lossy(v)))
    };
    row.iter().map(value).collect::<Vec<_>>().join(" | ")
}

/// One line about an outcome.
pub fn summary(outcome: &Outcome) -> String {
    match (&outcome.error, &outcome.tag) {
        (Some(_), _) => {
            format!("{} {}", outcome.state().unwrap_or("?????"), outcome.message().unwrap_or_default())
        }
        (None, Some(tag)) => format!("{tag:?}"),
        (None, None) => format!("{} rows without an end", outcome.rows.len()),
    }
}

/// Whether the statement's own, outermost level asks for an order.
pub fn is_ordered(sql: &str) -> bool {
    let lower = sql.to_lowercase();
    let mut depth = 0_i32;
    let mut quote = None;
    for (at, character) in lower.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, 'o') if depth == 0 && is_order_by(&lower[at..]) => return true,
            _ => {}
        }
    }
    false
}

fn is_order_by(text: &str) -> bool {
    let mut words = text.split_whitespace();
    words.next() == Some("order") && words.next().is_some_and(|word| word.starts_with("by"))
}
