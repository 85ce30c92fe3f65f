//! Calls of functions, aggregates and windows.

use pg_query::NodeEnum;
use pg_query::protobuf::{CoercionForm, FuncCall, Node, SqlValueFunction, SqlValueFunctionOp, WindowDef};

use super::Printer;
use super::expression::Rule;
use super::name::{is_plain, text_of};

/// FRAMEOPTION_NONDEFAULT (parsenodes.h): a window's frame was written.
const FRAME_IS_WRITTEN: i32 = 1;

impl Printer {
    /// A call. Those that the grammar has a syntax of their own for are left to pg_query.
    pub(super) fn call(&mut self, call: &FuncCall) -> Option<()> {
        let FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group,
            agg_star,
            agg_distinct,
            func_variadic,
            funcformat: _,
            location: _,
        } = call;
        let overlay = matches!(funcname.as_slice(), [_, name] if text_of(name) == Some("overlay"));
        if overlay || call.funcformat() != CoercionForm::CoerceExplicitCall {
            return None;
        }
        self.qualified(funcname)?;
        self.put(if *agg_distinct { "(DISTINCT " } else { "(" });
        if *agg_star {
            self.put("*");
        }
        for (place, arg) in args.iter().enumerate() {
            if place > 0 {
                self.put(", ");
            }
            if *func_variadic && place + 1 == args.len() {
                self.put("VARIADIC ");
            }
            self.argument(arg)?;
        }
        if *agg_within_group {
            self.put(") WITHIN GROUP (");
        }
        self.order(agg_order)?;
        self.put(")");
        if let Some(filter) = agg_filter {
            self.put(" FILTER (WHERE ");
            self.expression(filter, Rule::A)?;
            self.put(")");
        }
        over.as_deref().map_or(Some(()), |over| self.window(over))
    }

    fn argument(&mut self, arg: &Node) -> Option<()> {
        let Some(NodeEnum::NamedArgExpr(named)) = &arg.node else { return self.expression(arg, Rule::A) };
        // pg_query does not quote it.
        if !is_plain(&named.name) {
            return None;
        }
        self.put(&named.name);
        self.put(" := ");
        self.expression(named.arg.as_deref()?, Rule::A)
    }

    /// OVER, without a written frame.
    fn window(&mut self, window: &WindowDef) -> Option<()> {
        let WindowDef {
            name,
            refname,
            partition_clause,
            order_clause,
            frame_options,
            start_offset: None,
            end_offset: None,
            location: _,
        } = window
        else {
            return None;
        };
        if !name.is_empty() || frame_options & FRAME_IS_WRITTEN != 0 {
            return None;
        }
        self.put(" OVER (");
        if !refname.is_empty() {
            self.name(refname);
        }
        if !partition_clause.is_empty() {
            self.clause("PARTITION BY ");
            self.expressions(partition_clause)?;
        }
        self.order(order_clause)?;
        self.put(")");
        Some(())
    }

    /// CURRENT_DATE and its kin.
    pub(super) fn value_function(&mut self, function: &SqlValueFunction) -> Option<()> {
        let SqlValueFunction { xpr: _, op: _, r#type: _, typmod: -1, location: _ } = function else {
            return None;
        };
        self.put(match function.op() {
            SqlValueFunctionOp::SvfopCurrentDate => "current_date",
            SqlValueFunctionOp::SvfopCurrentTime => "current_time",
            SqlValueFunctionOp::SvfopCurrentTimestamp => "current_timestamp",
            SqlValueFunctionOp::SvfopLocaltime => "localtime",
            SqlValueFunctionOp::SvfopLocaltimestamp => "localtimestamp",
            _ => return None,
        });
        Some(())
    }
}
