//! Operations: operators, IN, ANY, LIKE, BETWEEN, IS DISTINCT FROM, NULLIF and comparisons of rows.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node};

use super::super::resolve::{
    Resolution, array_type, common_type, common_type_works, oid, resolve_operator, resolve_scalar_array,
};
use super::build::Typer;
use super::type_name::string;
use super::{Expr, ExprType};

impl Typer<'_> {
    /// The A_Expr cases of transformExprRecurse (parse_expr.c).
    pub(super) fn operation(&self, operation: &AExpr, depth: usize) -> Expr {
        let Some((schema, name)) = operator_name(&operation.name) else {
            return Expr::Other("an operator's name without a rule");
        };
        use AExprKind as Kind;
        let both = || (operation.lexpr.as_deref(), operation.rexpr.as_deref());
        match Kind::try_from(operation.kind) {
            Ok(Kind::AexprOp) => match both() {
                (Some(left), Some(right)) => self.compared(schema, name, left, right, depth),
                (None, Some(right)) => self.prefixed(schema, name, right, depth),
                _ => Expr::Other("an operator without arguments"),
            },
            Ok(Kind::AexprLike | Kind::AexprIlike) => match both() {
                (Some(left), Some(right)) => {
                    self.binary(schema, name, self.expression(left, depth), self.expression(right, depth))
                }
                _ => Expr::Other("an operator without arguments"),
            },
            Ok(Kind::AexprDistinct | Kind::AexprNotDistinct) => self.distinct(schema, name, both(), depth),
            Ok(Kind::AexprNullif) => self.nullif(schema, name, both(), depth),
            Ok(Kind::AexprIn) => self.in_list(schema, name, both(), depth),
            Ok(Kind::AexprOpAny | Kind::AexprOpAll) => {
                let (left, right) = both();
                self.over_array(schema, name, self.child(left, depth), self.child(right, depth))
            }
            Ok(Kind::AexprBetween) => self.between(&[(">=", 0), ("<=", 1)], both(), depth),
            Ok(Kind::AexprNotBetween) => self.between(&[("<", 0), (">", 1)], both(), depth),
            Ok(Kind::AexprBetweenSym) => {
                self.between(&[(">=", 0), ("<=", 1), (">=", 1), ("<=", 0)], both(), depth)
            }
            Ok(Kind::AexprNotBetweenSym) => {
                self.between(&[("<", 0), (">", 1), ("<", 1), (">", 0)], both(), depth)
            }
            Ok(Kind::AexprSimilar) => Expr::Other("SIMILAR TO"),
            Ok(Kind::Undefined) | Err(_) => Expr::Other("an operation without a rule"),
        }
    }

    fn prefixed(&self, schema: Option<&str>, name: &str, right: &Node, depth: usize) -> Expr {
        let right = self.expression(right, depth);
        if matches!(right, Expr::Other(_)) {
            return right;
        }
        let found = resolve_operator(self.catalog, schema, name, None, right.ty().oid);
        let Resolution::Found(found) = found else { return Expr::Other("an operator that is not found") };
        let right = self.along(right, found.right, found.right_cast);
        self.operated(found.operator, vec![right], found.result)
    }

    fn compared(&self, schema: Option<&str>, name: &str, left: &Node, right: &Node, depth: usize) -> Expr {
        match (row(left), row(right)) {
            (Some(lefts), Some(rights)) => self.rows(schema, name, lefts, rights, depth),
            (None, None) => {
                self.binary(schema, name, self.expression(left, depth), self.expression(right, depth))
            }
            _ => Expr::Other("a row"),
        }
    }

    /// make_row_comparison_op.
    fn rows(&self, schema: Option<&str>, name: &str, lefts: &[Node], rights: &[Node], depth: usize) -> Expr {
        if lefts.len() != rights.len() || lefts.is_empty() {
            return Expr::Other("rows of different lengths");
        }
        let pair = |(left, right): (&Node, &Node)| {
            self.binary(schema, name, self.expression(left, depth), self.expression(right, depth))
        };
        Expr::Pairs(lefts.iter().zip(rights).map(pair).collect())
    }

    /// IS [NOT] DISTINCT FROM; beside a bare NULL it is a test for NULL (transformAExprDistinct).
    fn distinct(
        &self,
        schema: Option<&str>,
        name: &str,
        (left, right): (Option<&Node>, Option<&Node>),
        depth: usize,
    ) -> Expr {
        let (Some(left), Some(right)) = (left, right) else {
            return Expr::Other("an operator without arguments");
        };
        if is_row(left) || is_row(right) {
            return Expr::Other("a row");
        }
        let (left_expr, right_expr) = (self.expression(left, depth), self.expression(right, depth));
        let tested = match (is_null(left), is_null(right)) {
            (_, true) => left_expr,
            (true, _) => right_expr,
            _ => return self.binary(schema, name, left_expr, right_expr),
        };
        if self.is_row_type(&tested) { Expr::Other("a whole row") } else { Expr::NullTest(Box::new(tested)) }
    }

    /// NULLIF gives its first argument or NULL.
    fn nullif(
        &self,
        schema: Option<&str>,
        name: &str,
        (left, right): (Option<&Node>, Option<&Node>),
        depth: usize,
    ) -> Expr {
        let (left, right) = (self.child(left, depth), self.child(right, depth));
        match self.binary(schema, name, left, right) {
            Expr::Op { operator, arguments, .. } => match arguments.first().cloned() {
                Some(first) => {
                    let ty = first.ty();
                    let condition =
                        Expr::Op { operator, arguments, ty: ExprType::of(self.catalog, oid::BOOL) };
                    Expr::Case { conditions: vec![condition], results: vec![first], ty }
                }
                None => Expr::Other("an operator without arguments"),
            },
            other => other,
        }
    }

    /// transformAExprIn: several items without columns become an array when they have a common type.
    fn in_list(
        &self,
        schema: Option<&str>,
        name: &str,
        (left, right): (Option<&Node>, Option<&Node>),
        depth: usize,
    ) -> Expr {
        let Some(NodeEnum::List(list)) = right.and_then(|r| r.node.as_ref()) else {
            return Expr::Other("IN without a list");
        };
        let Some(left_node) = left else { return Expr::Other("an operator without arguments") };
        if let Some(lefts) = row(left_node) {
            let each = |item: &Node| match row(item) {
                Some(rights) => self.rows(schema, name, lefts, rights, depth),
                None => Expr::Other("a row"),
            };
            return Expr::Logic(list.items.iter().map(each).collect());
        }
        let left = self.expression(left_node, depth);
        if matches!(left, Expr::Other(_)) || list.items.iter().any(is_row) {
            return Expr::Other("a list with an item without a rule");
        }
        let items = self.children(&list.items, depth);
        if let Some(other) = items.iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        let (constant, varying): (Vec<Expr>, Vec<Expr>) = items.into_iter().partition(|e| !has_column(e));
        if list.items.len() > 1 && is_untyped_parameter(&left) {
            return Expr::Other(TYPED_BY_ITS_FIRST_PLACE);
        }
        let mut comparisons = Vec::new();
        let one_by_one = match self.gathered(&left, constant) {
            Ok(array) => {
                comparisons.push(self.over_array(schema, name, left.clone(), array));
                varying
            }
            Err(constant) => constant.into_iter().chain(varying).collect(),
        };
        for item in one_by_one {
            comparisons.push(self.binary(schema, name, left.clone(), item));
        }
        if comparisons.len() == 1 { comparisons.remove(0) } else { Expr::Logic(comparisons) }
    }

    /// The array that the items of IN become, or the items again.
    fn gathered(&self, left: &Expr, items: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
        if items.len() < 2 {
            return Err(items);
        }
        let types: Vec<_> = std::iter::once(left).chain(&items).map(|e| e.ty().oid).collect();
        let scalar = common_type(self.catalog, &types)
            .filter(|t| *t != oid::RECORD && common_type_works(self.catalog, *t, &types));
        let array = scalar.map_or(0, |t| array_type(self.catalog, t));
        let (Some(scalar), true) = (scalar, array != 0) else { return Err(items) };
        let elements: Vec<Expr> = items.into_iter().map(|e| self.coerced(e, scalar)).collect();
        let ty = ExprType::from_inputs(self.catalog, array, -1, &elements);
        Ok(Expr::Array { elements, ty })
    }

    fn over_array(&self, schema: Option<&str>, name: &str, left: Expr, array: Expr) -> Expr {
        if let Some(other) = [&left, &array].into_iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        let found = resolve_scalar_array(self.catalog, schema, name, left.ty().oid, array.ty().oid);
        let Resolution::Found(found) = found else { return Expr::Other("an operator that is not found") };
        let left = self.along(left, found.left, found.left_cast);
        let array = self.along(array, found.right, found.right_cast);
        if let Some(other) = [&left, &array].into_iter().find(|e| matches!(e, Expr::Other(_))) {
            return other.clone();
        }
        Expr::ScalarArray { operator: found.operator, left: Box::new(left), array: Box::new(array) }
    }

    /// BETWEEN as the comparisons that it stands for (transformAExprBetween): an operator and which bound.
    fn between(
        &self,
        comparisons: &[(&str, usize)],
        (left, right): (Option<&Node>, Option<&Node>),
        depth: usize,
    ) -> Expr {
        let bounds = match right.and_then(|r| r.node.as_ref()) {
            Some(NodeEnum::List(list)) if list.items.len() == 2 => &*list.items,
            _ => return Expr::Other("BETWEEN without bounds"),
        };
        if left.is_none_or(is_row) || bounds.iter().any(is_row) {
            return Expr::Other("a row");
        }
        let bound_twice = |at: usize| comparisons.iter().filter(|(_, bound)| *bound == at).count() > 1;
        let untyped = |node: Option<&Node>| is_untyped_parameter(&self.child(node, depth));
        if untyped(left) || (0..2).any(|at| bound_twice(at) && untyped(bounds.get(at))) {
            return Expr::Other(TYPED_BY_ITS_FIRST_PLACE);
        }
        let compare = |(name, bound): &(&str, usize)| {
            self.binary(None, name, self.child(left, depth), self.child(bounds.get(*bound), depth))
        };
        Expr::Logic(comparisons.iter().map(compare).collect())
    }
}

/// An untyped parameter that is compared more than once has the type of the first comparison in the others.
const TYPED_BY_ITS_FIRST_PLACE: &str = "an untyped parameter that is compared more than once";

fn is_untyped_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Param { ty, .. } if ty.oid == oid::UNKNOWN)
}

/// Schema and name of an operator.
fn operator_name(names: &[Node]) -> Option<(Option<&str>, &str)> {
    match names {
        [name] => Some((None, string(name)?)),
        [schema, name] => Some((Some(string(schema)?), string(name)?)),
        _ => None,
    }
}

fn row(node: &Node) -> Option<&[Node]> {
    match node.node.as_ref()? {
        NodeEnum::RowExpr(row) => Some(&row.args),
        _ => None,
    }
}

fn is_null(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::AConst(constant)) if constant.isnull)
}

fn is_row(node: &Node) -> bool {
    row(node).is_some()
}

/// Whether an expression reads a column of the level that it stands in (contain_vars_of_level).
pub(super) fn has_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => !column.outer,
        Expr::Other(_) => true,
        Expr::Const { .. } | Expr::Param { .. } | Expr::Now(_) => false,
        Expr::Op { arguments, .. }
        | Expr::Call { arguments, .. }
        | Expr::Array { elements: arguments, .. }
        | Expr::Coalesce { arguments, .. }
        | Expr::MinMax { arguments, .. }
        | Expr::Logic(arguments)
        | Expr::Pairs(arguments) => arguments.iter().any(has_column),
        Expr::Cast { argument, .. } | Expr::NullTest(argument) | Expr::TruthTest(argument) => {
            has_column(argument)
        }
        Expr::ScalarArray { left, array, .. } => has_column(left) || has_column(array),
        Expr::Case { conditions, results, .. } => conditions.iter().chain(results).any(has_column),
        Expr::Subscript { container, subscripts, .. } => {
            has_column(container) || subscripts.iter().any(has_column)
        }
    }
}
