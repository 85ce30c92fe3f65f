//! What an application says: through the proxy it must give what it gives under row-level security.

use std::io;

use serde::Deserialize;

use crate::canary;
use crate::compare::{difference, summary};
use crate::expected::{Report, Verdict};
use crate::lanes::{self, Lane, Target};
use crate::step::{Client, Step};
use crate::support::fixture::{Server, corpus};
use crate::support::wire::Answer;

#[derive(Debug, Clone, Deserialize)]
struct Case {
    id: String,
    #[serde(default)]
    min_pg: u32,
    #[serde(flatten)]
    step: Step,
}

/// A case, by one protocol, as one tenant.
#[derive(Debug)]
struct Run {
    case: Case,
    tenant: u8,
}

pub fn judge(server: &Server) -> Result<(), String> {
    let mut runs = Vec::new();
    for file in ["legit.jsonl", "legit_pg18.jsonl"] {
        for line in corpus(file).lines() {
            let case: Case = serde_json::from_str(line).map_err(|error| format!("{file}: {error}"))?;
            if case.min_pg > server.major() || !lanes::is_wanted(&case.id) {
                continue;
            }
            for tenant in [1, 2] {
                for protocol in ["simple", "extended"] {
                    // The simple protocol has no parameters.
                    if protocol == "extended" || case.step.params.is_empty() {
                        let step = case.step.by(protocol);
                        runs.push(Run { case: Case { step, ..case.clone() }, tenant });
                    }
                }
            }
        }
    }
    let verdicts = lanes::run(server, &runs, |lane, run| judge_step(lane, &run.case.step, run.tenant));
    let mut report = Report::new("oracle", server.major());
    for (Run { case, tenant }, verdict) in runs.iter().zip(verdicts) {
        let protocol = case.step.protocol.as_deref().unwrap_or_default();
        report.add(&case.id, &format!("{protocol}, tenant {tenant}"), verdict);
    }
    report.finish()
}

/// Runs one statement on both sides, in a transaction that is rolled back, and compares.
pub fn judge_step(lane: &mut Lane, step: &Step, tenant: u8) -> Verdict {
    let verdict = compare(lane, step, tenant);
    if step.controls_transactions() {
        lane.pristine.restore(&mut lane.superuser);
    }
    verdict.unwrap_or_else(|error| Verdict::Differs(format!("the connection broke: {error}")))
}

fn compare(lane: &mut Lane, step: &Step, tenant: u8) -> io::Result<Verdict> {
    let step = &lane.encode(step);
    lane.pristine.set_sequences(&mut lane.superuser);
    let oracle = if step.is_copy_in() { lane.backend() } else { lane.oracle(tenant) };
    let expected = run(&mut Client::open(&oracle)?, step)?;
    lane.pristine.set_sequences(&mut lane.superuser);
    let mut client = Client::open(&lane.subject(tenant))?;
    let found = run(&mut client, step)?;
    let leaks = canary::foreign(&client.connection.take_heard(), tenant, &step.sent());
    // The bare backend role is compared for what it does, not for what it shows.
    if lane.target == Target::Proxy && leaks.iter().any(|leak| leak.starts_with("canary")) {
        return Ok(Verdict::Differs(format!("shows {leaks:?}")));
    }
    let verdict = verdict(step, &found, &expected);
    if !matches!(verdict, Verdict::Differs(_)) {
        return Ok(verdict);
    }
    // What differs from itself too (a clock, a random number) can only be counted.
    lane.pristine.set_sequences(&mut lane.superuser);
    let again = run(&mut Client::open(&oracle)?, step)?;
    let steady = difference(&again, &expected, step.closeness()).is_none();
    let step = Step { volatile: true, ..step.clone() };
    Ok(if steady { verdict } else { self::verdict(&step, &found, &expected) })
}

/// What two answers to a step say about what is judged.
pub fn verdict(step: &Step, found: &Answer, expected: &Answer) -> Verdict {
    let refused = found.outcomes().iter().find_map(|outcome| {
        let rule = outcome.refused_by()?;
        Some(Verdict::Refused(rule.to_owned(), summary(outcome)))
    });
    // The oracle standing in for the proxy cannot do what only the proxy does.
    if Target::chosen() == Target::Rls && (step.tenant_absent || step.is_copy_in()) {
        return Verdict::Passed;
    }
    if step.tenant_absent {
        let failed = found.error().map(|error| Verdict::Differs(format!("failed: {error:?}")));
        return refused.or(failed).unwrap_or(Verdict::Passed);
    }
    match difference(found, expected, step.closeness()) {
        None => Verdict::Passed,
        Some(how) => refused.unwrap_or(Verdict::Differs(how)),
    }
}

fn run(client: &mut Client, step: &Step) -> io::Result<Answer> {
    if step.controls_transactions() {
        return client.send(step);
    }
    client.connection.simple("BEGIN")?;
    let answer = client.send(step)?;
    client.connection.simple("ROLLBACK")?;
    Ok(answer)
}
