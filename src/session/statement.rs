//! A statement that a client prepared: its plan, how the server knows it, and what a Bind of it has to satisfy.

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::active::kind;
use super::begun::ends_what_failed;
use super::checks;
use super::host::{Host, Literals};
use super::outgoing::{Prepared, RenderedText};
use super::tenancy::unbound;
use crate::catalog::Oid;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::sequences::Asked;
use crate::sql::{Action, Execute, StatementKind, VerifiedSql};
use crate::wire::frontend::{Bind, Parse};

/// A statement that the client prepared.
#[derive(Debug)]
pub struct Statement {
    pub(super) text: Box<str>,
    pub(super) declared: Box<[Oid]>,
    pub(super) epoch: u64,
    /// What it executes was there when it was parsed: PostgreSQL describes it by that.
    pub(super) executes: bool,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// An empty query.
    Empty,
    Planned(Planned),
}

#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: Arc<Plan>,
    /// How many parameters the client knows of.
    pub(super) parameters: u16,
    pub(super) on_server: OnServer,
    pub(super) statement_text: Box<str>,
    pub(super) literals: SmallVec<[std::ops::Range<usize>; 6]>,
}

/// How the server knows a statement.
#[derive(Debug)]
pub(super) enum OnServer {
    /// Not at all: it is never sent.
    Never,
    /// By a name that all sessions share; the tenant is a parameter.
    Named(Rc<Prepared>),
    /// It takes no parameters (COPY: `BeginCopyTo` analyses its query without any; LISTEN and NOTIFY name a channel),
    /// so that it is rendered with the transaction's tenant for each Bind.
    PerBind,
}

impl Planned {
    pub(super) fn execute(&self) -> Option<&Execute> {
        match &self.plan.planned.action {
            Action::Execute(execute) => Some(execute),
            _ => None,
        }
    }

    pub(super) fn literals(&self) -> Literals<'_> {
        Literals { text: &self.statement_text, ranges: self.literals.clone() }
    }

    /// The same statement for a Bind whose values do not satisfy what its bare conditions rely on.
    pub(super) fn cautious(
        &self,
        host: &mut dyn Host,
        declared: &[Oid],
        message: &Bind<'_>,
    ) -> Result<Option<Self>, Refusal> {
        match &self.plan.cautious {
            Some(plan) if checks::bare_conditions(&self.plan, message).is_err() => {
                planned(host, plan.clone(), &self.literals(), declared).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Statement {
    /// [`Host::epoch`] of its plan.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// For tests of where statements are kept.
    #[cfg(test)]
    pub(crate) fn empty(text: &str, declared: &[Oid], epoch: u64) -> Self {
        Self { text: text.into(), declared: declared.into(), epoch, executes: false, body: Body::Empty }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameter types that the client declared.
    pub fn declared(&self) -> &[Oid] {
        &self.declared
    }

    /// Whether a Parse is of this text and these types.
    pub(super) fn is_of(&self, parse: &Parse<'_>) -> bool {
        *self.text == *parse.text && parse.types().eq(self.declared.iter().copied())
    }

    /// Whether it may be kept by its text: it is planned, and no literal stands in it, so that the same text
    /// will come again. An EXECUTE is its session's.
    pub(super) fn is_shareable(&self) -> bool {
        matches!(&self.body, Body::Planned(planned) if planned.literals.is_empty())
            && self.execute().is_none()
    }

    /// It, if it is an EXECUTE.
    pub(super) fn execute(&self) -> Option<&Execute> {
        match &self.body {
            Body::Planned(planned) => planned.execute(),
            Body::Empty => None,
        }
    }

    /// Whether a Bind of which this is the beginning may pass as it comes: the policy looks at no value that is missing.
    /// Where `long`, a value that a bare condition relies on may be missing, if there is a plan without such conditions.
    pub(super) fn passes(&self, message: &Bind<'_>, long: bool) -> bool {
        let Some((planned, _)) = self.on_server() else { return false };
        let plan = &planned.plan;
        let is_missing = |number: u16| {
            usize::from(number).checked_sub(1).is_some_and(|index| message.missing_length(index).is_some())
        };
        let mut asked = plan.planned.sequences.iter().flat_map(|sequences| &sequences.asks);
        matches!(plan.planned.action, Action::Send { .. })
            && !asked.any(|asked| matches!(asked, Asked::Parameter(number, _) if is_missing(*number)))
            && (long && plan.cautious.is_some() || checks::are_decided(plan, message))
    }

    /// Whether a failed transaction takes its Parse; an empty query too.
    pub(super) fn ends_transaction(&self) -> bool {
        let Body::Planned(planned) = &self.body else { return true };
        ends_what_failed(&planned.plan.planned.action)
    }

    /// Whether it takes its Bind (`exec_bind_message`, tcop/postgres.c).
    pub(super) fn may_be_bound_to_end(&self) -> bool {
        matches!(self.body, Body::Planned(_)) && self.parameters() == 0 && self.ends_transaction()
    }

    pub(super) fn parameters(&self) -> u16 {
        match &self.body {
            Body::Empty => u16::try_from(self.declared.len()).unwrap_or(u16::MAX),
            Body::Planned(planned) => planned.parameters,
        }
    }

    /// The same statement with every condition behind a guard, where there is such a plan.
    pub(super) fn without_bare_conditions(&self, host: &mut dyn Host) -> Result<Option<Self>, Refusal> {
        let Body::Planned(bare) = &self.body else { return Ok(None) };
        let Some(plan) = &bare.plan.cautious else { return Ok(None) };
        let body = Body::Planned(planned(host, plan.clone(), &bare.literals(), &self.declared)?);
        let (text, declared) = (self.text.clone(), self.declared.clone());
        Ok(Some(Self { text, declared, epoch: self.epoch, executes: self.executes, body }))
    }

    /// Whether a Bind of it is one of the server's too.
    pub(super) fn is_sent(&self) -> bool {
        match &self.body {
            Body::Planned(planned) => match &planned.on_server {
                OnServer::Named(_) => true,
                OnServer::PerBind => {
                    planned.plan.planned.load.as_ref().is_none_or(|load| load.inserts.is_none())
                }
                OnServer::Never => matches!(planned.plan.planned.action, Action::Execute(_)),
            },
            Body::Empty => false,
        }
    }

    pub(super) fn on_server(&self) -> Option<(&Planned, &Rc<Prepared>)> {
        match &self.body {
            Body::Planned(planned @ Planned { on_server: OnServer::Named(prepared), .. }) => {
                Some((planned, prepared))
            }
            Body::Planned(_) | Body::Empty => None,
        }
    }
}

pub(super) fn planned(
    host: &mut dyn Host,
    plan: Arc<Plan>,
    literals: &Literals<'_>,
    declared: &[Oid],
) -> Result<Planned, Refusal> {
    let parameters = u16::try_from(declared.len()).unwrap_or(u16::MAX).max(plan.planned.parameters);
    let on_server = match sql(&plan) {
        Some(_) if has_no_parameters(kind(&plan.planned.action)) => OnServer::PerBind,
        Some(sql) => OnServer::Named(prepared(host, &plan, sql, parameters, literals, declared)?),
        None => OnServer::Never,
    };
    Ok(Planned {
        parameters,
        on_server,
        statement_text: literals.text.into(),
        literals: literals.ranges.clone(),
        plan,
    })
}

fn has_no_parameters(kind: StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::CopyIn | StatementKind::CopyOut | StatementKind::Listen | StatementKind::Notify
    )
}

pub(super) fn per_bind(planned: &Planned, declared: &[Oid], tenant: Option<&TenantId>) -> Rc<Prepared> {
    let text = sql(&planned.plan).map(|sql| RenderedText::literal(sql, tenant, &planned.literals()));
    Rc::new(Prepared::unnamed(text.unwrap_or_default(), declared))
}

/// The tenant is parameter n + 1, and its type stands behind the client's.
fn prepared(
    host: &mut dyn Host,
    plan: &Plan,
    sql: &VerifiedSql,
    parameters: u16,
    literals: &Literals<'_>,
    declared: &[Oid],
) -> Result<Rc<Prepared>, Refusal> {
    let mut types: SmallVec<[Oid; 16]> = declared.into();
    if !sql.uses_tenant() {
        return Ok(host.intern(RenderedText::extended(sql, 0, literals), &types));
    }
    let Some(number) = parameters.checked_add(1) else {
        let message = "65535 parameters leave no room for the tenant";
        return Err(Refusal::new(SqlState::TOO_LARGE, Rule("parameters"), message));
    };
    types.resize(usize::from(parameters), 0);
    types.push(plan.planned.tenant_type.unwrap_or(0));
    Ok(host.intern(RenderedText::extended(sql, number, literals), &types))
}

/// What is sent for a plan.
pub(super) fn sql(plan: &Plan) -> Option<&VerifiedSql> {
    match &plan.planned.action {
        Action::Send { sql, .. } | Action::Set { sql, .. } | Action::Savepoint { sql, .. } => Some(sql),
        Action::Empty
        | Action::BindTenant { .. }
        | Action::UnbindTenant
        | Action::Prepare { .. }
        | Action::Execute(_)
        | Action::Discard(_)
        | Action::Deallocate { .. } => None,
    }
}

/// Counts of values and formats are checked against the client's own number of parameters.
pub(super) fn count_values(message: &Bind<'_>, parameters: u16) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(SqlState::PROTOCOL, Rule("protocol"), text));
    let (values, formats) = (message.values.count(), message.formats.len());
    if formats > 1 && formats != usize::from(values) {
        return refuse(format!("bind message has {formats} parameter formats but {values} parameters"));
    }
    if values != parameters {
        return refuse(format!(
            "bind message supplies {values} parameters, but prepared statement requires {parameters}"
        ));
    }
    Ok(())
}

/// A tenant is bound where one is needed, and the plan holds for these literals and values.
pub(super) fn admit(planned: &Planned, message: &Bind<'_>, tenant: Option<&TenantId>) -> Result<(), Refusal> {
    let needs = match &planned.plan.planned.action {
        Action::Send { sql, needs_tenant, .. } => *needs_tenant || sql.uses_tenant(),
        _ => false,
    };
    if needs && tenant.is_none() {
        return Err(unbound());
    }
    if !planned.plan.planned.pins.is_empty() {
        checks::literals(&planned.plan, &planned.literals())?;
    }
    checks::load(&planned.plan, tenant)?;
    checks::bare_conditions(&planned.plan, message)
}
