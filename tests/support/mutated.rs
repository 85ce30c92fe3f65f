//! Statements of the corpora, changed word by word: planning them never panics, what is planned reads back as
//! what was decided, and the witness contradicts nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use pgbulkhead::sql::{Action, Limits, World, plan, statements};

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

/// Changes and plans `count` statements. Call it on a thread with a large stack.
pub fn run(world: &World, seed: u64, count: usize) {
    let texts: Vec<Vec<String>> = corpus().iter().map(|text| tokens(text)).collect();
    let mut random = Random(seed);
    let (mut planned, mut refused, mut unread) = (0, 0, 0);
    let mut slowest = (Duration::ZERO, String::new());
    let mut faults: Vec<String> = Vec::new();
    for _ in 0..count {
        let text = changed(&texts, &mut random);
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| one(world, &text)));
        let took = began.elapsed();
        if took > slowest.0 {
            slowest = (took, text.clone());
        }
        match outcome {
            Err(_) => faults.push(format!("PANIC {text}")),
            Ok(Err(why)) => faults.push(format!("{why}: {text}")),
            Ok(Ok(Seen::Planned)) => planned += 1,
            Ok(Ok(Seen::Refused)) => refused += 1,
            Ok(Ok(Seen::Unread)) => unread += 1,
        }
    }
    println!(
        "mutated (seed {seed}): {count} statements, {planned} planned, {refused} refused, {unread} not cut into statements, \
         slowest {:?}: {:.200}",
        slowest.0, slowest.1
    );
    faults.iter().take(20).for_each(|fault| println!("  {fault}"));
    assert!(faults.is_empty(), "{} faults", faults.len());
}

enum Seen {
    Planned,
    Refused,
    Unread,
}

fn one(world: &World, text: &str) -> Result<Seen, String> {
    let Ok(found) = statements(text, &Limits::default()) else { return Ok(Seen::Unread) };
    let mut seen = Seen::Unread;
    for statement in &found {
        match plan(world, "app", statement) {
            Ok(planned) => {
                seen = Seen::Planned;
                if let Action::Send { sql, .. } = &planned.action {
                    let mut sent = Vec::new();
                    sql.render_extended(&mut sent, u16::MAX, |index| {
                        statement.token(index).unwrap_or_default().as_bytes()
                    });
                    let sent = String::from_utf8(sent).map_err(|_| "what is sent is no UTF-8".to_owned())?;
                    pg_query::parse(&sent, 0)
                        .map_err(|error| format!("what is sent does not parse ({error}): {sent}"))?;
                }
            }
            Err(refusal) => {
                if let Some(quarantined) = &refusal.quarantined {
                    return Err(format!("not verified, {}: {}", quarantined.reason, quarantined.rewritten));
                }
                seen = Seen::Refused;
            }
        }
    }
    Ok(seen)
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

fn changed(texts: &[Vec<String>], random: &mut Random) -> String {
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

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end.max(1)
    }
}
