//! For tests of the data path: a planning function that looks at the first word and lets the text through.
//! `tenant()` in it stands for the tenant's value, `refuse` at its start for a refusal, `short` for a condition that relies
//! on the second parameter's length, `guarded` for a plan without such a condition.

use std::sync::Arc;

use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::copy::{Form, Load, Place};
use crate::sql::leaksafe::{BindCheck, BindRule};
use crate::sql::{
    Action, Argument, Decision, Discard, Execute, Given, Lasting, Piece, Planned, SavepointDeed,
    SettingChange, Statement, StatementKind, Template, VerifiedSql, Witnessed, World,
};

/// Plans a statement, whatever the world and the role.
pub fn plan(_: &World, _: &str, statement: &Statement<'_>) -> Result<Planned, Refusal> {
    of(statement)
}

fn of(statement: &Statement<'_>) -> Result<Planned, Refusal> {
    let words: Vec<String> = statement.text.split_whitespace().take(4).map(str::to_lowercase).collect();
    let word = |index: usize| words.get(index).map(String::as_str).unwrap_or_default();
    if word(0) == "refuse" {
        let position = statement.text.find('!').unwrap_or(0) as i32;
        return Err(Refusal::new(SqlState::DENIED, Rule("test"), "refused").at(position));
    }
    let sql = VerifiedSql::unverified(template(statement));
    let local = word(1) == "local";
    let name = word(if local { 2 } else { 1 }).to_owned();
    let kind = match word(0) {
        "begin" | "start" => StatementKind::Begin,
        "commit" | "rollback" if word(1) == "and" => StatementKind::Chain,
        "commit" | "end" => StatementKind::Commit,
        "rollback" if word(1) == "to" => StatementKind::Savepoint,
        "rollback" | "abort" => StatementKind::Rollback,
        "savepoint" | "release" => StatementKind::Savepoint,
        "copy" if statement.text.contains("from stdin") => StatementKind::CopyIn,
        "copy" => StatementKind::CopyOut,
        "insert" => StatementKind::Insert,
        "hold" => StatementKind::HeldCursor,
        "declare" if statement.text.contains("with hold") => StatementKind::HeldCursor,
        "listen" => StatementKind::Listen,
        "fetch" => StatementKind::Fetch,
        "close" => StatementKind::CloseCursor,
        _ => StatementKind::Select,
    };
    let action = match (word(0), name.as_str()) {
        ("set", "pgbulkhead.tenant_token") => Action::BindTenant { literal: 0, local },
        ("reset", "pgbulkhead.tenant_token") => Action::UnbindTenant,
        ("set", _) => {
            Action::Set { sql, changes: vec![change(&name, Some(last_word(statement.text)), local)] }
        }
        ("reset", _) => Action::Set { sql, changes: vec![change(&name, None, local)] },
        ("savepoint", _) => Action::Savepoint { sql, deed: SavepointDeed::Set, name },
        ("release", _) => Action::Savepoint { sql, deed: SavepointDeed::Release, name },
        ("rollback", "to") => {
            Action::Savepoint { sql, deed: SavepointDeed::RollbackTo, name: word(2).into() }
        }
        ("prepare", _) => Action::Prepare { name, types: Vec::new() },
        ("execute", _) => Action::Execute(Box::new(execute(statement, name))),
        ("deallocate", _) => Action::Deallocate { name: Some(name) },
        ("discard", _) => Action::Discard(Discard::All),
        _ => Action::Send { sql, kind, needs_tenant: false, cursor: Some(name.into()) },
    };
    Ok(Planned {
        action,
        parameters: if word(0) == "prepare" { 0 } else { highest_parameter(statement.text) },
        tenant_type: Some(23),
        holds: match word(0) {
            "listen" => Lasting::Takes,
            "unlisten" => Lasting::Releases,
            _ => Lasting::Nothing,
        },
        sequences: None,
        bind_checks: match statement.text.contains("short") {
            true => vec![BindCheck { parameter: 2, rule: BindRule::AtMost(100_000) }],
            false => Vec::new(),
        },
        cautious: match statement.text.contains("guarded") {
            true => Some(Box::new(of(&careful())?)),
            false => None,
        },
        pins: Vec::new(),
        load: (kind == StatementKind::CopyIn).then(|| load(statement.text)),
        decision: Decision {
            rule: Rule("test"),
            reason: String::new(),
            relations: Vec::new(),
            edits: Vec::new(),
            witnessed: Witnessed::NoRelation,
        },
    })
}

fn careful() -> Statement<'static> {
    let (shape, literals, parameter_types) = (String::new(), Vec::new(), Vec::new());
    Statement { text: "careful $1, $2, $3", offset: 0, shape, literals, modern_number: None, parameter_types }
}

fn last_word(text: &str) -> &str {
    text.split_whitespace().last().unwrap_or_default().trim_matches('\'')
}

fn change(name: &str, value: Option<&str>, local: bool) -> SettingChange {
    SettingChange::One {
        name: Given::Known(name.to_owned()),
        value: Given::Known(value.map(Into::into)),
        local: Given::Known(local),
    }
}

/// `execute name 1, 2`: the words behind the name are its values.
fn execute(statement: &Statement<'_>, name: String) -> Execute {
    let arguments: Vec<&str> = statement.text.split_whitespace().skip(2).collect();
    let template = |tenant: bool| {
        let mut pieces = vec![Piece::Text("execute ".into()), Piece::Prepared];
        pieces.push(Piece::Text(arguments.join(" ")));
        pieces.extend(tenant.then_some(Piece::Tenant));
        VerifiedSql::unverified(Template { pieces })
    };
    let arguments = vec![Argument::Expression; arguments.len()];
    Execute { name, plain: template(false), tenanted: template(true), arguments }
}

/// Rows of one column in the text format; with `checked` in the text, of the tenant column; `added`: without it; `inserted`:
/// the rows are inserted.
fn load(text: &str) -> Arc<Load> {
    let place = match () {
        () if text.contains("checked") => Place::Given { index: 0, type_oid: 23 },
        () if text.contains("added") => Place::Added { column: "tenant_id".to_owned(), type_oid: 23 },
        () => Place::Nowhere,
    };
    Arc::new(Load {
        form: Form::text(),
        columns: vec!["a".to_owned()],
        relation: "t".to_owned(),
        place,
        inserts: text.contains("inserted").then(|| vec![25]),
    })
}

fn template(statement: &Statement<'_>) -> Template {
    let mut pieces = Vec::new();
    let mut text = |part: &str| {
        for (index, part) in part.split("tenant()").enumerate() {
            if index > 0 {
                pieces.push(Piece::Tenant);
                pieces.push(Piece::Text("::int".to_owned()));
            }
            pieces.push(Piece::Text(part.to_owned()));
        }
    };
    let mut at = 0;
    let mut cuts = Vec::new();
    for (index, literal) in statement.literals.iter().enumerate() {
        cuts.push((at..literal.token.start, Some(index)));
        at = literal.token.end;
    }
    cuts.push((at..statement.text.len(), None));
    let mut all = Vec::new();
    for (range, literal) in cuts {
        text(&statement.text[range]);
        let _ = &mut text;
        if let Some(index) = literal {
            all.push(index);
            text("\0");
        }
    }
    let mut literals = all.into_iter();
    let pieces = pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) if text == "\0" => {
                Piece::Literal { index: literals.next().unwrap(), negate: false }
            }
            other => other,
        })
        .collect();
    Template { pieces }
}

fn highest_parameter(text: &str) -> u16 {
    let numbers = text.split('$').skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    numbers.max().unwrap_or(0)
}
