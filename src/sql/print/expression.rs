//! Expressions.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, AIndirection, BoolExpr, BoolExprType, BoolTestType, BooleanTest, CaseExpr,
    CaseWhen, CoalesceExpr, CoercionForm, CollateClause, MinMaxExpr, MinMaxOp, Node, NullTest, NullTestType,
    RowExpr, SubLink, SubLinkType, TypeCast, a_const::Val,
};

use super::Printer;
use super::name::text_of;
use super::precedence::{self, Precedence, Side};

/// The rule of the grammar that an expression stands under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `a_expr`.
    A,
    /// `b_expr`: what may stand before the AND of a BETWEEN.
    B,
}

impl Printer {
    pub(super) fn expressions(&mut self, list: &[Node]) -> Option<()> {
        self.list(list, |printer, expression| printer.expression(expression, Rule::A))
    }

    pub(super) fn expression(&mut self, node: &Node, rule: Rule) -> Option<()> {
        self.deeper(|printer| printer.kind(node, rule))
    }

    fn kind(&mut self, node: &Node, rule: Rule) -> Option<()> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(column) => match column.fields.split_first()? {
                (Node { node: Some(NodeEnum::AStar(_)) }, []) => self.put("*"),
                (first, rest) => {
                    self.name_of(first)?;
                    self.indirection(rest)?;
                }
            },
            NodeEnum::AConst(constant) => self.constant(constant)?,
            NodeEnum::ParamRef(parameter) if parameter.number > 0 => {
                self.put("$");
                self.number(parameter.number);
            }
            NodeEnum::AExpr(expr) => self.operation(expr, rule)?,
            NodeEnum::BoolExpr(expr) => self.connective(expr)?,
            NodeEnum::FuncCall(call) => self.call(call)?,
            NodeEnum::TypeCast(cast) => self.cast(cast)?,
            NodeEnum::SubLink(link) => self.sublink(link)?,
            NodeEnum::NullTest(test) => self.null_test(test)?,
            NodeEnum::BooleanTest(test) => self.boolean_test(test)?,
            NodeEnum::CaseExpr(case) => self.case(case)?,
            NodeEnum::CoalesceExpr(coalesce) => {
                let CoalesceExpr { xpr: _, coalescetype: _, coalescecollid: _, args, location: _ } =
                    &**coalesce;
                self.function("COALESCE(", args)?;
            }
            NodeEnum::MinMaxExpr(expr) => {
                let MinMaxExpr {
                    xpr: _,
                    minmaxtype: _,
                    minmaxcollid: _,
                    inputcollid: _,
                    op: _,
                    args,
                    location: _,
                } = &**expr;
                let name = match expr.op() {
                    MinMaxOp::IsGreatest => "GREATEST(",
                    MinMaxOp::IsLeast => "LEAST(",
                    MinMaxOp::Undefined => return None,
                };
                self.function(name, args)?;
            }
            NodeEnum::RowExpr(row) => {
                let RowExpr { xpr: _, args, row_typeid: _, row_format: _, colnames: _, location: _ } = &**row;
                let name = match row.row_format() {
                    CoercionForm::CoerceExplicitCall => "ROW(",
                    CoercionForm::CoerceImplicitCast => "(",
                    _ => return None,
                };
                self.function(name, args)?;
            }
            NodeEnum::AArrayExpr(array) => {
                self.put("ARRAY[");
                self.expressions(&array.elements)?;
                self.put("]");
            }
            NodeEnum::AIndirection(indirection) => self.subscripted(indirection)?,
            NodeEnum::CollateClause(collate) => {
                let CollateClause { arg, collname, location: _ } = &**collate;
                self.operand(arg.as_deref()?, Precedence::Collate, Side::Left, Rule::A)?;
                self.put(" COLLATE ");
                self.qualified(collname)?;
            }
            NodeEnum::SqlvalueFunction(value) => self.value_function(value)?,
            NodeEnum::SetToDefault(_) => self.put("DEFAULT"),
            _ => return None,
        }
        Some(())
    }

    fn function(&mut self, name: &str, arguments: &[Node]) -> Option<()> {
        self.put(name);
        self.expressions(arguments)?;
        self.put(")");
        Some(())
    }

    fn parenthesised(&mut self, node: &Node, parentheses: bool, rule: Rule) -> Option<()> {
        if !parentheses {
            return self.expression(node, rule);
        }
        self.put("(");
        self.expression(node, Rule::A)?;
        self.put(")");
        Some(())
    }

    /// An operand of a rule of precedence `parent`.
    fn operand(&mut self, node: &Node, parent: Precedence, side: Side, rule: Rule) -> Option<()> {
        let parentheses = precedence::needs_parentheses(node, parent, side)
            || (rule == Rule::B && precedence::is_no_b_expr(node));
        self.parenthesised(node, parentheses, rule)
    }

    fn operation(&mut self, expr: &AExpr, rule: Rule) -> Option<()> {
        let AExpr { kind: _, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location: _ } = expr;
        let right = rexpr.as_deref()?;
        let parent = match expr.kind() {
            AExprKind::AexprOp if lexpr.is_none() && precedence::of_operator(name) == Precedence::Add => {
                Precedence::Sign
            }
            AExprKind::AexprOp if lexpr.is_none() => Precedence::Operator,
            AExprKind::AexprOp => precedence::of_operator(name),
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => precedence::of_quantified(name),
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => Precedence::Is,
            AExprKind::AexprNullif => {
                self.put("NULLIF(");
                self.expression(lexpr.as_deref()?, rule)?;
                self.put(", ");
                self.expression(right, rule)?;
                self.put(")");
                return Some(());
            }
            _ => Precedence::Between,
        };
        if let Some(left) = lexpr {
            self.operand(left, parent, Side::Left, rule)?;
            self.put(" ");
        }
        let word = |words: [(&str, &'static str); 2]| match name.as_slice() {
            [only] => words.iter().find(|(name, _)| text_of(only) == Some(*name)).map(|(_, word)| *word),
            _ => None,
        };
        match expr.kind() {
            AExprKind::AexprOp => {
                self.operator(name)?;
                self.put(" ");
            }
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                self.quantifier(name)?;
                self.put(if expr.kind() == AExprKind::AexprOpAny { " ANY(" } else { " ALL(" });
                self.expression(right, Rule::A)?;
                self.put(")");
                return Some(());
            }
            AExprKind::AexprDistinct => self.put("IS DISTINCT FROM "),
            AExprKind::AexprNotDistinct => self.put("IS NOT DISTINCT FROM "),
            AExprKind::AexprIn => {
                self.put(word([("=", "IN ("), ("<>", "NOT IN (")])?);
                let NodeEnum::List(list) = right.node.as_ref()? else { return None };
                self.expressions(&list.items)?;
                self.put(")");
                return Some(());
            }
            AExprKind::AexprLike => self.put(word([("~~", "LIKE "), ("!~~", "NOT LIKE ")])?),
            AExprKind::AexprIlike => self.put(word([("~~*", "ILIKE "), ("!~~*", "NOT ILIKE ")])?),
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {
                let ([name], NodeEnum::List(bounds)) = (name.as_slice(), right.node.as_ref()?) else {
                    return None;
                };
                let [low, high] = bounds.items.as_slice() else { return None };
                self.put(text_of(name)?);
                self.put(" ");
                self.operand(low, parent, Side::Right, Rule::B)?;
                self.put(" AND ");
                return self.operand(high, parent, Side::Right, rule);
            }
            AExprKind::AexprSimilar | AExprKind::AexprNullif | AExprKind::Undefined => return None,
        }
        self.operand(right, parent, Side::Right, rule)
    }

    /// The operator before ANY, SOME or ALL.
    fn quantifier(&mut self, name: &[Node]) -> Option<()> {
        let word = match name {
            [only] => match text_of(only)? {
                "~~" => "LIKE",
                "!~~" => "NOT LIKE",
                "~~*" => "ILIKE",
                "!~~*" => "NOT ILIKE",
                _ => return self.operator(name),
            },
            _ => return self.operator(name),
        };
        self.put(word);
        Some(())
    }

    fn connective(&mut self, expr: &BoolExpr) -> Option<()> {
        let BoolExpr { xpr: _, boolop: _, args, location: _ } = expr;
        let between = match expr.boolop() {
            BoolExprType::AndExpr => " AND ",
            BoolExprType::OrExpr => " OR ",
            BoolExprType::NotExpr => "NOT ",
            BoolExprType::Undefined => return None,
        };
        for (place, arg) in args.iter().enumerate() {
            if place > 0 || expr.boolop() == BoolExprType::NotExpr {
                self.put(between);
            }
            let parentheses = matches!(precedence::of(arg), Precedence::And | Precedence::Or);
            self.parenthesised(arg, parentheses, Rule::A)?;
        }
        Some(())
    }

    fn sublink(&mut self, link: &SubLink) -> Option<()> {
        let SubLink { xpr: _, sub_link_type: _, sub_link_id: _, testexpr, oper_name, subselect, location: _ } =
            link;
        match link.sub_link_type() {
            SubLinkType::ExistsSublink => self.put("EXISTS "),
            SubLinkType::ExprSublink => {}
            SubLinkType::ArraySublink => self.put("ARRAY"),
            SubLinkType::AnySublink if oper_name.is_empty() => {
                self.operand(testexpr.as_deref()?, Precedence::Between, Side::Left, Rule::A)?;
                self.put(" IN ");
            }
            kind @ (SubLinkType::AnySublink | SubLinkType::AllSublink) => {
                let parent = precedence::of_quantified(oper_name);
                self.operand(testexpr.as_deref()?, parent, Side::Left, Rule::A)?;
                self.put(" ");
                self.quantifier(oper_name)?;
                self.put(if kind == SubLinkType::AnySublink { " ANY " } else { " ALL " });
            }
            _ => return None,
        }
        self.subselect(subselect.as_deref())
    }

    fn null_test(&mut self, test: &NullTest) -> Option<()> {
        let NullTest { xpr: _, arg, nulltesttype: _, argisrow: false, location: _ } = test else {
            return None;
        };
        self.operand(arg.as_deref()?, Precedence::Is, Side::Left, Rule::A)?;
        self.put(match test.nulltesttype() {
            NullTestType::IsNull => " IS NULL",
            NullTestType::IsNotNull => " IS NOT NULL",
            NullTestType::Undefined => return None,
        });
        Some(())
    }

    fn boolean_test(&mut self, test: &BooleanTest) -> Option<()> {
        let BooleanTest { xpr: _, arg, booltesttype: _, location: _ } = test;
        self.operand(arg.as_deref()?, Precedence::Is, Side::Left, Rule::A)?;
        self.put(match test.booltesttype() {
            BoolTestType::IsTrue => " IS TRUE",
            BoolTestType::IsNotTrue => " IS NOT TRUE",
            BoolTestType::IsFalse => " IS FALSE",
            BoolTestType::IsNotFalse => " IS NOT FALSE",
            BoolTestType::IsUnknown => " IS UNKNOWN",
            BoolTestType::IsNotUnknown => " IS NOT UNKNOWN",
            BoolTestType::Undefined => return None,
        });
        Some(())
    }

    fn case(&mut self, case: &CaseExpr) -> Option<()> {
        let CaseExpr { xpr: _, casetype: _, casecollid: _, arg, args, defresult, location: _ } = case;
        self.put("CASE");
        if let Some(arg) = arg {
            self.put(" ");
            self.expression(arg, Rule::A)?;
        }
        for when in args {
            let NodeEnum::CaseWhen(when) = when.node.as_ref()? else { return None };
            let CaseWhen { xpr: _, expr, result, location: _ } = &**when;
            self.put(" WHEN ");
            self.expression(expr.as_deref()?, Rule::A)?;
            self.put(" THEN ");
            self.expression(result.as_deref()?, Rule::A)?;
        }
        if let Some(default) = defresult {
            self.put(" ELSE ");
            self.expression(default, Rule::A)?;
        }
        self.put(" END");
        Some(())
    }

    fn cast(&mut self, cast: &TypeCast) -> Option<()> {
        let TypeCast { arg, type_name, location: _ } = cast;
        let (arg, type_name) = (arg.as_deref()?, type_name.as_ref()?);
        let mut parentheses = precedence::is_no_c_expr(arg);
        if let Some(NodeEnum::AConst(constant)) = &arg.node {
            match (type_name.names.as_slice(), &constant.val) {
                // `char 'x'` and `point '(1,2)'`.
                ([only], _) if text_of(only) == Some("point") => return None,
                ([_, name], _) if text_of(name) == Some("bpchar") => return None,
                ([_, name], Some(Val::Sval(_))) if text_of(name) == Some("bool") => return None,
                _ => {}
            }
            parentheses |= is_signed(constant);
        }
        self.parenthesised(arg, parentheses, Rule::A)?;
        self.put("::");
        self.type_name(type_name)
    }

    fn subscripted(&mut self, indirection: &AIndirection) -> Option<()> {
        let AIndirection { arg, indirection } = indirection;
        let arg = arg.as_deref()?;
        let subscript = matches!(indirection.first()?.node, Some(NodeEnum::AIndices(_)));
        let bare = match arg.node.as_ref()? {
            NodeEnum::ParamRef(_) => true,
            NodeEnum::ColumnRef(_) => subscript,
            NodeEnum::SubLink(link) => link.sub_link_type() == SubLinkType::ExprSublink,
            _ => false,
        };
        self.parenthesised(arg, !bare, Rule::A)?;
        self.indirection(indirection)
    }

    /// Fields, stars and subscripts behind something.
    pub(super) fn indirection(&mut self, steps: &[Node]) -> Option<()> {
        for step in steps {
            match step.node.as_ref()? {
                NodeEnum::String(field) => {
                    self.put(".");
                    self.name(&field.sval);
                }
                NodeEnum::AStar(_) => self.put(".*"),
                NodeEnum::AIndices(indices) => {
                    self.put("[");
                    if let Some(low) = &indices.lidx {
                        self.expression(low, Rule::A)?;
                    }
                    if indices.is_slice {
                        self.put(":");
                    }
                    if let Some(high) = &indices.uidx {
                        self.expression(high, Rule::A)?;
                    }
                    self.put("]");
                }
                _ => return None,
            }
        }
        Some(())
    }
}

/// Whether a constant stands in parentheses before `::`: a sign binds looser than a cast.
fn is_signed(constant: &AConst) -> bool {
    match &constant.val {
        Some(Val::Fval(_)) => true,
        Some(Val::Ival(number)) => number.ival < 0,
        _ => false,
    }
}
