//! The name of an output that has none of its own, as PostgreSQL finds it.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, JsonExprOp, MinMaxOp, Node, ResTarget, SubLinkType, XmlExprOp, a_const};

use crate::policy::Refusal;

use super::super::build;
use super::{Binder, Facts, Scope};

/// The name of an output that nothing names.
const UNNAMED: &str = "?column?";
/// From this version on TRUE and FALSE are literals, and no casts.
const BARE_BOOLEANS: u32 = 150_000;

impl Binder<'_> {
    /// Binds a value that goes by a name, and gives that name. Where that is the name of what it reads, it stays so.
    pub(super) fn named_value(
        &mut self,
        scope: &Scope<'_>,
        target: &mut ResTarget,
        facts: &mut Facts,
    ) -> Result<String, Refusal> {
        let Some(value) = &mut target.val else { return Ok(target.name.clone()) };
        let before = self.figure(value);
        self.expression(scope, value, facts)?;
        let Some(value) = &target.val else { return Ok(target.name.clone()) };
        let name = match before {
            Figured::OfQuery => {
                return Ok(match target.name.is_empty() {
                    true => self.query_name.clone().unwrap_or_else(|| UNNAMED.to_owned()),
                    false => target.name.clone(),
                });
            }
            named => named.name(),
        };
        if target.name.is_empty() && self.figure(value).name() != name {
            target.name.clone_from(&name);
        }
        Ok(if target.name.is_empty() { name } else { target.name.clone() })
    }

    /// The name of a bound or unbound expression where it is an item of FROM.
    pub(super) fn figure_name(&self, node: &Node) -> String {
        self.figure(node).name()
    }

    /// `FigureColnameInternal` of parse_target.c.
    fn figure(&self, node: &Node) -> Figured {
        let figure = |node: &Option<Box<Node>>| node.as_deref().map_or(Figured::Nothing, |n| self.figure(n));
        let last = |parts: &[Node]| build::names(parts).and_then(|n| n.last().map(|l| (*l).to_owned()));
        let Some(node) = &node.node else { return Figured::Nothing };
        match node {
            NodeEnum::ColumnRef(column) => strings(&column.fields).map_or(Figured::Nothing, Figured::Strong),
            NodeEnum::AIndirection(indirection) => match strings(&indirection.indirection) {
                Some(field) => Figured::Strong(field),
                None => figure(&indirection.arg),
            },
            NodeEnum::FuncCall(call) => last(&call.funcname).map_or(Figured::Nothing, Figured::Strong),
            NodeEnum::AExpr(expr) if expr.kind == AExprKind::AexprNullif as i32 => strong("nullif"),
            NodeEnum::TypeCast(cast) => match figure(&cast.arg) {
                inner @ (Figured::Strong(_) | Figured::OfQuery) => inner,
                inner => {
                    let name = cast.type_name.as_ref().and_then(|name| last(&name.names));
                    name.map_or(inner, Figured::Weak)
                }
            },
            NodeEnum::CollateClause(collate) => figure(&collate.arg),
            // A literal of its own: before 15 a cast.
            NodeEnum::AConst(constant)
                if matches!(constant.val, Some(a_const::Val::Boolval(_)))
                    && self.catalog.server_version_num < BARE_BOOLEANS =>
            {
                Figured::Weak("bool".to_owned())
            }
            NodeEnum::GroupingFunc(_) => strong("grouping"),
            NodeEnum::MergeSupportFunc(_) => strong("merge_action"),
            NodeEnum::SubLink(sublink) => match SubLinkType::try_from(sublink.sub_link_type) {
                Ok(SubLinkType::ExistsSublink) => strong("exists"),
                Ok(SubLinkType::ArraySublink) => strong("array"),
                Ok(SubLinkType::ExprSublink) => Figured::OfQuery,
                _ => Figured::Nothing,
            },
            NodeEnum::CaseExpr(case) => match figure(&case.defresult) {
                inner @ (Figured::Strong(_) | Figured::OfQuery) => inner,
                _ => Figured::Weak("case".to_owned()),
            },
            NodeEnum::AArrayExpr(_) => strong("array"),
            NodeEnum::RowExpr(_) => strong("row"),
            NodeEnum::CoalesceExpr(_) => strong("coalesce"),
            NodeEnum::MinMaxExpr(minmax) if minmax.op == MinMaxOp::IsGreatest as i32 => strong("greatest"),
            NodeEnum::MinMaxExpr(_) => strong("least"),
            NodeEnum::XmlExpr(xml) => xml_name(xml.op).map_or(Figured::Nothing, strong),
            NodeEnum::XmlSerialize(_) => strong("xmlserialize"),
            NodeEnum::SqlvalueFunction(function) => {
                value_function_name(function.op).map_or(Figured::Nothing, Figured::Strong)
            }
            NodeEnum::JsonParseExpr(_) => strong("json"),
            NodeEnum::JsonScalarExpr(_) => strong("json_scalar"),
            NodeEnum::JsonSerializeExpr(_) => strong("json_serialize"),
            NodeEnum::JsonObjectConstructor(_) => strong("json_object"),
            NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_) => {
                strong("json_array")
            }
            NodeEnum::JsonObjectAgg(_) => strong("json_objectagg"),
            NodeEnum::JsonArrayAgg(_) => strong("json_arrayagg"),
            NodeEnum::JsonFuncExpr(function) => match JsonExprOp::try_from(function.op) {
                Ok(JsonExprOp::JsonExistsOp) => strong("json_exists"),
                Ok(JsonExprOp::JsonQueryOp) => strong("json_query"),
                Ok(JsonExprOp::JsonValueOp) => strong("json_value"),
                _ => Figured::Nothing,
            },
            _ => Figured::Nothing,
        }
    }
}

/// What an expression says of the name of its output; a cast overrides what is weak.
enum Figured {
    Nothing,
    Weak(String),
    Strong(String),
    /// The first output of its sub-select, which is known once that is bound.
    OfQuery,
}

impl Figured {
    fn name(self) -> String {
        match self {
            Self::Weak(name) | Self::Strong(name) => name,
            Self::Nothing | Self::OfQuery => UNNAMED.to_owned(),
        }
    }
}

fn strong(name: &str) -> Figured {
    Figured::Strong(name.to_owned())
}

/// The last name among fields, subscripts and stars.
fn strings(fields: &[Node]) -> Option<String> {
    fields.iter().rev().find_map(|field| match &field.node {
        Some(NodeEnum::String(name)) => Some(name.sval.clone()),
        _ => None,
    })
}

fn xml_name(op: i32) -> Option<&'static str> {
    Some(match XmlExprOp::try_from(op).ok()? {
        XmlExprOp::IsXmlconcat => "xmlconcat",
        XmlExprOp::IsXmlelement => "xmlelement",
        XmlExprOp::IsXmlforest => "xmlforest",
        XmlExprOp::IsXmlparse => "xmlparse",
        XmlExprOp::IsXmlpi => "xmlpi",
        XmlExprOp::IsXmlroot => "xmlroot",
        XmlExprOp::IsXmlserialize => "xmlserialize",
        XmlExprOp::IsDocument | XmlExprOp::Undefined => return None,
    })
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
