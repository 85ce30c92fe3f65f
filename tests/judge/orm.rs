//! What object-relational mappers, drivers and tools sent to the corpus schema, replayed as recorded.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;

use crate::expected::{Report, Verdict};
use crate::lanes::{self, Lane};
use crate::oracle::{judge_step, verdict};
use crate::step::{Client, Step};
use crate::support::fixture::{Server, corpus};

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

#[derive(Debug, Clone, Deserialize)]
struct Session {
    id: String,
    steps: Vec<Step>,
    #[serde(default)]
    tenant_absent: bool,
}

#[derive(Debug)]
enum Case {
    Single(Single),
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
            cases.push(Case::Single(serde_json::from_str(line).map_err(|e| format!("{file}: {e}"))?));
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
            let verdict = judge_session(lane, session);
            lane.pristine.restore(&mut lane.superuser);
            verdict.unwrap_or_else(|error| Verdict::Differs(format!("the connection broke: {error}")))
        }
    });
    let mut report = Report::new("orm");
    for (case, verdict) in cases.iter().zip(verdicts) {
        report.add(case.id(), "as recorded", verdict);
    }
    report.finish()
}

/// Runs a whole session on both sides, step by step; the first step that does not pass decides.
fn judge_session(lane: &mut Lane, session: &Session) -> io::Result<Verdict> {
    lane.pristine.set_sequences(&mut lane.superuser);
    let (subject, oracle) = (lane.subject(1), lane.oracle(1));
    let mut pairs: BTreeMap<Option<u32>, (Client, Client)> = BTreeMap::new();
    for (at, step) in session.steps.iter().enumerate() {
        if !pairs.contains_key(&step.connection) {
            pairs.insert(step.connection, (Client::open(&subject)?, Client::open(&oracle)?));
        }
        let (judged, oracle) = pairs.get_mut(&step.connection).expect("just put in");
        let found = judged.send(step)?;
        let expected = oracle.send(step)?;
        let step = Step { tenant_absent: session.tenant_absent, ..step.clone() };
        match verdict(&step, &found, &expected) {
            Verdict::Passed => {}
            Verdict::Refused(rule, message) => {
                return Ok(Verdict::Refused(rule, format!("step {at}: {message}")));
            }
            Verdict::Differs(how) => return Ok(Verdict::Differs(format!("step {at}: {how}"))),
        }
    }
    Ok(Verdict::Passed)
}
