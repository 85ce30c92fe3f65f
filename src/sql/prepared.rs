//! PREPARE and EXECUTE in SQL. A name that a client prepares is its session's, by whichever protocol: the server
//! keeps the statement under a name of the proxy's. PREPARE is therefore not sent; the statement in it is planned
//! as one that the protocol prepares. An EXECUTE is sent with the server's name in the place of the client's, and
//! with the tenant behind the client's values where the statement takes it.
//!
//! The values are expressions without rows, parameters or sub-selects (`EvaluateParams`, commands/prepare.c), so
//! that the server may evaluate them before anything is read.

use pg_query::NodeEnum;
use pg_query::protobuf::{ExecuteStmt, Node, ParamRef, PrepareStmt, a_const};

use crate::policy::{Refusal, Rule, SqlState};

use super::bind::{Binder, Facts, Level, Scope, unsupported};
use super::lexer::{Kind, Lexer};
use super::planned::{Argument, Execute, Lasting};
use super::statement::Deed;
use super::{Pin, Statement, TENANT_PARAMETER, Template, VerifiedSql, build, lift, verify};

/// The rule of refusals that concern prepared statements.
pub const RULE: Rule = Rule("prepared-statement");

/// The statement behind `PREPARE name (types) AS`, and where it begins.
pub fn body(text: &str) -> Option<(usize, &str)> {
    let mut lexer = Lexer::new(text, 0);
    let mut depth = 0usize;
    while let Ok(Some(token)) = lexer.next_token() {
        match token.kind {
            Kind::Open => depth = depth.saturating_add(1),
            Kind::Close => depth = depth.saturating_sub(1),
            // AS is reserved: it is neither the name nor a type of its own.
            Kind::Word if depth == 0 && text.get(token.start..token.end)?.eq_ignore_ascii_case("as") => {
                return Some((token.end, text.get(token.end..)?));
            }
            _ => {}
        }
    }
    None
}

impl Binder<'_> {
    /// PREPARE: its types. The statement itself is planned when the session prepares it.
    pub(super) fn prepare(&mut self, prepare: &mut PrepareStmt) -> Result<Deed, Refusal> {
        let mut types = Vec::with_capacity(prepare.argtypes.len());
        for argument in &mut prepare.argtypes {
            let Some(NodeEnum::TypeName(name)) = &mut argument.node else {
                return Err(unsupported("this type", -1));
            };
            types.push(self.type_name(name)?);
        }
        Ok(Deed::Prepare { name: std::mem::take(&mut prepare.name), types })
    }

    /// EXECUTE: its values; the name becomes a place for the server's.
    pub(super) fn execute(&mut self, execute: &mut ExecuteStmt) -> Result<Deed, Refusal> {
        let nothing = Level::at(0);
        let scope = Scope { outer: None, level: &nothing, window: None, ctes: &[] };
        let mut facts = Facts::default();
        let mut arguments = Vec::with_capacity(execute.params.len());
        for value in &mut execute.params {
            self.expression(&scope, value, &mut facts)?;
            arguments.push(self.argument(value));
        }
        if !self.touched.is_empty() {
            let message = "cannot use subquery in EXECUTE parameter";
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message));
        }
        // The session counts what the statement behind the name does, not what its values do.
        if self.holds != Lasting::Nothing || self.tenant_type.is_some() {
            let message = "an EXECUTE parameter with advisory locks or channels is not supported";
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message)
                .hint("Call the function in a statement of its own."));
        }
        if self.parameters > 0 {
            return Err(Refusal::new(SqlState("42P02"), RULE, "there is no parameter $1"));
        }
        let name = std::mem::replace(&mut execute.name, Template::PREPARED.to_owned());
        Ok(Deed::Execute { name, arguments })
    }

    fn argument(&self, value: &Node) -> Argument {
        match &value.node {
            Some(NodeEnum::AConst(constant)) if constant.isnull => Argument::Null,
            Some(NodeEnum::AConst(constant)) if !matches!(constant.val, Some(a_const::Val::Boolval(_))) => {
                let index = self.statement.literal_at(constant.location);
                index.map_or(Argument::Expression, Argument::Literal)
            }
            _ => Argument::Expression,
        }
    }
}

/// What is sent for an EXECUTE that was bound.
pub(super) fn execute(
    statement: &Statement<'_>,
    bound: &Node,
    tenant_parameter: u16,
    name: String,
    arguments: Vec<Argument>,
) -> Result<(Execute, Vec<Pin>), Refusal> {
    let (plain, mut pins) = named(statement, bound, tenant_parameter)?;
    let mut with_tenant = bound.clone();
    let tenant = NodeEnum::ParamRef(ParamRef { number: TENANT_PARAMETER, location: build::NOWHERE });
    if let Some(execute) = inner(&mut with_tenant) {
        execute.params.push(build::node(tenant));
    }
    let (tenanted, more) = named(statement, &with_tenant, tenant_parameter)?;
    pins.extend(more);
    Ok((Execute { name, plain, tenanted, arguments }, pins))
}

/// The EXECUTE of a statement that is one, or that explains one.
fn inner(node: &mut Node) -> Option<&mut ExecuteStmt> {
    match &mut node.node {
        Some(NodeEnum::ExecuteStmt(execute)) => Some(execute),
        Some(NodeEnum::ExplainStmt(explain)) => inner(explain.query.as_mut()?),
        _ => None,
    }
}

fn named(
    statement: &Statement<'_>,
    tree: &Node,
    tenant_parameter: u16,
) -> Result<(VerifiedSql, Vec<Pin>), Refusal> {
    let (mut template, pins) = lift::template(tree, statement, &[])?;
    if !template.open_name() {
        let message = "the prepared statement's name is lost when the statement is printed";
        return Err(Refusal::new(SqlState::NOT_SUPPORTED, verify::RULE, message));
    }
    Ok((verify::verify(tree, template, statement, tenant_parameter)?, pins))
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn the_statement_behind_as_is_found_past_names_types_and_comments() {
        let found = |text| body(text).map(|(_, body)| body.trim());
        assert_eq!(found("prepare p as select 1"), Some("select 1"));
        assert_eq!(
            found("PREPARE \"as\"(int, numeric(1,2)) /* as */ AS select 1 as x"),
            Some("select 1 as x")
        );
        assert_eq!(found("prepare p -- as\n as(select 1)"), Some("(select 1)"));
        assert_eq!(found("prepare p"), None);
    }
}
