//! Function calls: each name is judged by the table of risks and leaves with its schema.

use pg_query::NodeEnum;
use pg_query::protobuf::{CoercionForm, FuncCall, SqlValueFunctionOp};

use crate::catalog::{Oid, RelationKind};
use crate::config::model::{Operation, SequenceAccess};
use crate::policy::{Refusal, SqlState};

use super::super::build;
use super::super::functions::{FunctionVerdict, Functions, RULE, SpecialFunction};
use super::super::settings;
use super::types::{identifiers, string_constant};
use super::{Binder, Facts, Scope};

impl Binder<'_> {
    /// Binds a call: the function, then everything that a call can hold.
    pub fn call(&mut self, scope: &Scope<'_>, call: &mut FuncCall, facts: &mut Facts) -> Result<(), Refusal> {
        let location = call.location;
        let arguments = if call.agg_star { 0 } else { call.args.len() };
        let arguments = if call.agg_within_group { arguments + call.agg_order.len() } else { arguments };
        let name: Vec<String> = build::names(&call.funcname)
            .ok_or_else(|| super::unsupported("this function name", location))?
            .into_iter()
            .map(str::to_owned)
            .collect();
        let path: Vec<&str> = name.iter().map(String::as_str).collect();
        self.all(scope, &mut call.args, facts)?;
        let types = self.argument_types(scope, call, arguments);
        let listed = |schema: &str, name: &str| self.policy.lists_function(schema, name);
        match Functions::verdict_typed(self.catalog, &listed, &path, &types) {
            FunctionVerdict::Allowed { schema, volatility, set_returning, aggregate } => {
                // A call that is spelled as syntax (EXTRACT, OVERLAY …) is pg_catalog's already.
                if call.funcformat != CoercionForm::CoerceSqlSyntax as i32 {
                    let bare = path.last().copied().unwrap_or_default();
                    call.funcname = vec![build::text(&schema), build::text(bare)];
                }
                facts.volatile |= volatility == 'v';
                facts.set_returning |= set_returning;
                facts.aggregate |= aggregate && call.over.is_none();
            }
            FunctionVerdict::Special(special) => {
                self.special(special, call, &path)?;
                facts.volatile = true;
            }
            FunctionVerdict::Refused(refusal) => return Err(refusal.at(location)),
        }
        for order in &mut call.agg_order {
            self.sort_by(scope, order, &[], false, facts)?;
        }
        self.optional(scope, &mut call.agg_filter, facts)?;
        match call.over.as_deref_mut() {
            Some(window) => self.window_definition(scope, window, facts),
            None => Ok(()),
        }
    }

    /// The types of a call's arguments as far as they are known, in the server's order; those of WITHIN GROUP
    /// are not looked at.
    fn argument_types(&self, scope: &Scope<'_>, call: &FuncCall, count: usize) -> Vec<Option<Oid>> {
        let named = call.args.iter().any(|a| matches!(a.node, Some(NodeEnum::NamedArgExpr(_))));
        if call.agg_star || named || call.func_variadic {
            return vec![None; count];
        }
        let mut types: Vec<_> = call.args.iter().map(|a| self.type_of(scope, a).map(|ty| ty.oid)).collect();
        types.resize(count, None);
        types
    }

    /// `CURRENT_DATE` and the like. Those that show a role would show the proxy's own: they are harmless,
    /// since it is one role for all tenants.
    pub fn value_function(&self, op: i32, location: i32) -> Result<(), Refusal> {
        match SqlValueFunctionOp::try_from(op) {
            Ok(SqlValueFunctionOp::SqlvalueFunctionOpUndefined) | Err(_) => {
                Err(super::unsupported("this function", location))
            }
            Ok(_) => Ok(()),
        }
    }

    /// Functions that depend on their arguments.
    fn special(
        &mut self,
        special: SpecialFunction,
        call: &mut FuncCall,
        path: &[&str],
    ) -> Result<(), Refusal> {
        let location = call.location;
        let name = path.last().copied().unwrap_or_default();
        let refuse = |why: &str| {
            Err(Refusal::new(SqlState::DENIED, RULE, format!("function {name} {why}")).at(location))
        };
        match special {
            SpecialFunction::Nextval => self.nextval(call)?,
            SpecialFunction::CurrentUserLike | SpecialFunction::PgGetSerialSequence => {}
            SpecialFunction::CurrentSetting => {
                let Some((setting, at)) = call.args.first().and_then(string_constant) else {
                    return refuse("needs the setting's name as a literal");
                };
                if !settings::may_show(&setting) {
                    return Err(settings::refused(&setting, at));
                }
                self.pin(at);
            }
            SpecialFunction::RegInput => {
                let Some((text, at)) = call.args.first().and_then(string_constant) else {
                    return refuse("needs a literal");
                };
                self.pin(at);
                if name == "to_regclass" {
                    // What is not there gives NULL there; what is denied must look the same.
                    self.reg_literal("regclass", &text, at)?;
                }
            }
            SpecialFunction::PgInputIsValid => return refuse("is not supported"),
            SpecialFunction::Currval | SpecialFunction::Lastval => {
                return refuse(
                    "shows the last value of a server connection that tenants share: use RETURNING",
                );
            }
            SpecialFunction::SetConfig => self.set_config(call)?,
            SpecialFunction::PgNotify => return refuse("reaches channels that tenants share"),
            SpecialFunction::AdvisoryLock(_) => return refuse("takes locks that tenants share"),
            SpecialFunction::PgSleep => return refuse("holds a server connection"),
            SpecialFunction::SessionAddress => return refuse("would show the proxy's own connection"),
        }
        call.funcname = vec![build::text("pg_catalog"), build::text(name)];
        Ok(())
    }

    /// `set_config('name', 'value', local)`: a SET whose statement gives a row. One of them in a SELECT of
    /// nothing but values, with literals, so that the session can remember it.
    fn set_config(&mut self, call: &FuncCall) -> Result<(), Refusal> {
        let location = call.location;
        let literals = match call.args.as_slice() {
            [name, value, local] => {
                string_constant(name).zip(string_constant(value)).zip(boolean_constant(local))
            }
            _ => None,
        };
        let allowed = self.may_set_config && self.set_config.is_none();
        let (Some((((name, _), (value, _)), local)), true) = (literals, allowed) else {
            let message = "set_config takes literals, once, in a SELECT of nothing but values";
            return Err(Refusal::new(SqlState::DENIED, settings::RULE, message)
                .hint("Use SET.")
                .at(location));
        };
        let name = name.to_ascii_lowercase();
        settings::check(&name, &value, location)?;
        self.set_config = Some((name, value, local));
        Ok(())
    }

    /// `nextval('sequence')`: of a sequence that a column owns, where the role may insert into its table (an
    /// INSERT would show the same), or of one that a rule lists.
    fn nextval(&mut self, call: &FuncCall) -> Result<(), Refusal> {
        let location = call.location;
        let argument = call.args.first().and_then(|arg| match &arg.node {
            Some(NodeEnum::TypeCast(cast)) => string_constant(cast.arg.as_ref()?),
            _ => string_constant(arg),
        });
        let Some((text, at)) = argument else {
            return Err(
                Refusal::new(SqlState::DENIED, RULE, "nextval needs its sequence as a literal").at(location)
            );
        };
        self.pin(at);
        let path = identifiers(&text).unwrap_or_default();
        let (schema, name) = match path.as_slice() {
            [name] => (None, name.as_str()),
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            _ => (None, ""),
        };
        let undefined = || {
            Refusal::new(SqlState::UNDEFINED_TABLE, RULE, format!("relation \"{text}\" does not exist"))
                .at(at)
        };
        let sequence = self.catalog.find_relation(schema, name).ok_or_else(undefined)?.clone();
        if sequence.kind != RelationKind::Sequence {
            return Err(undefined());
        }
        let by_rule = self.policy.sequence_access(sequence.oid).contains(&SequenceAccess::Nextval);
        let by_owner =
            sequence.owned_by.and_then(|(table, _)| self.catalog.relation(table)).is_some_and(|table| {
                !matches!(self.policy.tenancy(table.oid), crate::policy::Tenancy::Denied)
                    && self.policy.access(self.role, table).allows(Operation::Insert)
            });
        if by_rule || by_owner {
            Ok(())
        } else {
            let message = format!("sequence {}.{} may not be drawn from", sequence.schema, sequence.name);
            Err(Refusal::new(SqlState::DENIED, RULE, message)
                .hint("List it under [[sequences]] with access = [\"nextval\"].")
                .at(location))
        }
    }
}

fn boolean_constant(node: &pg_query::protobuf::Node) -> Option<bool> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(pg_query::protobuf::a_const::Val::Boolval(value)) => Some(value.boolval),
            _ => None,
        },
        _ => None,
    }
}
