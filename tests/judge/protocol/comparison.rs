//! Whether two sides have answered a sequence of messages alike: message by message, after the differences below.
//!
//! | what | why it may differ |
//! |---|---|
//! | NoticeResponse | withheld from tenants (SECURITY.md) |
//! | ParameterStatus | a name may be told once more: each name's last value is compared instead |
//! | NotificationResponse | comes when it comes: all of a sequence are compared together, without the process |
//! | the same behind DISCARD ALL | the proxy answers it; the server is told before the next statement |
//! | texts of errors | the proxy raises some of them itself, in words of its own: their code is compared |
//! | DETAIL, HINT, position, line of errors | withheld, or of the rewritten text |
//! | oids of users' objects | two schemas |
//! | everything of a sequence that meets a limit of the proxy's own | [`LIMITS`]; where it always does, what follows is compared with what follows another error |
//!
//! Not made: a Sync between the fields of a row of COPY FROM in binary, which goes to the server as a whole once it is
//! judged (PostgreSQL finds an error in a field before it has read the others). And, since PostgreSQL's answer depends on what it finds in its memory: an Execute or a Describe of the unnamed portal that a Query
//! may have left to a failed transaction: PostgreSQL looks at a statement that is gone from its memory, and may crash
//! ([`maker`](super::maker)).

use std::collections::BTreeMap;

use crate::support::wire::{Message, error_fields};

use super::message::shown;
use super::side::NOT_HELD;

/// The first oid of what users made.
const FIRST_NORMAL_OID: u32 = 16384;

const DISCARDED: &str = "C DISCARD ALL\\x00";

/// Refusals of more server connections that are kept beyond their transactions than `max_pinned`: PostgreSQL has no such
/// limit. Clients that share connections meet it by chance.
const LIMITS: [&str; 2] = [
    "E ERROR 53300 pgbulkhead: too many sessions keep a server connection",
    "E ERROR 53400 pgbulkhead: too many server connections are kept for cursors",
];

/// An EXECUTE that is bound to another statement than its name stands for when it is run, or to none: PostgreSQL runs the one
/// that there is, and its rows come under the columns of the other, or not at all. The proxy has the client bind it again.
const ANOTHER: &str = "E ERROR 0A000 pgbulkhead: prepared statement ";

/// PostgreSQL takes a snapshot when it parses a statement, and sets no isolation level behind it in the same batch. What the
/// server connection knows already is not parsed again, and takes none.
const SNAPSHOT: [&str; 2] =
    ["E ERROR 25001 SET TRANSACTION ISOLATION LEVEL must be called before any query", "C S"];

/// What a side has said, as far as it can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// In order, each as a line.
    pub answers: Vec<String>,
    pub parameters: BTreeMap<String, String>,
    pub notifications: Vec<String>,
    /// It ended like this.
    pub end: Option<String>,
}

impl Heard {
    pub fn of(messages: &[Message], end: Option<String>) -> Self {
        let mut heard = Self { end, ..Self::default() };
        for message in messages {
            heard.add(message);
        }
        heard.notifications.sort();
        heard
    }

    /// Whether it has met a limit of the proxy's own.
    fn is_limited(&self) -> bool {
        self.answers.iter().any(|answer| LIMITS.iter().any(|limit| answer.starts_with(limit)))
    }

    fn add(&mut self, Message { tag, body }: &Message) {
        match tag {
            b'N' => {}
            b'S' if self.answers.last().is_some_and(|last| last == DISCARDED) => {}
            b'S' => {
                let (name, value) = pair(body);
                self.parameters.insert(name, value);
            }
            b'A' => {
                let (channel, payload) = pair(body.get(4..).unwrap_or_default());
                self.notifications.push(format!("{channel} {payload}"));
            }
            _ => {
                self.answers.push(line(*tag, body));
                if self.answers.last().is_some_and(|last| last == DISCARDED) {
                    self.parameters.clear();
                }
            }
        }
    }
}

/// Whether nothing of the proxy's can be compared with this, for one of the reasons above.
pub fn is_excused(judged: &Heard, oracle: &Heard) -> bool {
    let [refused, done] = SNAPSHOT;
    let first = oracle.answers.iter().zip(&judged.answers).find(|(wanted, next)| !alike(next, wanted));
    let is_another = judged.answers.iter().any(|answer| answer.starts_with(ANOTHER));
    judged.is_limited()
        || is_another
        || first.is_some_and(|(wanted, next)| wanted == refused && next.starts_with(done))
}

/// The first difference.
pub fn difference(judged: &Heard, oracle: &Heard) -> Option<String> {
    let mut found = judged.answers.iter().peekable();
    for (at, wanted) in oracle.answers.iter().enumerate() {
        match found.peek() {
            Some(next) if alike(next, wanted) => {
                found.next();
            }
            next => {
                let next = next.map_or("nothing", |next| next.as_str());
                let end = judged.end.as_deref().map_or_else(String::new, |end| format!(" ({end})"));
                return Some(format!("answer {at} is {next}{end}, expected {wanted}"));
            }
        }
    }
    if let Some(more) = found.next() {
        return Some(format!("one answer more: {more}"));
    }
    if judged.end != oracle.end {
        return Some(format!("ended {:?}, expected {:?}", judged.end, oracle.end));
    }
    if judged.notifications != oracle.notifications {
        return Some(format!("notified {:?}, expected {:?}", judged.notifications, oracle.notifications));
    }
    // PostgreSQL does not say what the end of a transaction puts back where it ends the connection.
    let mut told = oracle.parameters.iter().filter(|_| oracle.end.is_none());
    let other = told.find(|(name, value)| judged.parameters.get(*name) != Some(value));
    other.map(|(name, value)| {
        format!("parameter {name} is {:?}, expected {value:?}", judged.parameters.get(name))
    })
}

/// The same line, or two errors of the same code of which one is in the proxy's words.
fn alike(found: &str, expected: &str) -> bool {
    found == expected
        || LIMITS.iter().any(|limit| found.starts_with(limit)) && expected.contains(NOT_HELD)
        || found.split_once(" pgbulkhead: ").is_some_and(|(code, _)| {
            code.starts_with('E') && expected.strip_prefix(code).is_some_and(|rest| rest.starts_with(' '))
        })
}

fn line(tag: u8, body: &[u8]) -> String {
    let tag_text = char::from(tag);
    match tag {
        b'E' => {
            let fields = error_fields(body);
            let field = |of| fields.get(&of).map_or("", String::as_str);
            format!("E {} {} {}", field('V'), field('C'), renamed(field('M')))
        }
        b'T' => format!("T {}", columns(body).unwrap_or_else(|| shown(body))),
        b't' => format!(
            "t {:?}",
            body.get(2..).unwrap_or_default().chunks_exact(4).map(number).collect::<Vec<_>>()
        ),
        b'G' | b'H' | b'W' => format!("{tag_text} {body:?}"),
        _ if body.is_empty() => tag_text.to_string(),
        _ => format!("{tag_text} {}", renamed(&body.escape_ascii().to_string())),
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// The columns of a RowDescription, with everything that is told of each.
fn columns(body: &[u8]) -> Option<String> {
    let mut rest = body.get(2..)?;
    let mut out = format!("{} columns", number(body.get(..2)?));
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (name, after) = rest.split_at(end);
        let fixed = after.get(1..19)?;
        let table = if number(&fixed[..4]) < FIRST_NORMAL_OID { "-" } else { "table" };
        let type_oid = number(&fixed[6..10]);
        let type_oid = if type_oid < FIRST_NORMAL_OID { type_oid.to_string() } else { "type".into() };
        out += &format!(
            "; {} {table} {} {type_oid} {} {} {}",
            name.escape_ascii(),
            number(&fixed[4..6]),
            number(&fixed[10..12]),
            number(&fixed[12..16]),
            number(&fixed[16..18])
        );
        rest = after.get(19..)?;
    }
    Some(out)
}

/// The oracle's names under those of the judged side.
fn renamed(text: &str) -> String {
    text.replace("rls.", "app.")
}

fn pair(body: &[u8]) -> (String, String) {
    let mut parts = body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
