//! How tightly the grammar binds what an expression is printed as, and so where parentheses are needed.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, BoolExprType, CoercionForm, FuncCall, Node, SubLinkType};

use super::name::text_of;

/// Precedence of the rules of `a_expr` in gram.y, the loosest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    Or,
    And,
    Not,
    Is,
    Comparison,
    /// BETWEEN, IN, LIKE, ILIKE, SIMILAR TO.
    Between,
    /// Every operator that is not named here, and each that is written `OPERATOR(…)`.
    Operator,
    Add,
    Multiply,
    Power,
    AtTimeZone,
    Collate,
    Sign,
    /// What cannot be split apart.
    Atom,
}

/// On which side of an operator an operand stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The precedence of a binary operator.
pub(super) fn of_operator(name: &[Node]) -> Precedence {
    let [only] = name else { return Precedence::Operator };
    match text_of(only).unwrap_or_default() {
        "+" | "-" => Precedence::Add,
        "*" | "/" | "%" => Precedence::Multiply,
        "^" => Precedence::Power,
        "<" | ">" | "=" | "<=" | ">=" | "<>" | "!=" => Precedence::Comparison,
        _ => Precedence::Operator,
    }
}

/// The precedence of an operator before ANY, SOME or ALL.
pub(super) fn of_quantified(name: &[Node]) -> Precedence {
    match name {
        [only] if matches!(text_of(only), Some("~~" | "!~~" | "~~*" | "!~~*")) => Precedence::Between,
        _ => of_operator(name),
    }
}

/// The precedence of what a node is printed as.
pub(super) fn of(node: &Node) -> Precedence {
    match &node.node {
        Some(NodeEnum::AExpr(expr)) => match expr.kind() {
            AExprKind::AexprOp => match (&expr.lexpr, of_operator(&expr.name)) {
                (None, Precedence::Add) => Precedence::Sign,
                (None, _) => Precedence::Operator,
                (Some(_), precedence) => precedence,
            },
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                of_quantified(&expr.name).min(Precedence::Operator)
            }
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => Precedence::Is,
            AExprKind::AexprNullif => Precedence::Atom,
            _ => Precedence::Between,
        },
        Some(NodeEnum::BoolExpr(expr)) => match expr.boolop() {
            BoolExprType::AndExpr => Precedence::And,
            BoolExprType::NotExpr => Precedence::Not,
            _ => Precedence::Or,
        },
        Some(NodeEnum::NullTest(_) | NodeEnum::BooleanTest(_)) => Precedence::Is,
        Some(NodeEnum::CollateClause(_)) => Precedence::Collate,
        Some(NodeEnum::SubLink(link)) => match link.sub_link_type() {
            SubLinkType::AnySublink if link.oper_name.is_empty() => Precedence::Between,
            SubLinkType::AnySublink | SubLinkType::AllSublink => {
                of_quantified(&link.oper_name).min(Precedence::Operator)
            }
            _ => Precedence::Atom,
        },
        Some(NodeEnum::FuncCall(call)) if is_syntax(call, "timezone") => Precedence::AtTimeZone,
        Some(NodeEnum::FuncCall(call)) if is_syntax(call, "is_normalized") => Precedence::Is,
        _ => Precedence::Atom,
    }
}

/// Whether a call is printed by a syntax of its own.
pub(super) fn is_syntax(call: &FuncCall, name: &str) -> bool {
    call.funcformat() == CoercionForm::CoerceSqlSyntax
        && matches!(call.funcname.as_slice(), [schema, function]
            if text_of(schema) == Some("pg_catalog") && text_of(function) == Some(name))
}

/// Whether an operand of a rule of precedence `parent` needs parentheses.
pub(super) fn needs_parentheses(operand: &Node, parent: Precedence, side: Side) -> bool {
    let own = of(operand);
    if own != parent {
        return own < parent;
    }
    match parent {
        _ if side == Side::Left && is_comparison_with_many(operand) => false,
        Precedence::Is | Precedence::Comparison | Precedence::Between => true,
        Precedence::Not | Precedence::Sign => false,
        _ => side == Side::Right,
    }
}

/// `x = ANY (…)`, `x IN (…)`.
fn is_comparison_with_many(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AExpr(expr)) => {
            matches!(expr.kind(), AExprKind::AexprOpAny | AExprKind::AexprOpAll | AExprKind::AexprIn)
        }
        Some(NodeEnum::SubLink(link)) => {
            matches!(link.sub_link_type(), SubLinkType::AnySublink | SubLinkType::AllSublink)
        }
        _ => false,
    }
}

/// Whether a node is none of the grammar's `b_expr`, and so needs parentheses where only they may stand.
pub(super) fn is_no_b_expr(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AExpr(expr)) => !matches!(
            expr.kind(),
            AExprKind::AexprOp
                | AExprKind::AexprDistinct
                | AExprKind::AexprNotDistinct
                | AExprKind::AexprNullif
        ),
        _ => of(node) != Precedence::Atom,
    }
}

/// Whether a node is none of the grammar's `c_expr`.
pub(super) fn is_no_c_expr(node: &Node) -> bool {
    of(node) != Precedence::Atom || is_no_b_expr(node)
}
