//! Sessions whose statements depend on one another: prepared names, settings, savepoints, cursors, sequences. Each
//! is played by both protocols, as two tenants, and every answer must be the one that row-level security gives.

use crate::expected::{Report, Verdict};
use crate::lanes;
use crate::orm::{Session, judge_session};
use crate::step::Step;
use crate::support::fixture::{Server, corpus};

const FILE: &str = "sessions.jsonl";

#[derive(Debug)]
struct Run {
    session: Session,
    tenant: u8,
    protocol: &'static str,
}

pub fn judge(server: &Server) -> Result<(), String> {
    let mut runs = Vec::new();
    for line in corpus(FILE).lines() {
        let session: Session =
            serde_json::from_str(line).map_err(|error| format!("{FILE}: {line}: {error}"))?;
        if !lanes::is_wanted(&session.id) {
            continue;
        }
        for tenant in [1, 2] {
            for protocol in ["simple", "extended"] {
                let steps = session.steps.iter().map(|step| by(step, protocol, tenant)).collect();
                runs.push(Run { session: Session { steps, ..session.clone() }, tenant, protocol });
            }
        }
    }
    let verdicts = lanes::run(server, &runs, |lane, run| {
        let verdict = judge_session(lane, &run.session, run.tenant);
        lane.pristine.restore(&mut lane.superuser);
        verdict.unwrap_or_else(|error| Verdict::Differs(format!("the connection broke: {error}")))
    });
    let mut report = Report::new("sessions", server.major());
    for (run, verdict) in runs.iter().zip(verdicts) {
        report.add(&run.session.id, &format!("{}, tenant {}", run.protocol, run.tenant), verdict);
    }
    report.finish()
}

/// A step that says nothing of its protocol is sent by both. The tenant's own rows have its number in theirs.
fn by(step: &Step, protocol: &str, tenant: u8) -> Step {
    let own =
        |text: &str| text.replace("1111", &tenant.to_string().repeat(4)).replace("T_ID", &tenant.to_string());
    let fixed = step.protocol.is_some() || step.sql.contains(';');
    Step {
        sql: own(&step.sql),
        protocol: step.protocol.clone().or_else(|| (!fixed).then(|| protocol.to_owned())),
        params: step
            .params
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.clone(), |text| own(text).into()))
            .collect(),
        ..step.clone()
    }
}
