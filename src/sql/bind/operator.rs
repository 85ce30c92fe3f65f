//! Operators: each name is one of `pg_catalog`'s, or of an extension that is known.

use pg_query::protobuf::{AExpr, AExprKind, Node, SubLink, SubLinkType};

use crate::policy::{Refusal, SqlState};

use super::super::build;
use super::super::seen::mark;
use super::{ACCESS, Binder, FORM, Facts, Scope};

impl Binder<'_> {
    pub(super) fn operator_expression(
        &mut self,
        scope: &Scope<'_>,
        expr: &mut AExpr,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let location = expr.location;
        mark(&mut expr.location);
        let named = matches!(
            AExprKind::try_from(expr.kind),
            Ok(AExprKind::AexprOp
                | AExprKind::AexprOpAny
                | AExprKind::AexprOpAll
                | AExprKind::AexprIn
                | AExprKind::AexprDistinct
                | AExprKind::AexprNotDistinct
                | AExprKind::AexprNullif)
        );
        match AExprKind::try_from(expr.kind) {
            Ok(AExprKind::Undefined) | Err(_) => {
                return Err(super::unsupported("this operator expression", location));
            }
            Ok(_) if named => self.operator_name(&mut expr.name, location)?,
            // LIKE, BETWEEN and SIMILAR name their operators themselves; those are pg_catalog's unless somebody
            // else made one of that name.
            Ok(_) => self.keyword_operator(&expr.name, location)?,
        }
        self.optional(scope, &mut expr.lexpr, facts)?;
        self.optional(scope, &mut expr.rexpr, facts)
    }

    /// An operator by name: `pg_catalog`'s, or one of an extension that is known. It leaves qualified where
    /// another schema of the search path has one of the same name.
    pub fn operator_name(&mut self, name: &mut Vec<Node>, location: i32) -> Result<(), Refusal> {
        let (schema, bare) = self.schema_and_name(name, "an operator", location)?;
        let (schema, bare) = (schema.as_deref(), bare.as_str());
        let named = self.catalog.operators_named(bare);
        let looked_in = |of: &str| schema.map_or_else(|| self.catalog.in_path(of), |schema| schema == of);
        // Of the sixty that are called `=` nearly all are pg_catalog's, and any one of them answers for all.
        let builtin = looked_in("pg_catalog") && named.iter().any(|o| o.schema == "pg_catalog");
        let others: Vec<_> =
            named.iter().filter(|o| o.schema != "pg_catalog" && looked_in(&o.schema)).collect();
        let undefined = || {
            Refusal::new(SqlState::UNDEFINED_FUNCTION, FORM, format!("operator does not exist: {bare}"))
                .at(location)
        };
        match (builtin, others.first()) {
            (false, None) => Err(undefined()),
            (true, None) => Ok(()),
            (_, Some(other)) => {
                let trusted = others.iter().all(|o| o.extension.as_deref().is_some_and(is_pure_extension));
                if trusted && !builtin {
                    *name = vec![build::text(&other.schema), build::text(bare)];
                } else if !trusted {
                    if !builtin {
                        let message = format!("operator {bare} of schema {} is not allowed", other.schema);
                        return Err(Refusal::new(SqlState::DENIED, ACCESS, message).at(location));
                    }
                    *name = vec![build::text("pg_catalog"), build::text(bare)];
                }
                Ok(())
            }
        }
    }

    /// The operator of IN, ANY and ALL over a sub-select. IN names none: where another schema of the search path
    /// shadows `=`, it becomes ANY with its name.
    pub fn sublink_operator(&mut self, sublink: &mut SubLink) -> Result<(), Refusal> {
        let any = sublink.sub_link_type == SubLinkType::AnySublink as i32;
        let location = sublink.location;
        if !sublink.oper_name.is_empty() {
            return self.operator_name(&mut sublink.oper_name, location);
        }
        if any {
            let mut equals = vec![build::text("=")];
            self.operator_name(&mut equals, location)?;
            if equals.len() > 1 {
                sublink.oper_name = equals;
            }
        }
        Ok(())
    }

    fn keyword_operator(&self, name: &[Node], location: i32) -> Result<(), Refusal> {
        let names = build::names(name).ok_or_else(|| super::unsupported("this operator", location))?;
        let operators: &[&str] = match names.last().copied() {
            Some("BETWEEN" | "NOT BETWEEN" | "BETWEEN SYMMETRIC" | "NOT BETWEEN SYMMETRIC") => {
                &["<", "<=", ">", ">="]
            }
            Some(_) | None => &[],
        };
        let shadowed = names.iter().copied().chain(operators.iter().copied()).any(|name| {
            self.catalog.operators_named(name).iter().any(|o| {
                o.schema != "pg_catalog"
                    && self.catalog.in_path(&o.schema)
                    && !o.extension.as_deref().is_some_and(is_pure_extension)
            })
        });
        if shadowed {
            return Err(super::unsupported("an operator that another schema shadows", location));
        }
        Ok(())
    }
}

/// Extensions whose operators depend on their operands alone.
fn is_pure_extension(name: &str) -> bool {
    const PURE: [&str; 12] = [
        "btree_gin",
        "btree_gist",
        "citext",
        "cube",
        "fuzzystrmatch",
        "hstore",
        "intarray",
        "isn",
        "ltree",
        "pg_trgm",
        "seg",
        "unaccent",
    ];
    PURE.contains(&name)
}
