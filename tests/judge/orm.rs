//! What object-relational mappers, drivers and tools sent to the corpus schema, replayed as recorded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use serde::Deserialize;

use crate::compare::difference;
use crate::expected::{Report, Verdict};
use crate::lanes::{self, Lane, Side};
use crate::oracle::{judge_step, verdict};
use crate::step::{Client, Step};
use crate::support::fixture::{Server, corpus};
use crate::support::wire::Answer;

const CLIENTS: [&str; 22] = [
    "diesel",
    "django",
    "django_ssb",
    "doctrine",
    "drizzle",
    "eclipselink",
    "hibernate",
    "knex",
    "kysely",
    "laravel",
    "mikroorm",
    "node_postgres",
    "peewee",
    "pgjdbc",
    "prisma",
    "rails",
    "seaorm",
    "sequelize",
    "sqlalchemy",
    "sqlx",
    "tokio_postgres",
    "typeorm",
];

#[derive(Debug, Clone, Deserialize)]
struct Single {
    id: String,
    #[serde(flatten)]
    step: Step,
}

/// Statements that one client sends one after the other.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    pub id: String,
    pub steps: Vec<Step>,
    #[serde(default)]
    pub tenant_absent: bool,
}

#[derive(Debug)]
enum Case {
    Single(Box<Single>),
    Session(Session),
}

impl Case {
    fn id(&self) -> &str {
        match self {
            Self::Single(single) => &single.id,
            Self::Session(session) => &session.id,
        }
    }
}

pub fn judge(server: &Server) -> Result<(), String> {
    let mut cases = Vec::new();
    for client in CLIENTS {
        let file = format!("orm_sql/ccm_{client}.jsonl");
        for line in corpus(&file).lines() {
            cases.push(Case::Single(Box::new(
                serde_json::from_str(line).map_err(|e| format!("{file}: {e}"))?,
            )));
        }
        let file = format!("orm_sql/ccm_{client}_sessions.jsonl");
        for line in corpus(&file).lines() {
            cases.push(Case::Session(serde_json::from_str(line).map_err(|e| format!("{file}: {e}"))?));
        }
    }
    cases.retain(|case| lanes::is_wanted(case.id()));
    let verdicts = lanes::run(server, &cases, |lane, case| match case {
        Case::Single(single) => judge_step(lane, &single.step, 1),
        Case::Session(session) => {
            let verdict = judge_session(lane, session, 1);
            lane.pristine.restore(&mut lane.superuser);
            verdict.unwrap_or_else(|error| Verdict::Differs(format!("the connection broke: {error}")))
        }
    });
    let mut report = Report::new("orm", server.major());
    for (case, verdict) in cases.iter().zip(verdicts) {
        report.add(case.id(), "as recorded", verdict);
    }
    report.finish()
}

/// Runs a whole session on both sides, one after the other, and compares step by step; the first step that
/// does not pass decides.
pub fn judge_session(lane: &mut Lane, session: &Session, tenant: u8) -> io::Result<Verdict> {
    let steps: Vec<Step> = session.steps.iter().map(|step| lane.encode(step)).collect();
    let (subject, oracle) = (lane.subject(tenant), lane.oracle(tenant));
    let found = replay(lane, &subject, &steps)?;
    lane.pristine.restore(&mut lane.superuser);
    let expected = replay(lane, &oracle, &steps)?;
    let mut again = None;
    for (at, ((step, found), expected)) in steps.iter().zip(&found).zip(&expected).enumerate() {
        let mut step = Step { tenant_absent: session.tenant_absent || step.tenant_absent, ..step.clone() };
        let mut said = verdict(&step, found, expected);
        if matches!(said, Verdict::Differs(_)) {
            if again.is_none() {
                lane.pristine.restore(&mut lane.superuser);
                again = Some(replay(lane, &oracle, &steps)?);
            }
            let second = again.as_ref().and_then(|answers| answers.get(at));
            // What differs from itself too (a clock, a random number) can only be counted.
            step.volatile |= second.is_some_and(|a| difference(a, expected, step.closeness()).is_some());
            said = verdict(&step, found, expected);
        }
        match said {
            Verdict::Passed => {}
            Verdict::Refused(rule, message) => {
                return Ok(Verdict::Refused(rule, format!("step {at}: {message}")));
            }
            Verdict::Differs(how) => {
                return Ok(Verdict::Differs(format!("step {at}: {how}: {:.300}", step.sql)));
            }
        }
    }
    Ok(Verdict::Passed)
}

fn replay(lane: &mut Lane, side: &Side, steps: &[Step]) -> io::Result<Vec<Answer>> {
    lane.pristine.set_sequences(&mut lane.superuser);
    let mut clients: BTreeMap<Option<u32>, Client> = BTreeMap::new();
    let mut answers = Vec::new();
    for step in steps {
        let client = match clients.entry(step.connection) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Client::open(side)?),
        };
        answers.push(client.send(step)?);
    }
    Ok(answers)
}
