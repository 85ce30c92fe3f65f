//! The pipeline: parse, bind and rewrite, print, verify, witness.

use std::sync::Arc;

use foldhash::HashSet;
use pg_query::NodeEnum;

use crate::catalog::Oid;
use crate::config::model;
use crate::policy::{Refusal, Rule, SqlState};

use super::bind::{Again, Binder, Decided, unsupported};
use super::copy::Load;
use super::facts::Facts;
use super::planned::{Action, Decision, Planned, Witnessed};
use super::prepared;
use super::seen;
use super::statement::{Deed, literal_index};
use super::verify;
use super::witness::{Index, Witness, witness_relying_on};
use super::{Edit, Limits, Pin, Statement, StatementKind, Tree, VerifiedSql, World, lift, statements};

/// Plans one statement for one role. Runs on a planning thread: parsers recurse.
pub fn plan(world: &World, role: &str, statement: &Statement<'_>) -> Result<Planned, Refusal> {
    let mut planned = plan_with(world, role, statement, false)?;
    if !planned.bind_checks.is_empty() {
        planned.cautious = plan_with(world, role, statement, true).ok().map(Box::new);
    }
    Ok(planned)
}

fn plan_with(
    world: &World,
    role: &str,
    statement: &Statement<'_>,
    cautious: bool,
) -> Result<Planned, Refusal> {
    let (mut tree, binder, deed) = bound(world, role, statement, cautious)?;
    let declared = u16::try_from(statement.parameter_types.len()).unwrap_or(u16::MAX);
    let parameters = binder.parameters.max(declared);
    let tenant_parameter = parameters.checked_add(1).ok_or_else(|| {
        Refusal::new(
            SqlState::TOO_LARGE,
            Rule("parameters"),
            "65535 parameters leave no room for the tenant's",
        )
    })?;
    let deed = match deed {
        Deed::Load { .. } if !binder.asks.is_empty() => {
            return Err(unsupported("the last value of a sequence in COPY", -1));
        }
        Deed::Load { load, insert: Some(insert) } => return inserted(world, role, statement, load, &insert),
        deed => deed,
    };
    let decided = binder.decided();
    let done = carried_out(world, statement, &mut tree, tenant_parameter, &decided, deed)?;
    Ok(Planned {
        action: done.action,
        parameters,
        tenant_type: decided.tenant_type,
        holds: decided.holds,
        sequences: decided.sequences,
        bind_checks: decided.bind_checks,
        cautious: None,
        pins: done.pins,
        load: done.load,
        decision: Decision {
            rule: Rule(if decided.tenant_type.is_some() { "tenant" } else { "allowed" }),
            reason: decided.reason,
            relations: decided.relations,
            edits: decided.edits,
            witnessed: done.witnessed,
        },
    })
}

/// What is done with a statement, and for which literals.
struct Done {
    action: Action,
    pins: Vec<Pin>,
    witnessed: Witnessed,
    load: Option<Arc<Load>>,
}

impl Done {
    /// What was verified is sent.
    fn sent(
        (sql, pins, witnessed): (VerifiedSql, Vec<Pin>, Witnessed),
        action: impl FnOnce(VerifiedSql) -> Action,
    ) -> Self {
        Self { action: action(sql), pins, witnessed, load: None }
    }

    /// No text of the statement is sent.
    fn here(action: Action) -> Self {
        Self { action, pins: Vec::new(), witnessed: Witnessed::NoRelation, load: None }
    }
}

fn carried_out(
    world: &World,
    statement: &Statement<'_>,
    tree: &mut pg_query::protobuf::Node,
    tenant_parameter: u16,
    decided: &Decided,
    deed: Deed,
) -> Result<Done, Refusal> {
    let verify = |tree| verified(world, statement, tree, tenant_parameter, decided);
    match deed {
        Deed::BindTenant { location, local } => {
            let literal = literal_index(statement, location)?;
            Ok(Done::here(Action::BindTenant { literal, local }))
        }
        Deed::UnbindTenant => Ok(Done::here(Action::UnbindTenant)),
        Deed::Deallocate { name } => Ok(Done::here(Action::Deallocate { name })),
        Deed::Prepare { name, types } => Ok(Done::here(Action::Prepare { name, types })),
        Deed::Discard(discard) => Ok(Done::here(Action::Discard(discard))),
        Deed::Execute { name, arguments } => {
            let (execute, pins) = prepared::execute(statement, tree, tenant_parameter, name, arguments)?;
            Ok(Done { pins, ..Done::here(Action::Execute(Box::new(execute))) })
        }
        Deed::Send { kind, needs_tenant } => {
            Ok(Done::sent(verify(tree)?, |sql| Action::Send { sql, kind, needs_tenant, cursor: None }))
        }
        Deed::Cursor { kind, cursor } => {
            Ok(Done::sent(verify(tree)?, |sql| Action::Send { sql, kind, needs_tenant: false, cursor }))
        }
        Deed::Savepoint { deed, name } => {
            Ok(Done::sent(verify(tree)?, |sql| Action::Savepoint { sql, deed, name }))
        }
        Deed::Set(changes) => {
            let done = Done::sent(verify(tree)?, |sql| Action::Set { sql, changes });
            // The value is remembered as it stands: every literal is pinned.
            Ok(Done { pins: every_pin(statement), ..done })
        }
        Deed::Load { load, insert: _ } => {
            let kind = StatementKind::CopyIn;
            let done = Done::sent(verify(tree)?, |sql| Action::Send {
                sql,
                kind,
                needs_tenant: false,
                cursor: None,
            });
            // The options were decided on, and are written into the load: every literal is pinned.
            Ok(Done { pins: every_pin(statement), load: Some(Arc::new(load)), ..done })
        }
    }
}

/// What is known of the outputs of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOutputs {
    /// Names, and types as far as they are known, in the server's order.
    pub columns: Vec<(String, Option<Oid>)>,
    /// There may be more, at any place from the first on whose type is not known.
    pub open: bool,
}

/// What binding takes a query's outputs for: what a condition around the query would be judged by. Runs on a planning
/// thread.
///
/// # Errors
/// As [`plan`].
pub fn outputs(world: &World, role: &str, statement: &Statement<'_>) -> Result<KnownOutputs, Refusal> {
    let (.., output) =
        attempted(world, role, statement, false, |binder, tree| binder.statement_in(None, &[], tree))?;
    let columns = output.columns.into_iter().map(|c| (c.name, c.ty.map(|ty| ty.oid))).collect();
    Ok(KnownOutputs { columns, open: output.open })
}

/// A statement bound and rewritten.
fn bound<'a>(
    world: &'a World,
    role: &'a str,
    statement: &'a Statement<'a>,
    cautious: bool,
) -> Result<(pg_query::protobuf::Node, Binder<'a>, Deed), Refusal> {
    let whole = attempted(world, role, statement, cautious, |binder, tree| binder.whole_statement(tree));
    let (mut tree, binder, deed) = whole?;
    let names = match (&tree.node, &deed) {
        // A SET has literals only, each of which was judged; what is prepared is bound when it is executed.
        (Some(NodeEnum::VariableSetStmt(_)), _) | (_, Deed::Prepare { .. }) => seen::Names::default(),
        _ => seen::whole(&mut tree)?,
    };
    if names.relations && binder.touched.is_empty() {
        return Err(unsupported("a relation at this place", -1));
    }
    Ok((tree, binder, deed))
}

/// A statement bound by `bind`; once more where that showed what ought to have been known before.
fn attempted<'a, T>(
    world: &'a World,
    role: &'a str,
    statement: &'a Statement<'a>,
    cautious: bool,
    bind: impl Fn(&mut Binder<'a>, &mut pg_query::protobuf::Node) -> Result<T, Refusal>,
) -> Result<(pg_query::protobuf::Node, Binder<'a>, T), Refusal> {
    let mut again = Again::default();
    loop {
        let mut tree = Tree::parse(statement, world.catalog.server_version_num)?.node;
        let mut binder = Binder::new(world, role, statement);
        binder.cautious = cautious;
        binder.again = again.clone();
        match bind(&mut binder, &mut tree) {
            Ok(bound) => return Ok((tree, binder, bound)),
            Err(refusal) => {
                if !binder.wish.take().is_some_and(|wish| again.grant(wish)) {
                    return Err(refusal);
                }
            }
        }
    }
}

/// A COPY whose rows are inserted: the plan of the INSERT, under the COPY's literals.
fn inserted(
    world: &World,
    role: &str,
    statement: &Statement<'_>,
    load: Load,
    insert: &str,
) -> Result<Planned, Refusal> {
    let internal =
        || Refusal::new(SqlState::INTERNAL, Rule("copy"), "the rows of this COPY cannot be inserted");
    let mut found = statements(insert, &Limits::default())?;
    let mut single = found.pop().filter(|_| found.is_empty()).ok_or_else(internal)?;
    single.parameter_types = load.inserts.clone().unwrap_or_default();
    let mut planned = plan(world, role, &single)?;
    let Action::Send { sql, needs_tenant, .. } = planned.action else { return Err(internal()) };
    if sql.uses_literals() || !planned.bind_checks.is_empty() {
        return Err(internal());
    }
    let reason = "the rows of the COPY are inserted one by one, so that their keys are proved";
    planned.decision.edits.iter_mut().for_each(|edit| edit.position = None);
    planned.decision.edits.insert(0, Edit { position: None, reason: reason.to_owned() });
    Ok(Planned {
        action: Action::Send { sql, kind: StatementKind::CopyIn, needs_tenant, cursor: None },
        parameters: 0,
        pins: every_pin(statement),
        load: Some(Arc::new(load)),
        // There may be no row.
        sequences: None,
        ..planned
    })
}

fn verified(
    world: &World,
    statement: &Statement<'_>,
    tree: &mut pg_query::protobuf::Node,
    tenant_parameter: u16,
    decided: &Decided,
) -> Result<(VerifiedSql, Vec<Pin>, Witnessed), Refusal> {
    let (mut template, mut pins) = lift::template_of(tree, statement, &[])?;
    if let Some(channel) = &decided.channel
        && !template.open_channel(channel)
    {
        let reason = "the channel is lost when the statement is printed";
        return Err(verify::refusal(statement.text, String::new(), reason));
    }
    let known: HashSet<usize> = pins.iter().map(|p| p.index).collect();
    let decided_on = decided.pinned.iter().filter(|index| !known.contains(index));
    pins.extend(decided_on.filter_map(|index| pin(statement, *index)));
    let sql = verify::verify_tree(tree, template, statement, tenant_parameter)?;
    let witnessed = ask(world, statement, &sql, tenant_parameter, decided)?;
    Ok((sql, pins, witnessed))
}

fn ask(
    world: &World,
    statement: &Statement<'_>,
    sql: &VerifiedSql,
    tenant_parameter: u16,
    decided: &Decided,
) -> Result<Witnessed, Refusal> {
    let mut text = Vec::with_capacity(sql.bytes());
    sql.render_extended(&mut text, tenant_parameter, |index| {
        statement.token(index).unwrap_or_default().as_bytes()
    });
    let text = String::from_utf8(text).unwrap_or_default();
    let looked_up = |index: &Index| text.contains(&format!("'{}'::pg_catalog.regclass", index.name));
    if let Some(index) = decided.indexes.iter().find(|index| !looked_up(index)) {
        let reason = format!("index {} is not looked up in the text", index.name);
        return Err(verify::refusal(statement.text, text, reason));
    }
    // Also where the rewriter has found no relation: whether there is none is for the witness to say.
    let is_touched = !decided.relations.is_empty();
    match witness_relying_on(&text, tenant_parameter, &Facts { world }, decided.indexes.clone()) {
        Witness::Agrees | Witness::CannotRead(_) if !is_touched => Ok(Witnessed::NoRelation),
        Witness::Agrees => Ok(Witnessed::Agrees),
        Witness::CannotRead(_) if world.policy.witness == model::Witness::WhenPossible => {
            Ok(Witnessed::CannotRead)
        }
        Witness::CannotRead(reason) => {
            let message = format!("the witness cannot read the rewritten statement: {reason}");
            Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("witness"), message))
        }
        Witness::Contradicts(reason) => Err(verify::refusal(statement.text, text, reason)),
    }
}

fn every_pin(statement: &Statement<'_>) -> Vec<Pin> {
    (0..statement.literals.len()).filter_map(|index| pin(statement, index)).collect()
}

fn pin(statement: &Statement<'_>, index: usize) -> Option<Pin> {
    Some(Pin { index, token: statement.token(index)?.to_owned() })
}
