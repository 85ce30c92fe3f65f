//! Changes of an expression, and of a relation's name.

use sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectName, ObjectNamePart, SetExpr, TableFactor};

use super::places::{
    and_to_or, case_concern, either, expression, is_key_equality, is_look_up, is_parent_key,
    is_parent_lookup, is_predicate, is_tenant_value, left_of, named, nested, operator, rename_column,
    rename_parent_key, replace,
};
use super::{Concern, TENANT};

/// Changes an expression, where it is one that it is for.
pub type ExpressionChange = fn(&mut Expr) -> Option<Concern>;
/// Changes a relation's name.
pub type RelationChange = fn(&mut ObjectName) -> Option<Concern>;

pub const EXPRESSIONS: &[(&str, ExpressionChange)] = &[
    ("drop a predicate", |e| replace(e, is_predicate, |_| expression("true"))),
    ("widen a predicate by OR", |e| replace(e, is_predicate, |e| nested(either(e, expression("true"))))),
    ("let rows without a tenant through", |e| {
        replace(e, is_predicate, |e| {
            let tested = Expr::IsNull(Box::new(left_of(&e)));
            nested(either(e, tested))
        })
    }),
    ("negate a predicate", |e| replace(e, is_predicate, |e| expression(&format!("NOT ({e})")))),
    ("= becomes <>", |e| {
        operator(e, BinaryOperator::PGCustomBinaryOperator(vec!["pg_catalog".into(), "<>".into()]))
    }),
    ("= becomes >=", |e| {
        operator(e, BinaryOperator::PGCustomBinaryOperator(vec!["pg_catalog".into(), ">=".into()]))
    }),
    ("= without its schema", |e| operator(e, BinaryOperator::Eq)),
    ("= of another schema", |e| {
        operator(e, BinaryOperator::PGCustomBinaryOperator(vec!["app".into(), "=".into()]))
    }),
    ("another parameter", |e| replace(e, is_tenant_value, |_| expression("$1::int"))),
    ("a constant for the tenant", |e| replace(e, is_tenant_value, |_| expression("2"))),
    ("a column for the tenant", |e| replace(e, is_tenant_value, |_| expression("d.tenant_id"))),
    ("the tenant cast to a short type", |e| replace(e, is_tenant_value, |_| expression("$9::varchar(1)"))),
    ("the tenant without its type", |e| replace(e, is_tenant_value, |_| expression(TENANT))),
    ("the tenant computed with", |e| replace(e, is_tenant_value, |_| expression("($9::int + 1)"))),
    ("another column in a predicate", |e| rename_column(e, |parts| parts[1] = Ident::new("version"))),
    ("another alias in a predicate", |e| rename_column(e, |parts| parts[0] = Ident::new("zz"))),
    ("a predicate without an alias", |e| rename_column(e, |parts| drop(parts.remove(0)))),
    ("drop the look-up of an index", |e| replace(e, is_look_up, |_| expression("true"))),
    ("a look-up that raises nothing", |e| {
        let Expr::Case { else_result, .. } = e else { return None };
        let raising = else_result.as_ref().is_some_and(|e| e.to_string().contains(" index "));
        *else_result = Some(Box::new(expression("true")));
        raising.then_some(Concern::Tenancy)
    }),
    ("the look-up of another index", |e| {
        replace(e, is_look_up, |e| expression(&e.to_string().replacen("i\"'", "j\"'", 1)))
    }),
    ("the look-up of an index by another number", |e| {
        replace(e, is_look_up, |e| expression(&e.to_string().replacen("'16400'", "'16401'", 1)))
    }),
    ("drop a key of the parent", |e| replace(e, is_parent_key, |_| expression("true"))),
    ("another column of the parent", |e| rename_parent_key(e, "version")),
    ("the parent of another value", |e| {
        replace(e, is_key_equality, |e| {
            let Expr::BinaryOp { left, op, .. } = e else { return e };
            Expr::BinaryOp { left, op, right: Box::new(expression("77")) }
        })
    }),
    ("another relation for the parent", |e| {
        let Expr::Exists { subquery, .. } = e else { return None };
        let lookup = is_parent_lookup(subquery);
        let SetExpr::Select(select) = &mut *subquery.body else { return None };
        let TableFactor::Table { name, .. } = &mut select.from.first_mut()?.relation else { return None };
        *name = named(&["app", "users"]);
        lookup.then_some(Concern::Tenancy)
    }),
    ("AND becomes OR", and_to_or),
    ("EXISTS becomes NOT EXISTS", |e| match e {
        Expr::Exists { negated, subquery } => {
            *negated = !*negated;
            Some(if is_parent_lookup(subquery) { Concern::Tenancy } else { Concern::Shape })
        }
        _ => None,
    }),
    ("unwrap a CASE", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        *e = conditions[0].result.clone();
        // The tenant's own value needs no guard to be the tenant's.
        Some(if is_tenant_value(e) { Concern::Shape } else { concern })
    }),
    ("drop the arm that raises", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        (conditions.len() == 2).then(|| conditions.truncate(1)).map(|()| concern)
    }),
    ("the arm that raises does not", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        conditions.get_mut(1)?.condition = expression("('true' || random()::text)::boolean");
        Some(concern)
    }),
    ("ELSE lets everything through", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, else_result, .. } = e else { return None };
        let kept = &conditions[0].result;
        let through = if matches!(kept, Expr::Value(_) | Expr::CompoundIdentifier(_)) {
            kept.clone()
        } else {
            expression("true")
        };
        *else_result = Some(Box::new(through));
        Some(concern)
    }),
    ("CASE WHEN becomes true", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        conditions[0].condition = expression("true");
        Some(concern)
    }),
    ("a second arm before the guard's ELSE", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        let mut arm = conditions[0].clone();
        arm.condition = expression("true");
        conditions.push(arm);
        Some(concern)
    }),
];

pub const RELATIONS: &[(&str, RelationChange)] = &[
    ("drop a schema", |name| {
        let qualified = name.0.len() == 2;
        qualified.then(|| drop(name.0.remove(0)));
        qualified.then_some(Concern::Tenancy)
    }),
    ("a database before the schema", |name| {
        let qualified = name.0.len() == 2;
        qualified.then(|| name.0.insert(0, ObjectNamePart::Identifier(Ident::new("ccm"))));
        qualified.then_some(Concern::Tenancy)
    }),
    ("an unknown relation", |name| {
        let known = name.to_string();
        *name = named(&["app", "elsewhere"]);
        (!known.contains("generate_series")).then_some(Concern::Tenancy)
    }),
    ("another tenant relation", |name| {
        let before = std::mem::replace(name, named(&["app", "users"])).to_string();
        let tenants =
            before.starts_with("app.") && !["app.countries", "app.tenants"].contains(&before.as_str());
        let child = ["app.document_pages", "app.page_words", "app.attachments"].contains(&before.as_str());
        Some(if tenants && !child { Concern::Shape } else { Concern::Tenancy })
    }),
];
