//! Function calls: each name is judged by the table of risks and leaves with its schema.

use pg_query::NodeEnum;
use pg_query::protobuf::{CoercionForm, FuncCall, Node, SqlValueFunctionOp};

use crate::catalog::Oid;
use crate::policy::{Refusal, SqlState};

use super::super::arguments::{boolean_constant, parameter_argument, string_constant};
use super::super::build;
use super::super::functions::{AdvisoryLock, FunctionVerdict, Functions, RULE, SpecialFunction};
use super::super::leaksafe::{BindCheck, BindRule};
use super::super::planned::Lasting;
use super::super::rewrite::scoped;
use super::super::seen::{mark, place};
use super::super::sequences::Asked;
use super::super::settings::{self, Given, SettingChange};
use super::{Binder, Facts, Scope};

impl Binder<'_> {
    /// Binds a call: the function, then everything that a call can hold.
    pub fn call(&mut self, scope: &Scope<'_>, call: &mut FuncCall, facts: &mut Facts) -> Result<(), Refusal> {
        let mut own = Facts::default();
        let bound = self.call_alone(scope, call, &mut own);
        facts.merge(own);
        bound
    }

    fn call_alone(
        &mut self,
        scope: &Scope<'_>,
        call: &mut FuncCall,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let location = call.location;
        self.drop_void(call);
        mark(&mut call.location);
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
        let mut aggregates = false;
        match Functions::verdict_typed(self.catalog, &listed, &path, &types) {
            FunctionVerdict::Allowed { schema, volatility, set_returning, aggregate } => {
                // A call that is spelled as syntax (EXTRACT, OVERLAY …) is pg_catalog's already.
                if call.funcformat != CoercionForm::CoerceSqlSyntax as i32 {
                    let bare = path.last().copied().unwrap_or_default();
                    call.funcname = vec![build::text(&schema), build::text(bare)];
                }
                facts.volatile |= volatility == 'v';
                facts.set_returning |= set_returning;
                aggregates = aggregate;
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
        facts.of_rows(aggregates, call.over.is_some(), scope.level.depth);
        if aggregates && call.over.is_none() && may_take_first(call) {
            for level in facts.reads.iter().filter_map(|(depth, _)| scope.level_at(*depth)) {
                level.extremes.set(true);
            }
        }
        match call.over.as_deref_mut() {
            Some(window) => self.window_definition(scope, window, facts),
            None => Ok(()),
        }
    }

    /// A parameter of type void is no argument: it stands for an OUT parameter of a function that JDBC calls
    /// (ParseFuncOrColumn of parse_func.c drops it likewise).
    fn drop_void(&mut self, call: &mut FuncCall) {
        const VOID: Oid = 2278;
        if call.agg_within_group {
            return;
        }
        let types = &self.statement.parameter_types;
        let mut highest = self.parameters;
        call.args.retain(|argument| {
            let Some(NodeEnum::ParamRef(parameter)) = &argument.node else { return true };
            let Ok(number) = u16::try_from(parameter.number) else { return true };
            let declared = usize::from(number).checked_sub(1).and_then(|at| types.get(at));
            let void = declared == Some(&VOID);
            if void {
                highest = highest.max(number);
            }
            !void
        });
        self.parameters = highest;
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
        let location = place(call.location);
        let name = path.last().copied().unwrap_or_default();
        let refuse = |why: &str| {
            Err(Refusal::new(SqlState::DENIED, RULE, format!("function {name} {why}")).at(location))
        };
        match special {
            SpecialFunction::Nextval => self.nextval(call)?,
            SpecialFunction::CurrentUserLike | SpecialFunction::PgGetSerialSequence => {}
            SpecialFunction::CurrentSetting => {
                if let Some((setting, at)) = call.args.first().and_then(string_constant) {
                    if !settings::may_show(&setting) {
                        return Err(settings::refused(&setting, at));
                    }
                    self.pin(at);
                } else if let Some(number) = call.args.first().and_then(parameter_argument) {
                    let rule = BindRule::ShownSetting;
                    self.bind_checks.push(BindCheck { parameter: i32::from(number), rule });
                } else {
                    return refuse("needs the setting's name as a literal or a parameter");
                }
            }
            SpecialFunction::RegInput => {
                let Some((text, at)) = call.args.first().and_then(string_constant) else {
                    return refuse("needs a literal");
                };
                self.pin(at);
                // What is not there gives NULL there; what is denied must look the same.
                if name == "to_regclass"
                    && self.reg_literal("regclass", &text, at).is_err()
                    && let Some(argument) = call.args.first_mut()
                {
                    *argument = build::cast(build::null(), "pg_catalog", "text");
                }
            }
            SpecialFunction::PgInputIsValid => {
                let Some((text, at)) = call.args.get(1).and_then(string_constant) else {
                    return refuse("needs the type's name as a literal");
                };
                self.pin(at);
                self.input_type(&text, at)?;
            }
            SpecialFunction::Currval => self.currval(call)?,
            SpecialFunction::Lastval => self.asks.push(Asked::Last),
            SpecialFunction::SetConfig => self.set_config(call)?,
            SpecialFunction::PgNotify => scoped::notify_channel(self, call)?,
            SpecialFunction::AdvisoryLock(lock) => {
                self.holds = self.holds.max(match lock {
                    AdvisoryLock::Transaction => Lasting::Nothing,
                    AdvisoryLock::Session => Lasting::Takes,
                    AdvisoryLock::Unlock | AdvisoryLock::UnlockAll => Lasting::Releases,
                });
                scoped::advisory_key(self, call)?;
            }
            SpecialFunction::PgSleep => return refuse("holds a server connection"),
            SpecialFunction::SessionAddress => return refuse("would show the proxy's own connection"),
        }
        call.funcname = vec![build::text("pg_catalog"), build::text(name)];
        Ok(())
    }

    /// `set_config('name', 'value', local)`: a SET whose statement gives a row. In a SELECT of nothing but values,
    /// with literals or parameters, so that the session can check and remember what is set.
    fn set_config(&mut self, call: &FuncCall) -> Result<(), Refusal> {
        let location = place(call.location);
        let change = match call.args.as_slice() {
            [name, value, local] if self.may_set_config => setting_change(name, value, local),
            _ => None,
        };
        let Some(change) = change else {
            let message =
                "set_config takes literals or parameters, as an output of a SELECT of nothing but values";
            return Err(Refusal::new(SqlState::DENIED, settings::RULE, message)
                .hint("Use SET.")
                .at(location));
        };
        if let SettingChange::One { name: Given::Known(name), value, .. } = &change {
            settings::may_set(name).map_err(|refusal| refusal.at(location))?;
            if let Given::Known(Some(value)) = value {
                settings::check(name, value, location)?;
            }
        }
        self.set_config.push(change);
        Ok(())
    }
}

fn setting_change(name: &Node, value: &Node, local: &Node) -> Option<SettingChange> {
    let name = match text_argument(name)? {
        Given::Known(name) => Given::Known(name?.to_ascii_lowercase()),
        Given::Parameter(number) => Given::Parameter(number),
    };
    let local = match boolean_constant(local) {
        Some(local) => Given::Known(local),
        None => Given::Parameter(parameter_argument(local)?),
    };
    Some(SettingChange::One { name, value: text_argument(value)?, local })
}

/// Whether an aggregate may be one that PostgreSQL answers by the first row of a sorted scan: those of its own that
/// have a sort operator, and any of somebody's.
fn may_take_first(call: &FuncCall) -> bool {
    let names = build::names(&call.funcname).unwrap_or_default();
    match names.as_slice() {
        ["pg_catalog", name] => matches!(*name, "min" | "max" | "bool_and" | "bool_or" | "every"),
        _ => true,
    }
}

/// A string literal, NULL or a parameter, also cast to text.
fn text_argument(node: &Node) -> Option<Given<Option<String>>> {
    if let Some(number) = parameter_argument(node) {
        return Some(Given::Parameter(number));
    }
    match &node.node {
        Some(NodeEnum::AConst(constant)) if constant.isnull => Some(Given::Known(None)),
        _ => string_constant(node).map(|(text, _)| Given::Known(Some(text))),
    }
}
