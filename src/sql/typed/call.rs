//! Calls of functions.

use pg_query::NodeEnum;
use pg_query::protobuf::FuncCall;

use super::super::resolve::{FunctionMatch, Resolution, array_type, oid, resolve_function};
use super::build::Typer;
use super::type_name::string;
use super::{Expr, ExprType};

/// C symbols of the functions that give the time of the transaction or statement.
const NOW: [&str; 2] = ["now", "statement_timestamp"];

impl Typer<'_> {
    /// ParseFuncOrColumn (parse_func.c) of a plain call.
    pub(super) fn call(&self, call: &FuncCall, depth: usize) -> Expr {
        let plain = call.agg_order.is_empty()
            && call.agg_filter.is_none()
            && call.over.is_none()
            && !call.agg_within_group
            && !call.agg_star
            && !call.agg_distinct;
        let named = call.args.iter().any(|a| matches!(a.node, Some(NodeEnum::NamedArgExpr(_))));
        let names: Option<Vec<&str>> = call.funcname.iter().map(string).collect();
        let (schema, name) = match names.as_deref() {
            _ if !plain || named => return Expr::Other("an aggregate, a window or a named argument"),
            Some([name]) => (None, *name),
            Some([schema, name]) => (Some(*schema), *name),
            _ => return Expr::Other("a function's name without a rule"),
        };
        let arguments = self.children(&call.args, depth);
        if let Some(other) = arguments.iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        let types: Vec<_> = arguments.iter().map(|a| a.ty().oid).collect();
        // `date('…')` is a cast, `date($1)` with an untyped parameter is a call.
        if let [Expr::Param { ty, .. }] = &*arguments
            && ty.oid == oid::UNKNOWN
            && self.catalog.find_type(schema, name).is_some()
        {
            return Expr::Other("an untyped parameter in the form of a cast");
        }
        match resolve_function(self.catalog, schema, name, &types, call.func_variadic) {
            Resolution::Found(found) => self.called(found, arguments),
            _ => Expr::Other("a function that is not found"),
        }
    }

    fn called(&self, found: FunctionMatch, arguments: Vec<Expr>) -> Expr {
        let (function, result, casts, gathered) = match found {
            FunctionMatch::Cast { target, path } => {
                let argument = arguments.into_iter().next().unwrap_or(Expr::Other("a cast of nothing"));
                return self.along(argument, target, path);
            }
            FunctionMatch::Call { function, result, arguments, gathered } => {
                (function, result, arguments, gathered)
            }
        };
        if function.kind != 'f' || function.returns_set {
            return Expr::Other("a set or an aggregate");
        }
        if function.internal && function.oid < 16384 && NOW.contains(&function.source.as_str()) {
            return Expr::Now(ExprType::of(self.catalog, result));
        }
        let mut coerced: Vec<Expr> = Vec::with_capacity(casts.len());
        for (argument, (target, path)) in arguments.into_iter().zip(casts) {
            match self.along(argument, target, path) {
                other @ Expr::Other(_) => return other,
                argument => coerced.push(argument),
            }
        }
        // A VARIADIC parameter of type "any" takes its arguments one by one.
        let element = function.variadic;
        if gathered > 0 && element != oid::ANY {
            let elements = coerced.split_off(coerced.len().saturating_sub(gathered));
            let array = array_type(self.catalog, element);
            if array == 0 {
                return Expr::Other("a VARIADIC argument without a rule");
            }
            let ty = ExprType::from_inputs(self.catalog, array, -1, &elements);
            coerced.push(Expr::Array { elements, ty });
        }
        let ty = ExprType::from_inputs(self.catalog, result, -1, &coerced);
        Expr::Call { function, arguments: coerced, ty }
    }
}
