//! An event as a line of JSON. Written by hand: a statement's plan is formatted once and kept, the rest is a
//! few numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::Operation;
use crate::plan::Plan;
use crate::policy::SqlState;
use crate::sql::{Action, Witnessed};

use super::event::{Event, Verdict};
use super::redact::redact;

/// No line is longer than this, in bytes, with its newline.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Plans whose part of a line is kept; more, and all are made anew.
const KEPT_PLANS: usize = 4096;

/// Bytes of a field before escaping, which makes at most six of one.
const NAME: usize = 256;
const REASON: usize = 512;
const STATEMENT: usize = 6 * 1024;
const RELATIONS: usize = 1024;

/// Formats events.
#[derive(Debug, Default)]
pub struct Formatter {
    plans: HashMap<u64, (Arc<Plan>, Box<[u8]>)>,
    second: u64,
    second_text: String,
}

impl Formatter {
    /// Appends an event without its end, which the chain writes.
    pub fn event(&mut self, out: &mut Vec<u8>, seq: u64, event: &Event) {
        self.head(out, seq, event.time);
        number(out, "session", event.session);
        string(out, "user", &event.user, NAME);
        string(out, "role", &event.role, NAME);
        string(out, "database", &event.database, NAME);
        if let Some(tenant) = &event.tenant {
            string(out, "tenant", tenant.as_str(), NAME);
        }
        match &event.verdict {
            Verdict::Ran { plan, rows, error, duration } => {
                string(out, "event", "statement", NAME);
                string(out, "verdict", if error.is_none() { "allowed" } else { "failed" }, NAME);
                if let Some(code) = error {
                    string(out, "sqlstate", &String::from_utf8_lossy(code), NAME);
                }
                number(out, "rows", *rows);
                number(out, "duration_us", *duration);
                self.plan(out, plan);
            }
            Verdict::Refused { state, rule, reason, statement } => {
                string(out, "event", "statement", NAME);
                refusal(out, *state, reason);
                string(out, "rule", rule.0, NAME);
                string(out, "statement", statement, STATEMENT);
            }
            Verdict::LoggedIn => {
                string(out, "event", "login", NAME);
                string(out, "verdict", "allowed", NAME);
            }
            Verdict::LoginRefused { state, reason } => {
                string(out, "event", "login", NAME);
                refusal(out, *state, reason);
            }
        }
    }

    /// Appends a line about the log itself.
    pub fn mark(&mut self, out: &mut Vec<u8>, seq: u64, time: u64, event: &str, fields: &[(&str, &str)]) {
        self.head(out, seq, time);
        string(out, "event", event, NAME);
        for (name, value) in fields {
            string(out, name, value, NAME);
        }
    }

    fn head(&mut self, out: &mut Vec<u8>, seq: u64, time: u64) {
        out.extend_from_slice(b"{\"seq\":");
        digits(out, seq);
        out.extend_from_slice(b",\"time\":\"");
        let (second, micros) = (time / 1_000_000, time % 1_000_000);
        if second != self.second || self.second_text.is_empty() {
            self.second = second;
            self.second_text = until_seconds(second);
        }
        out.extend_from_slice(self.second_text.as_bytes());
        // Six digits behind the point: the leading 1 gives way to it.
        let point = out.len();
        digits(out, micros.saturating_add(1_000_000));
        if let Some(first) = out.get_mut(point) {
            *first = b'.';
        }
        out.extend_from_slice(b"Z\"");
    }

    fn plan(&mut self, out: &mut Vec<u8>, plan: &Arc<Plan>) {
        // Another database's plan may have the same number.
        if let Some((known, kept)) = self.plans.get(&plan.id)
            && Arc::ptr_eq(known, plan)
        {
            out.extend_from_slice(kept);
            return;
        }
        if self.plans.len() >= KEPT_PLANS {
            self.plans.clear();
        }
        let mut made = Vec::new();
        self::plan(&mut made, plan);
        out.extend_from_slice(&made);
        self.plans.insert(plan.id, (plan.clone(), made.into_boxed_slice()));
    }
}

/// The part of a line that is the same for every run of a plan.
fn plan(out: &mut Vec<u8>, plan: &Plan) {
    let decision = &plan.planned.decision;
    number(out, "plan", plan.id);
    string(out, "rule", decision.rule.0, NAME);
    string(out, "reason", &decision.reason, REASON);
    string(out, "witness", witness(decision.witnessed), NAME);
    relations(out, &decision.relations);
    string(out, "statement", &statement(plan), STATEMENT);
}

fn relations(out: &mut Vec<u8>, relations: &[(String, Operation)]) {
    out.extend_from_slice(b",\"relations\":[");
    let mut room = RELATIONS;
    for (place, (relation, operation)) in relations.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let Some(left) = room.checked_sub(relation.len().saturating_add(16)) else {
            out.extend_from_slice("\"…\"".as_bytes());
            break;
        };
        room = left;
        out.push(b'"');
        escape(out, self::operation(*operation), NAME);
        out.push(b' ');
        escape(out, relation, NAME);
        out.push(b'"');
    }
    out.push(b']');
}

/// The statement as it was sent, with `?` for literals and the tenant's parameter.
pub fn statement(plan: &Plan) -> String {
    match &plan.planned.action {
        Action::Send { sql, .. } | Action::Set { sql, .. } | Action::Savepoint { sql, .. } => {
            let mut text = Vec::new();
            sql.render_extended(&mut text, plan.planned.parameters.saturating_add(1), |_| b"?");
            redact(&String::from_utf8_lossy(&text))
        }
        Action::Prepare { name, .. } => format!("PREPARE {name}"),
        Action::Execute(execute) => format!("EXECUTE {}", execute.name),
        Action::BindTenant { .. } => "SET pgbulkhead.tenant_token = ?".to_owned(),
        Action::UnbindTenant => "RESET pgbulkhead.tenant_token".to_owned(),
        Action::Deallocate { name } => format!("DEALLOCATE {}", name.as_deref().unwrap_or("ALL")),
        Action::Discard(discard) => format!("DISCARD {discard:?}").to_uppercase(),
        Action::Empty => String::new(),
    }
}

fn refusal(out: &mut Vec<u8>, state: SqlState, reason: &str) {
    string(out, "verdict", "refused", NAME);
    string(out, "sqlstate", state.0, NAME);
    string(out, "reason", reason, REASON);
}

fn witness(witnessed: Witnessed) -> &'static str {
    match witnessed {
        Witnessed::Agrees => "agrees",
        Witnessed::CannotRead => "cannot read",
        Witnessed::NoRelation => "no relation",
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Select => "select",
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    digits(out, value);
}

fn string(out: &mut Vec<u8>, name: &str, value: &str, most: usize) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape(out, value, most);
    out.push(b'"');
}

/// JSON's escapes, and the same for what a terminal would obey or hide: control characters of both ranges,
/// line separators, and marks that change the direction of text. What is longer than `most` bytes is cut.
fn escape(out: &mut Vec<u8>, value: &str, most: usize) {
    if value.len() <= most && value.bytes().all(is_plain) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let mut utf8 = [0; 4];
    for (at, c) in value.char_indices() {
        if at >= most {
            out.extend_from_slice("…".as_bytes());
            return;
        }
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', u8::try_from(c).unwrap_or(b'?')]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
        }
    }
}

/// A character that stands for itself in JSON and on a terminal.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Appends a number in decimal.
fn digits(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [b'0'; 20];
    let mut length = 1_usize;
    for (place, digit) in text.iter_mut().rev().enumerate() {
        if value == 0 {
            break;
        }
        *digit = b'0'.saturating_add(u8::try_from(value % 10).unwrap_or_default());
        value /= 10;
        length = place.saturating_add(1);
    }
    out.extend_from_slice(text.get(text.len().saturating_sub(length)..).unwrap_or_default());
}

/// `2026-11-25T16:28:40`, in UTC.
fn until_seconds(second: u64) -> String {
    let time = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    let text = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    text.trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Chain;
    use crate::policy::Rule;

    fn event(statement: &str, user: &str) -> Event {
        Event {
            time: 1_764_088_120_000_042,
            session: 7,
            user: user.into(),
            role: "app".into(),
            database: "ccm".into(),
            tenant: None,
            verdict: Verdict::Refused {
                state: SqlState::DENIED,
                rule: Rule("access"),
                reason: "no".into(),
                statement: statement.into(),
            },
        }
    }

    fn line(event: &Event) -> Vec<u8> {
        let mut out = Vec::new();
        Formatter::default().event(&mut out, 1, event);
        Chain::default().seal(&mut out, 0);
        out
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let text = String::from_utf8(line(&event("select ?", "acme"))).unwrap();
        assert!(
            text.starts_with("{\"seq\":1,\"time\":\"2025-11-25T16:28:40.000042Z\",\"session\":7,"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((json["rule"].as_str(), json["sqlstate"].as_str()), (Some("access"), Some("42501")));
        assert_eq!(json["verdict"], "refused");
    }

    #[test]
    fn every_field_is_explained() {
        let explained = include_str!("../../OPERATING.md");
        let source = include_str!("line.rs");
        let (source, _) = source.split_once("#[cfg(test)]").unwrap();
        let calls = ["string(out, \"", "number(out, \"", ",\\\"", "{\\\""];
        let names = calls.iter().flat_map(|call| source.split(call).skip(1));
        let names: Vec<_> = names.filter_map(|rest| rest.split(['"', '\\']).next()).collect();
        assert!(names.contains(&"verdict") && names.contains(&"seq") && names.contains(&"relations"));
        for name in names.into_iter().chain(["prev", "hash", "version", "run", "process"]) {
            assert!(name.is_empty() || explained.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn no_text_forges_a_line_or_moves_the_cursor() {
        let nasty = "a\n\"}\n{\"seq\":2,\u{1b}[2J\u{9b}31m\0\r\u{202e}\\";
        let text = line(&event(nasty, nasty));
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        let printable = String::from_utf8(text).unwrap();
        assert!(printable.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'));
        let json: serde_json::Value = serde_json::from_str(&printable).unwrap();
        assert_eq!(json["statement"], nasty);
        assert_eq!(json["user"], nasty);
    }

    #[test]
    fn a_line_has_a_limit() {
        let long = "\u{1}".repeat(1 << 20);
        assert!(line(&event(&long, &long)).len() < MAX_LINE_BYTES);
        let mut out = Vec::new();
        let many: Vec<_> = (0..10_000).map(|n| (format!("\u{1}{n}"), Operation::Select)).collect();
        relations(&mut out, &many);
        assert!(out.len() < 8 * RELATIONS);
    }
}
