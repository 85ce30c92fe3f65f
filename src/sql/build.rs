//! Makes nodes of PostgreSQL's raw parse tree. What the rewriting makes carries the location -1, so that it
//! is never taken for a token of the client.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, Alias, BoolExpr, BoolExprType, Boolean, CaseExpr, CaseWhen, CoalesceExpr,
    ColumnRef, FuncCall, Integer, JoinExpr, LimitOption, Node, NullTest, NullTestType, ParamRef,
    RangeSubselect, RangeVar, ResTarget, SelectStmt, SetOperation, String as Text, SubLink, SubLinkType,
    TypeCast, TypeName, a_const,
};

use crate::catalog::{Relation, Type};

use super::template::TENANT_PARAMETER;

/// Where nodes of ours say they are.
pub(in crate::sql) const NOWHERE: i32 = -1;

pub(in crate::sql) fn node(inner: NodeEnum) -> Node {
    Node { node: Some(inner) }
}

pub(in crate::sql) fn boxed(inner: NodeEnum) -> Box<Node> {
    Box::new(node(inner))
}

/// A name as an identifier of a text.
pub(in crate::sql) fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(in crate::sql) fn text(value: &str) -> Node {
    node(NodeEnum::String(Text { sval: value.to_owned() }))
}

pub(in crate::sql) fn column(path: &[&str]) -> Node {
    node(NodeEnum::ColumnRef(ColumnRef { fields: path.iter().map(|p| text(p)).collect(), location: NOWHERE }))
}

pub(in crate::sql) fn boolean(value: bool) -> Node {
    constant(a_const::Val::Boolval(Boolean { boolval: value }))
}

pub(in crate::sql) fn integer(value: i32) -> Node {
    constant(a_const::Val::Ival(Integer { ival: value }))
}

pub(in crate::sql) fn string(value: &str) -> Node {
    constant(a_const::Val::Sval(Text { sval: value.to_owned() }))
}

pub(in crate::sql) fn null() -> Node {
    node(NodeEnum::AConst(AConst { isnull: true, location: NOWHERE, val: None }))
}

fn constant(val: a_const::Val) -> Node {
    node(NodeEnum::AConst(AConst { isnull: false, location: NOWHERE, val: Some(val) }))
}

pub(in crate::sql) fn type_name(schema: &str, name: &str) -> TypeName {
    TypeName { names: vec![text(schema), text(name)], typemod: -1, location: NOWHERE, ..TypeName::default() }
}

pub(in crate::sql) fn cast(arg: Node, schema: &str, name: &str) -> Node {
    cast_to(arg, type_name(schema, name))
}

pub(in crate::sql) fn cast_to(arg: Node, ty: TypeName) -> Node {
    node(NodeEnum::TypeCast(Box::new(TypeCast {
        arg: Some(Box::new(arg)),
        type_name: Some(ty),
        location: NOWHERE,
    })))
}

/// The tenant's value, typed as the tenant column is.
pub(in crate::sql) fn tenant(ty: &Type) -> Node {
    let parameter = node(NodeEnum::ParamRef(ParamRef { number: TENANT_PARAMETER, location: NOWHERE }));
    cast(parameter, &ty.schema, &ty.name)
}

/// `left OPERATOR(pg_catalog.=) right`.
pub(in crate::sql) fn equals(left: Node, right: Node) -> Node {
    operator("=", left, right)
}

/// `left = right`, by the search path.
pub(in crate::sql) fn unqualified_equals(left: Node, right: Node) -> Node {
    let mut equality = equals(left, right);
    if let Some(NodeEnum::AExpr(expr)) = &mut equality.node {
        expr.name = vec![text("=")];
    }
    equality
}

/// `left OPERATOR(pg_catalog.name) right`.
pub(in crate::sql) fn operator(name: &str, left: Node, right: Node) -> Node {
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprOp as i32,
        name: vec![text("pg_catalog"), text(name)],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        location: NOWHERE,
        ..AExpr::default()
    })))
}

/// The conjunction of conditions; nested conjunctions are flattened, as PostgreSQL's grammar does, so that
/// the text parses back to the same tree.
pub(in crate::sql) fn and(conditions: Vec<Node>) -> Option<Node> {
    let mut flat = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match condition.node {
            Some(NodeEnum::BoolExpr(inner)) if inner.boolop == BoolExprType::AndExpr as i32 => {
                flat.extend(inner.args)
            }
            _ => flat.push(condition),
        }
    }
    match flat.len() {
        0 | 1 => flat.pop(),
        _ => Some(bool_expr(BoolExprType::AndExpr, flat)),
    }
}

pub(in crate::sql) fn or(conditions: Vec<Node>) -> Node {
    bool_expr(BoolExprType::OrExpr, conditions)
}

fn bool_expr(op: BoolExprType, args: Vec<Node>) -> Node {
    node(NodeEnum::BoolExpr(Box::new(BoolExpr { xpr: None, boolop: op as i32, args, location: NOWHERE })))
}

pub(in crate::sql) fn null_test(arg: Node, is_null: bool) -> Node {
    let test = if is_null { NullTestType::IsNull } else { NullTestType::IsNotNull };
    node(NodeEnum::NullTest(Box::new(NullTest {
        xpr: None,
        arg: Some(Box::new(arg)),
        nulltesttype: test as i32,
        argisrow: false,
        location: NOWHERE,
    })))
}

/// `arg IS DISTINCT FROM NULL`: PostgreSQL makes a null test of it that takes a composite value as one.
pub(in crate::sql) fn distinct_from_null(arg: Node) -> Node {
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprDistinct as i32,
        name: vec![text("=")],
        lexpr: Some(Box::new(arg)),
        rexpr: Some(Box::new(null())),
        location: NOWHERE,
        ..AExpr::default()
    })))
}

/// `CASE WHEN … THEN … … [ELSE …] END`.
pub(in crate::sql) fn case(whens: Vec<(Node, Node)>, default: Option<Node>) -> Node {
    let when = |(condition, result)| {
        node(NodeEnum::CaseWhen(Box::new(CaseWhen {
            xpr: None,
            expr: Some(Box::new(condition)),
            result: Some(Box::new(result)),
            location: NOWHERE,
        })))
    };
    node(NodeEnum::CaseExpr(Box::new(CaseExpr {
        args: whens.into_iter().map(when).collect(),
        defresult: default.map(Box::new),
        location: NOWHERE,
        ..CaseExpr::default()
    })))
}

/// A call of a function of `pg_catalog`.
pub(in crate::sql) fn call(name: &str, args: Vec<Node>) -> Node {
    node(NodeEnum::FuncCall(Box::new(FuncCall {
        funcname: vec![text("pg_catalog"), text(name)],
        args,
        funcformat: pg_query::protobuf::CoercionForm::CoerceExplicitCall as i32,
        location: NOWHERE,
        ..FuncCall::default()
    })))
}

/// `COALESCE(…)`.
pub(in crate::sql) fn coalesce(args: Vec<Node>) -> Node {
    let coalesce = CoalesceExpr { args, location: NOWHERE, ..CoalesceExpr::default() };
    node(NodeEnum::CoalesceExpr(Box::new(coalesce)))
}

/// `count(*)`.
pub(in crate::sql) fn count_star() -> Node {
    let mut call = call("count", Vec::new());
    if let Some(NodeEnum::FuncCall(call)) = &mut call.node {
        call.agg_star = true;
    }
    call
}

/// `EXISTS (SELECT 1 FROM … WHERE …)`.
pub(in crate::sql) fn exists(from: Node, condition: Node) -> Node {
    let select = select(vec![target(integer(1), "")], vec![from], Some(condition));
    sublink(SubLinkType::ExistsSublink, select)
}

/// A query of one value, as a value.
pub(in crate::sql) fn scalar(select: SelectStmt) -> Node {
    sublink(SubLinkType::ExprSublink, select)
}

fn sublink(kind: SubLinkType, select: SelectStmt) -> Node {
    node(NodeEnum::SubLink(Box::new(SubLink {
        sub_link_type: kind as i32,
        subselect: Some(boxed(NodeEnum::SelectStmt(Box::new(select)))),
        location: NOWHERE,
        ..SubLink::default()
    })))
}

pub(in crate::sql) fn select(
    target_list: Vec<Node>,
    from_clause: Vec<Node>,
    condition: Option<Node>,
) -> SelectStmt {
    SelectStmt {
        target_list,
        from_clause,
        where_clause: condition.map(Box::new),
        limit_option: LimitOption::Default as i32,
        op: SetOperation::SetopNone as i32,
        ..SelectStmt::default()
    }
}

pub(in crate::sql) fn target(value: Node, name: &str) -> Node {
    node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: name.to_owned(),
        indirection: Vec::new(),
        val: Some(Box::new(value)),
        location: NOWHERE,
    })))
}

/// A relation in FROM, by its full name.
pub(in crate::sql) fn relation(relation: &Relation, alias: Option<&str>) -> RangeVar {
    RangeVar {
        schemaname: relation.schema.clone(),
        relname: relation.name.clone(),
        inh: true,
        relpersistence: "p".to_owned(),
        alias: alias.map(|name| Alias { aliasname: name.to_owned(), colnames: Vec::new() }),
        location: NOWHERE,
        ..RangeVar::default()
    }
}

/// A derived table.
pub(in crate::sql) fn derived(select: SelectStmt, alias: Option<Alias>) -> Node {
    node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        lateral: false,
        subquery: Some(boxed(NodeEnum::SelectStmt(Box::new(select)))),
        alias,
    })))
}

/// `OFFSET 0`: the planner neither flattens the sub-select nor pushes a condition into it.
pub(in crate::sql) fn fence(select: &mut SelectStmt) {
    if select.limit_offset.is_none() {
        select.limit_offset = Some(Box::new(integer(0)));
        if select.limit_count.is_none() {
            select.limit_option = LimitOption::Count as i32;
        }
    }
}

/// The strings of a list of name parts; none where a part is no string.
pub(in crate::sql) fn names(list: &[Node]) -> Option<Vec<&str>> {
    list.iter()
        .map(|part| match &part.node {
            Some(NodeEnum::String(name)) => Some(name.sval.as_str()),
            _ => None,
        })
        .collect()
}

/// The conjuncts of a condition, in order.
pub(in crate::sql) fn conjuncts(condition: Node) -> Vec<Node> {
    match condition.node {
        Some(NodeEnum::BoolExpr(inner)) if inner.boolop == BoolExprType::AndExpr as i32 => {
            inner.args.into_iter().flat_map(conjuncts).collect()
        }
        _ => vec![condition],
    }
}

/// A join's condition as a place that conditions can be added to.
pub(in crate::sql) fn add_to_quals(join: &mut JoinExpr, conditions: Vec<Node>) {
    let mut all = conditions;
    all.extend(join.quals.take().map(|quals| *quals));
    join.quals = and(all).map(Box::new);
}
