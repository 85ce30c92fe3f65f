//! The name of an output that has none of its own, as PostgreSQL finds it.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ResTarget};

use crate::policy::Refusal;

use super::super::build;
use super::{Binder, Facts, Scope};

impl Binder<'_> {
    /// Binds a value that goes by a name. Where that is the name of what it reads, it stays so.
    pub(super) fn named_value(
        &mut self,
        scope: &Scope<'_>,
        target: &mut ResTarget,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(value) = &mut target.val else { return Ok(()) };
        let before = figure_name(value);
        self.expression(scope, value, facts)?;
        if target.name.is_empty() && figure_name(value) != before {
            target.name = before;
        }
        Ok(())
    }
}

/// `FigureColname` of parse_target.c.
pub(super) fn figure_name(node: &Node) -> String {
    figure(node).unwrap_or_else(|| "?column?".to_owned())
}

fn figure(node: &Node) -> Option<String> {
    let name = |parts: &[Node]| build::names(parts).and_then(|n| n.last().map(|l| (*l).to_owned()));
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(column) => name(&column.fields),
        NodeEnum::AIndirection(indirection) => {
            let field = indirection.indirection.iter().rev().find_map(|n| match &n.node {
                Some(NodeEnum::String(field)) => Some(field.sval.clone()),
                _ => None,
            });
            field.or_else(|| figure(indirection.arg.as_ref()?))
        }
        NodeEnum::FuncCall(call) => name(&call.funcname),
        NodeEnum::AExpr(expr) if expr.kind == pg_query::protobuf::AExprKind::AexprNullif as i32 => {
            Some("nullif".to_owned())
        }
        NodeEnum::TypeCast(cast) => {
            cast.arg.as_ref().and_then(|arg| figure(arg)).or_else(|| name(&cast.type_name.as_ref()?.names))
        }
        NodeEnum::CollateClause(collate) => figure(collate.arg.as_ref()?),
        NodeEnum::GroupingFunc(_) => Some("grouping".to_owned()),
        NodeEnum::SubLink(sublink) => sublink_name(sublink),
        NodeEnum::CaseExpr(case) => {
            case.defresult.as_ref().and_then(|d| figure(d)).or_else(|| Some("case".to_owned()))
        }
        NodeEnum::AArrayExpr(_) => Some("array".to_owned()),
        NodeEnum::RowExpr(_) => Some("row".to_owned()),
        NodeEnum::CoalesceExpr(_) => Some("coalesce".to_owned()),
        NodeEnum::MinMaxExpr(minmax) => {
            let greatest = minmax.op == pg_query::protobuf::MinMaxOp::IsGreatest as i32;
            Some(if greatest { "greatest" } else { "least" }.to_owned())
        }
        NodeEnum::XmlSerialize(_) => Some("xmlserialize".to_owned()),
        NodeEnum::SqlvalueFunction(function) => value_function_name(function.op),
        NodeEnum::MergeSupportFunc(_) => Some("merge_action".to_owned()),
        _ => None,
    }
}

fn sublink_name(sublink: &pg_query::protobuf::SubLink) -> Option<String> {
    use pg_query::protobuf::SubLinkType as Kind;
    match sublink.sub_link_type {
        k if k == Kind::ExistsSublink as i32 => Some("exists".to_owned()),
        k if k == Kind::ArraySublink as i32 => Some("array".to_owned()),
        k if k == Kind::ExprSublink as i32 => {
            let Some(NodeEnum::SelectStmt(select)) = &sublink.subselect.as_ref()?.node else { return None };
            let Some(NodeEnum::ResTarget(target)) = &select.target_list.first()?.node else { return None };
            if target.name.is_empty() { figure(target.val.as_ref()?) } else { Some(target.name.clone()) }
        }
        _ => None,
    }
}

fn value_function_name(op: i32) -> Option<String> {
    use pg_query::protobuf::SqlValueFunctionOp as Op;
    let name = match Op::try_from(op).ok()? {
        Op::SvfopCurrentDate => "current_date",
        Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => "current_time",
        Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => "current_timestamp",
        Op::SvfopLocaltime | Op::SvfopLocaltimeN => "localtime",
        Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => "localtimestamp",
        Op::SvfopCurrentRole => "current_role",
        Op::SvfopCurrentUser => "current_user",
        Op::SvfopUser => "user",
        Op::SvfopSessionUser => "session_user",
        Op::SvfopCurrentCatalog => "current_catalog",
        Op::SvfopCurrentSchema => "current_schema",
        Op::SqlvalueFunctionOpUndefined => return None,
    };
    Some(name.to_owned())
}
