//! From a parse tree's node to a typed expression.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AIndirection, BoolExpr, CaseExpr, ColumnRef, Node, SqlValueFunction, SqlValueFunctionOp,
    TypeCast, a_const,
};

use crate::catalog::{Oid, Operator, Snapshot};

use super::super::resolve::{
    CastPath, Context, Resolution, array_type, base_type, coercion, common_type, element_type, oid,
    resolve_operator,
};
use super::type_name::type_named;
use super::{ColumnInfo, Expr, ExprType};

/// Expressions deeper than this are not looked into.
const MAX_DEPTH: usize = 1_000;

/// What typing needs to know.
pub(super) struct Typer<'a> {
    pub catalog: &'a Snapshot,
    pub columns: &'a dyn Fn(&ColumnRef) -> Option<ColumnInfo>,
    pub params: &'a dyn Fn(i32) -> Option<Oid>,
}

impl Typer<'_> {
    /// Types a node; `depth` is how deep it lies.
    pub fn expression(&self, node: &Node, depth: usize) -> Expr {
        if depth > MAX_DEPTH {
            return Expr::Other("it is nested too deep");
        }
        let depth = depth.saturating_add(1);
        let Some(node) = node.node.as_ref() else { return Expr::Other("an empty node") };
        match node {
            NodeEnum::ColumnRef(column) => {
                (self.columns)(column).map_or(Expr::Other("a column that is not known"), Expr::Column)
            }
            NodeEnum::AConst(constant) => self.constant(constant),
            NodeEnum::ParamRef(param) => self.param(param.number),
            NodeEnum::SqlvalueFunction(function) => self.value_function(function),
            NodeEnum::TypeCast(cast) => self.cast(cast, depth),
            NodeEnum::AExpr(operation) => self.operation(operation, depth),
            NodeEnum::BoolExpr(logic) => self.logic(logic, depth),
            NodeEnum::FuncCall(call) => self.call(call, depth),
            NodeEnum::NullTest(test) => match self.child(test.arg.as_deref(), depth) {
                arg if test.argisrow || self.is_row_type(&arg) => Expr::Other("a whole row"),
                arg => Expr::NullTest(Box::new(arg)),
            },
            NodeEnum::BooleanTest(test) => {
                let arg = self.child(test.arg.as_deref(), depth);
                Expr::TruthTest(Box::new(self.coerced(arg, oid::BOOL)))
            }
            NodeEnum::CoalesceExpr(coalesce) => {
                self.common(&coalesce.args, depth, |arguments, ty| Expr::Coalesce { arguments, ty })
            }
            NodeEnum::MinMaxExpr(minmax) => {
                self.common(&minmax.args, depth, |arguments, ty| Expr::MinMax { arguments, ty })
            }
            NodeEnum::CaseExpr(case) => self.case(case, depth),
            NodeEnum::AArrayExpr(array) => self.array(&array.elements, None, depth),
            NodeEnum::AIndirection(indirection) => self.indirection(indirection, depth),
            NodeEnum::CollateClause(_) => Expr::Other("COLLATE"),
            NodeEnum::SubLink(_) => Expr::Other("a sub-select"),
            NodeEnum::RowExpr(_) => Expr::Other("a row"),
            _ => Expr::Other("a kind of expression without a rule"),
        }
    }

    pub fn child(&self, node: Option<&Node>, depth: usize) -> Expr {
        node.map_or(Expr::Other("an empty node"), |node| self.expression(node, depth))
    }

    pub fn children(&self, nodes: &[Node], depth: usize) -> Vec<Expr> {
        nodes.iter().map(|node| self.expression(node, depth)).collect()
    }

    /// make_const (parse_node.c): what type a bare literal has.
    fn constant(&self, constant: &AConst) -> Expr {
        let (ty, text) = match constant.val.as_ref() {
            _ if constant.isnull => (oid::UNKNOWN, None),
            None => return Expr::Other("a literal without a value"),
            Some(a_const::Val::Ival(i)) => (oid::INT4, Some(i.ival.to_string())),
            // Only later majors read 0x… and 1_000.
            Some(a_const::Val::Fval(f)) if f.fval.contains(|c: char| !"0123456789.eE+-".contains(c)) => {
                return Expr::Other("a number without a rule");
            }
            Some(a_const::Val::Fval(f)) => {
                let ty = match f.fval.parse::<i64>() {
                    // Only -2147483648 comes here as a Float.
                    Ok(value) if i32::try_from(value).is_ok() => oid::INT4,
                    Ok(_) => oid::INT8,
                    Err(_) => oid::NUMERIC,
                };
                (ty, Some(f.fval.clone()))
            }
            Some(a_const::Val::Boolval(b)) => (oid::BOOL, Some(b.boolval.to_string())),
            Some(a_const::Val::Sval(s)) => (oid::UNKNOWN, Some(s.sval.clone())),
            Some(a_const::Val::Bsval(b)) => (oid::BIT, Some(b.bsval.clone())),
        };
        Expr::Const { ty: ExprType::of(self.catalog, ty), text, location: constant.location }
    }

    fn param(&self, number: i32) -> Expr {
        match (self.params)(number) {
            Some(oid::ANY) => Expr::Other("a parameter whose type is not known"),
            ty => {
                let ty = ty.filter(|ty| *ty != 0).unwrap_or(oid::UNKNOWN);
                Expr::Param { number, ty: ExprType::of(self.catalog, ty) }
            }
        }
    }

    fn value_function(&self, function: &SqlValueFunction) -> Expr {
        use SqlValueFunctionOp as Op;
        let ty = match Op::try_from(function.op) {
            Ok(Op::SvfopCurrentDate) => oid::DATE,
            Ok(Op::SvfopCurrentTime | Op::SvfopCurrentTimeN) => oid::TIMETZ,
            Ok(Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN) => oid::TIMESTAMPTZ,
            Ok(Op::SvfopLocaltime | Op::SvfopLocaltimeN) => oid::TIME,
            Ok(Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN) => oid::TIMESTAMP,
            _ => return Expr::Other("a session's name"),
        };
        Expr::Now(ExprType::of(self.catalog, ty))
    }

    /// transformTypeCast (parse_expr.c).
    fn cast(&self, cast: &TypeCast, depth: usize) -> Expr {
        let target = cast.type_name.as_ref().and_then(|name| type_named(self.catalog, name));
        let Some((target, typmod)) = target else { return Expr::Other("a type without a rule") };
        let argument = match cast.arg.as_ref().and_then(|a| a.node.as_ref()) {
            Some(NodeEnum::AArrayExpr(array)) if element_type(self.catalog, target) != 0 => {
                self.array(&array.elements, Some(element_type(self.catalog, target)), depth)
            }
            _ => self.child(cast.arg.as_deref(), depth),
        };
        match self.coerced_as(argument, target, Context::Explicit) {
            expr if typmod < 0 => expr,
            // The modifier of a literal is applied when the statement is planned, at the latest.
            Expr::Const { ty, location, .. } => {
                Expr::Const { ty: ExprType { typmod, ..ty }, text: None, location }
            }
            expr => self.cut(expr, target, typmod),
        }
    }

    /// The length of an explicit cast to varchar(n), which cuts; other modifiers may raise.
    fn cut(&self, expr: Expr, target: Oid, typmod: i32) -> Expr {
        const CUT: Oid = 669;
        const HEADER: i32 = 4;
        if matches!(expr, Expr::Other(_)) || (expr.ty().oid == target && expr.ty().typmod == typmod) {
            return expr;
        }
        let function = self.catalog.function_by_oid(CUT).filter(|_| target == oid::VARCHAR);
        let (Some(function), Some(length)) = (function, typmod.checked_sub(HEADER)) else {
            return Expr::Other("a type modifier");
        };
        let constant = |ty: Oid, text: String| {
            let ty = ExprType::of(self.catalog, ty);
            Expr::Const { ty, text: Some(text), location: -1 }
        };
        let ty = ExprType::from_inputs(self.catalog, target, typmod, [&expr]);
        let arguments =
            vec![expr, constant(oid::INT4, length.to_string()), constant(oid::BOOL, "true".to_owned())];
        Expr::Call { function: function.clone(), arguments, ty }
    }

    /// A coercion in an expression.
    pub fn coerced(&self, expr: Expr, target: Oid) -> Expr {
        self.coerced_as(expr, target, Context::Implicit)
    }

    fn coerced_as(&self, expr: Expr, target: Oid, context: Context) -> Expr {
        if matches!(expr, Expr::Other(_)) {
            return expr;
        }
        match coercion(self.catalog, expr.ty().oid, target, context) {
            Some(path) => self.along(expr, target, path),
            None => Expr::Other("a cast that does not exist"),
        }
    }

    /// coerce_type (parse_coerce.c) along a path that was found.
    pub fn along(&self, expr: Expr, target: Oid, path: CastPath) -> Expr {
        let is_domain = base_type(self.catalog, target) != target;
        match (expr, path) {
            (expr @ Expr::Other(_), _) | (expr, CastPath::Identity) => expr,
            _ if is_domain => Expr::Other("a cast to a domain"),
            (Expr::Const { text, location, .. }, CastPath::Literal) => {
                Expr::Const { ty: ExprType::of(self.catalog, target), text, location }
            }
            (Expr::Param { number, .. }, CastPath::Literal) => {
                Expr::Param { number, ty: ExprType::of(self.catalog, target) }
            }
            (_, CastPath::Literal) => Expr::Other("an untyped expression"),
            (expr, path) => {
                let ty = ExprType::from_inputs(self.catalog, target, -1, [&expr]);
                Expr::Cast { argument: Box::new(expr), path, ty }
            }
        }
    }

    fn logic(&self, logic: &BoolExpr, depth: usize) -> Expr {
        let arguments = self.children(&logic.args, depth);
        Expr::Logic(arguments.into_iter().map(|a| self.coerced(a, oid::BOOL)).collect())
    }

    /// Expressions of one common type.
    fn common(&self, nodes: &[Node], depth: usize, make: impl FnOnce(Vec<Expr>, ExprType) -> Expr) -> Expr {
        match self.unified(self.children(nodes, depth)) {
            Ok((arguments, ty)) => make(arguments, ty),
            Err(other) => other,
        }
    }

    /// Expressions coerced to their common type, and that type with the collation of all of them.
    fn unified(&self, expressions: Vec<Expr>) -> Result<(Vec<Expr>, ExprType), Expr> {
        if let Some(other) = expressions.iter().find(|e| matches!(e, Expr::Other(_))) {
            return Err(other.clone());
        }
        let types: Vec<Oid> = expressions.iter().map(|e| e.ty().oid).collect();
        let common = common_type(self.catalog, &types).ok_or(Expr::Other("types that do not match"))?;
        let coerced: Vec<Expr> = expressions.into_iter().map(|e| self.coerced(e, common)).collect();
        let ty = ExprType::from_inputs(self.catalog, common, -1, &coerced);
        Ok((coerced, ty))
    }

    /// transformCaseExpr: the type of ELSE comes first.
    fn case(&self, case: &CaseExpr, depth: usize) -> Expr {
        let tested = case.arg.as_deref().map(|arg| match self.expression(arg, depth) {
            // An untyped literal is text by then.
            arg if arg.ty().oid == oid::UNKNOWN => self.coerced(arg, oid::TEXT),
            arg => arg,
        });
        let mut conditions = Vec::new();
        let mut results = vec![match case.defresult.as_deref() {
            Some(node) => self.expression(node, depth),
            None => Expr::Const { ty: ExprType::of(self.catalog, oid::UNKNOWN), text: None, location: -1 },
        }];
        for arm in &case.args {
            let Some(NodeEnum::CaseWhen(arm)) = arm.node.as_ref() else {
                return Expr::Other("an empty node");
            };
            let condition = self.child(arm.expr.as_deref(), depth);
            conditions.push(match tested.clone() {
                Some(tested) => self.binary(None, "=", tested, condition),
                None => self.coerced(condition, oid::BOOL),
            });
            results.push(self.child(arm.result.as_deref(), depth));
        }
        match self.unified(results) {
            Ok((results, ty)) => Expr::Case { conditions, results, ty },
            Err(other) => other,
        }
    }

    /// transformArrayExpr, of one dimension. `wanted` is the element type of a cast around it.
    pub fn array(&self, nodes: &[Node], wanted: Option<Oid>, depth: usize) -> Expr {
        let elements = self.children(nodes, depth);
        let (elements, ty) = match wanted {
            Some(element) => {
                let cast = |e| self.coerced_as(e, element, Context::Explicit);
                let elements: Vec<Expr> = elements.into_iter().map(cast).collect();
                (elements, element)
            }
            None => match self.unified(elements) {
                Ok((elements, ty)) => (elements, ty.oid),
                Err(other) => return other,
            },
        };
        let array = array_type(self.catalog, ty);
        if array == 0 || element_type(self.catalog, ty) != 0 {
            return Expr::Other("an array of more dimensions");
        }
        if let Some(other) = elements.iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        let ty = ExprType::from_inputs(self.catalog, array, -1, &elements);
        Expr::Array { elements, ty }
    }

    /// Subscripts of a true array or of jsonb (transformContainerSubscripts).
    fn indirection(&self, indirection: &AIndirection, depth: usize) -> Expr {
        let container = self.child(indirection.arg.as_deref(), depth);
        let of = base_type(self.catalog, container.ty().oid);
        let element = element_type(self.catalog, of);
        if of != oid::JSONB && (element == 0 || of == oid::OIDVECTOR || of == oid::INT2VECTOR) {
            return Expr::Other("a field or a subscript without a rule");
        }
        let mut subscripts = Vec::new();
        let mut slice = false;
        for step in &indirection.indirection {
            let Some(NodeEnum::AIndices(indices)) = step.node.as_ref() else {
                return Expr::Other("a field of a row");
            };
            slice |= indices.is_slice;
            for bound in [&indices.lidx, &indices.uidx].into_iter().flatten() {
                subscripts.push(self.subscript(bound, of == oid::JSONB, depth));
            }
        }
        let result = if of == oid::JSONB || slice { of } else { element };
        let ty = ExprType::from_inputs(self.catalog, result, -1, [&container]);
        Expr::Subscript { container: Box::new(container), subscripts, ty }
    }

    fn subscript(&self, node: &Node, of_jsonb: bool, depth: usize) -> Expr {
        match self.expression(node, depth) {
            index if !of_jsonb => self.coerced(index, oid::INT4),
            key if matches!(key.ty().oid, oid::INT4 | oid::TEXT) => key,
            key if key.ty().oid == oid::UNKNOWN => self.coerced(key, oid::TEXT),
            _ => Expr::Other("a subscript without a rule"),
        }
    }

    /// `left name right` with coerced arguments.
    pub fn binary(&self, schema: Option<&str>, name: &str, left: Expr, right: Expr) -> Expr {
        if let Some(other) = [&left, &right].into_iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        let found = resolve_operator(self.catalog, schema, name, Some(left.ty().oid), right.ty().oid);
        let Resolution::Found(found) = found else { return Expr::Other("an operator that is not found") };
        let left = self.along(left, found.left, found.left_cast);
        let right = self.along(right, found.right, found.right_cast);
        self.operated(found.operator, vec![left, right], found.result)
    }

    pub fn operated(&self, operator: Arc<Operator>, arguments: Vec<Expr>, result: Oid) -> Expr {
        if let Some(other) = arguments.iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        let ty = ExprType::from_inputs(self.catalog, result, -1, &arguments);
        Expr::Op { operator, arguments, ty }
    }

    pub fn is_row_type(&self, expr: &Expr) -> bool {
        let of = base_type(self.catalog, expr.ty().oid);
        of == oid::RECORD || self.catalog.type_by_oid(of).is_some_and(|ty| ty.kind == 'c')
    }
}
