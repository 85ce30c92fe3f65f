//! What an attacker says, as tenant A: nothing of B or C may show itself, nothing of theirs may change, and
//! the proxy lives on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Deserialize;

use crate::canary;
use crate::compare::summary;
use crate::exceptions::Exceptions;
use crate::lanes::{self, Lane, Target};
use crate::step::{Client, Step};
use crate::support::fixture::{Server, corpus};
use crate::support::wire::Answer;

/// What PostgreSQL itself takes long for. To run is no fault then, and nobody waits for the end.
const SLOW: [&str; 6] = ["func-51", "func-93", "func-95", "leaky-19", "resource-13", "resource-14"];

#[derive(Debug, Clone, Deserialize)]
struct Case {
    id: String,
    class: String,
    steps: Vec<String>,
    expect: String,
    #[serde(default)]
    min_pg: u32,
    #[serde(default)]
    one_bit: bool,
}

#[derive(Debug)]
struct Run {
    case: Case,
    protocol: &'static str,
}

/// How an attack ended.
#[derive(Debug, Default)]
struct Found {
    leaks: Vec<String>,
    changed: Vec<String>,
    /// Why the proxy or a session of it did not live on.
    broke: Option<String>,
    /// The rule that refused a step.
    refused: Option<String>,
    /// What the last step answered.
    last: String,
}

pub fn judge(server: &Server) -> Result<(), String> {
    let mut runs = Vec::new();
    for file in ["attacks.jsonl", "attacks_cve.jsonl", "attacks_names.jsonl", "attacks_pg18.jsonl"] {
        for line in corpus(file).lines() {
            let case: Case = serde_json::from_str(line).map_err(|error| format!("{file}: {error}"))?;
            if case.min_pg > server.major() || !lanes::is_wanted(&case.id) {
                continue;
            }
            if case.steps.len() == 1 {
                runs.push(Run { case: case.clone(), protocol: "extended" });
            }
            runs.push(Run { case, protocol: "simple" });
        }
    }
    let found = lanes::run(server, &runs, judge_case);
    report(&runs, &found, &Exceptions::of("attacks", server.major()))
}

fn report(runs: &[Run], found: &[Found], exceptions: &Exceptions) -> Result<(), String> {
    let (mut refused, mut ran, mut failed) = (0, 0, Vec::new());
    let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
    let admitted = corpus("expected_admitted.txt");
    let admitted: BTreeSet<&str> = admitted.lines().filter_map(|line| line.split(' ').next()).collect();
    for (Run { case, protocol }, found) in runs.iter().zip(found) {
        match &found.refused {
            Some(rule) => {
                refused += 1;
                *by_rule.entry(rule).or_default() += 1;
            }
            None => ran += 1,
        }
        let mut faults: Vec<String> = Vec::new();
        faults.extend(found.leaks.iter().map(|leak| format!("LEAK {leak}")));
        faults.extend(found.changed.iter().map(|table| format!("CHANGED {table}")));
        faults.extend(found.broke.iter().map(|how| format!("BROKE {how}")));
        // Only the proxy says why; row-level security has its own ways.
        let is_due = case.expect == "rejected" && !admitted.contains(case.id.as_str());
        if is_due && found.refused.is_none() && Target::chosen() == Target::Proxy {
            faults.push(format!("NOT REJECTED: {}", found.last));
        }
        faults.retain(|fault| !exceptions.excuse(&case.id, fault));
        for fault in faults {
            failed.push((case.id.clone(), format!("{} [{}] ({protocol}): {fault}", case.id, case.class)));
        }
    }
    println!("attacks: {} runs: {refused} refused, {ran} ran, {} faults", runs.len(), failed.len());
    for (rule, count) in by_rule {
        println!("  refused by [{rule}]: {count}");
    }
    for (_, line) in &failed {
        println!("  FAILED {line}");
    }
    exceptions.report(|id| runs.iter().any(|run| run.case.id == id));
    let mut ids: Vec<&String> = failed.iter().map(|(id, _)| id).collect();
    ids.dedup();
    if ids.is_empty() { Ok(()) } else { Err(format!("{} attacks came through: {ids:?}", ids.len())) }
}

fn judge_case(lane: &mut Lane, run: &Run) -> Found {
    let mut found = Found::default();
    if let Err(error) = attack(lane, run, &mut found) {
        found.broke = Some(format!("the attacker's session: {error}"));
    }
    if let Err(error) = look_as_others(lane) {
        found.broke = Some(format!("another session: {error}"));
    }
    // Under the oracle the cases are about schema rls; what they do to app is the same question.
    found.changed = lane.pristine.changed_of_others(&mut lane.superuser);
    lane.pristine.restore(&mut lane.superuser);
    found
}

fn attack(lane: &mut Lane, Run { case, protocol }: &Run, found: &mut Found) -> io::Result<()> {
    let mut client = Client::open(&lane.subject(1))?;
    let mut sent = String::new();
    for sql in &case.steps {
        let step = Step { sql: sql.clone(), protocol: Some((*protocol).into()), ..Step::default() };
        sent.push_str(sql);
        sent.push('\n');
        let answer = client.send(&step);
        found.leaks.extend(canary::foreign(&client.connection.take_heard(), 1, &sent));
        let answer = match answer {
            Err(error) if is_timeout(&error) && SLOW.contains(&case.id.as_str()) => return Ok(()),
            answer => answer?,
        };
        note_refusal(&answer, found);
        if case.one_bit && is_raised_by_rows(lane, &answer) {
            found.leaks.push(format!("one bit: {:?}", answer.error()));
        }
    }
    client.connection.simple("ROLLBACK")?;
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn note_refusal(answer: &Answer, found: &mut Found) {
    found.last = answer.outcomes().last().map(summary).unwrap_or_default();
    for outcome in answer.outcomes() {
        if let Some(rule) = outcome.refused_by() {
            found.refused.get_or_insert_with(|| rule.to_owned());
        }
    }
}

/// An error of the server's own, where the oracle has none: only another tenant's row can have raised it.
fn is_raised_by_rows(lane: &Lane, answer: &Answer) -> bool {
    let refused = answer.outcomes().iter().any(|outcome| outcome.refused_by().is_some());
    lane.target != Target::Rls && answer.error().is_some() && !refused
}

/// Another tenant's session works, and its rows are there.
fn look_as_others(lane: &Lane) -> io::Result<()> {
    let mut client = lane.subject(2).open()?;
    let answer = client.simple("select 1")?;
    match answer.error() {
        None => Ok(()),
        Some(error) => Err(io::Error::other(format!("{error:?}"))),
    }
}
