//! Statements of the corpora, changed word by word: planning them never panics, what is planned reads back as
//! what was decided, and the witness contradicts nothing.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::sql::{Action, Limits, World, plan, statements};

use crate::source::Source;
use crate::world;

const WORDS: [&str; 40] = [
    "select",
    "from",
    "where",
    "join",
    "left",
    "full",
    "natural",
    "using",
    "on",
    "(",
    ")",
    ",",
    "as",
    "lateral",
    "with",
    "recursive",
    "union",
    "all",
    "in",
    "not",
    "exists",
    "is",
    "null",
    "case",
    "when",
    "then",
    "end",
    "over",
    "group by",
    "order by",
    "limit",
    "1",
    "$1",
    "'x'",
    "tenant_id",
    "app.documents",
    "documents",
    "returning",
    "*",
    ";",
];

#[test]
fn changed_words() {
    // Bolero finds the corpus of a target that runs on a thread with a name.
    let large = std::thread::Builder::new().name("statements".to_owned()).stack_size(64 << 20);
    let thread = large.spawn(|| {
        let postgres =
            EmbeddedPostgres::start(&Options { password: None, settings: Vec::new(), binaries: None });
        let world = AssertUnwindSafe(world::of(&postgres.expect("PostgreSQL starts"), ""));
        let texts: Vec<Vec<String>> = corpus().iter().map(|text| tokens(text)).collect();
        bolero::check!().with_test_time(crate::patience()).for_each(move |bytes: &[u8]| {
            let text = changed(&texts, &mut Source::new(bytes));
            if let Err(why) = one(&world, &text) {
                panic!("{why}: {text}");
            }
        });
    });
    thread.expect("a thread").join().expect("every statement is planned soundly or refused");
}

/// Plans a text's statements. What is planned is verified by its type; here it must also be one statement that PostgreSQL
/// reads, and what the verifier or the witness contradicts is a fault.
fn one(world: &World, text: &str) -> Result<(), String> {
    let Ok(found) = statements(text, &Limits::default()) else { return Ok(()) };
    for statement in &found {
        match plan(world, "app", statement) {
            Ok(planned) => {
                if let Action::Send { sql, .. } = &planned.action {
                    let mut sent = Vec::new();
                    sql.render_extended(&mut sent, u16::MAX, |index| {
                        statement.token(index).unwrap_or_default().as_bytes()
                    });
                    let sent = String::from_utf8(sent).map_err(|_| "what is sent is no UTF-8".to_owned())?;
                    let read = pg_query::parse(&sent, 0)
                        .map_err(|error| format!("what is sent does not parse ({error}): {sent}"))?;
                    if read.protobuf.stmts.len() != 1 {
                        return Err(format!("what is sent is not one statement: {sent}"));
                    }
                }
            }
            Err(refusal) => {
                if let Some(quarantined) = &refusal.quarantined {
                    return Err(format!("not verified, {}: {}", quarantined.reason, quarantined.rewritten));
                }
            }
        }
    }
    Ok(())
}

/// What the corpora say.
fn corpus() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut texts = Vec::new();
    for name in ["legit.jsonl", "attacks.jsonl", "attacks_cve.jsonl", "legit_pg18.jsonl"] {
        let file = std::fs::read_to_string(folder.join(name)).expect("a corpus");
        for line in file.lines() {
            let case: serde_json::Value = serde_json::from_str(line).expect("a case");
            let steps = case["steps"].as_array().into_iter().flatten().chain(case.get("sql"));
            texts.extend(steps.filter_map(|s| s.as_str()).filter(|s| s.len() < 4000).map(str::to_owned));
        }
    }
    texts
}

/// Words, numbers, strings and signs; put together again they are the text.
fn tokens(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut quote = None;
    for c in text.chars() {
        let glued = match (quote, all.last().and_then(|last| last.chars().last())) {
            (Some(_), _) => true,
            (None, Some(last)) => {
                let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
                (word(last) && word(c)) || (last.is_whitespace() && c.is_whitespace())
            }
            (None, None) => false,
        };
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        match all.last_mut() {
            Some(last) if glued => last.push(c),
            _ => all.push(c.to_string()),
        }
    }
    all
}

fn changed(texts: &[Vec<String>], random: &mut Source<'_>) -> String {
    let mut text = texts[random.below(texts.len())].clone();
    for _ in 0..random.below(4) {
        if text.is_empty() {
            break;
        }
        let at = random.below(text.len());
        let other = &texts[random.below(texts.len())];
        match random.below(9) {
            0 => drop(text.remove(at)),
            1 => text.insert(at, text[at].clone()),
            2 => {
                let with = random.below(text.len());
                text.swap(at, with);
            }
            3 | 4 if !other.is_empty() => text[at] = other[random.below(other.len())].clone(),
            5 => text.insert(at, format!(" {} ", WORDS[random.below(WORDS.len())])),
            6 => {
                text.truncate(at);
                let from = random.below(other.len().max(1)).min(other.len());
                text.extend_from_slice(&other[from..]);
            }
            7 => {
                // A piece of the other one, put in whole as a sub-select would be.
                text.insert(at, format!(" ({}) ", other.concat()));
            }
            _ => text[at] = text[at].to_uppercase(),
        }
    }
    text.concat()
}
