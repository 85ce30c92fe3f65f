//! What looks like a function and is syntax, SQL/JSON above all, so that no look-up in pg_proc meets it. Every child is
//! walked.

use pg_query::NodeEnum;
use pg_query::protobuf::{JsonBehavior, JsonOutput, JsonTable, JsonTableColumn, JsonValueExpr};

use crate::policy::{Refusal, Rule, SqlState};

use super::{Binder, Facts, Scope};

/// The first major that has a node, and its name.
fn since(node: &NodeEnum) -> (u32, &'static str) {
    match node {
        NodeEnum::MergeSupportFunc(_) => (17, "merge_action()"),
        NodeEnum::JsonFuncExpr(_) => (17, "JSON_EXISTS, JSON_QUERY or JSON_VALUE"),
        NodeEnum::JsonParseExpr(_) => (17, "JSON()"),
        NodeEnum::JsonScalarExpr(_) => (17, "JSON_SCALAR"),
        NodeEnum::JsonSerializeExpr(_) => (17, "JSON_SERIALIZE"),
        _ => (16, "this JSON expression"),
    }
}

impl Binder<'_> {
    /// Binds such a node.
    pub fn json(&mut self, scope: &Scope<'_>, node: &mut NodeEnum, facts: &mut Facts) -> Result<(), Refusal> {
        let (major, what) = since(node);
        if self.catalog.server_version_num / 10_000 < major {
            // An older server reads the same text as a call of a function that somebody may have made.
            let message = format!("{what} needs PostgreSQL {major}");
            return Err(Refusal::new(SqlState::SYNTAX, Rule("form"), message));
        }
        match node {
            NodeEnum::MergeSupportFunc(_) => Ok(()),
            NodeEnum::JsonIsPredicate(json) => self.optional(scope, &mut json.expr, facts),
            NodeEnum::JsonValueExpr(json) => self.json_value(scope, Some(json), facts),
            NodeEnum::JsonArgument(json) => self.json_value(scope, json.val.as_deref_mut(), facts),
            NodeEnum::JsonKeyValue(json) => {
                self.optional(scope, &mut json.key, facts)?;
                self.json_value(scope, json.value.as_deref_mut(), facts)
            }
            NodeEnum::JsonObjectConstructor(json) => {
                self.all(scope, &mut json.exprs, facts)?;
                self.json_output(json.output.as_mut())
            }
            NodeEnum::JsonArrayConstructor(json) => {
                self.all(scope, &mut json.exprs, facts)?;
                self.json_output(json.output.as_mut())
            }
            NodeEnum::JsonArrayQueryConstructor(json) => {
                let Some(query) = &mut json.query else {
                    return Err(super::unsupported("an empty JSON_ARRAY", -1));
                };
                let output = self.inner_query(scope, query)?;
                let tenanted = output.tenanted;
                facts.merge(output.facts);
                facts.tenanted |= tenanted;
                facts.sublink = true;
                self.json_output(json.output.as_mut())
            }
            NodeEnum::JsonObjectAgg(json) => {
                let mut own = Facts::default();
                if let Some(arg) = &mut json.arg {
                    self.optional(scope, &mut arg.key, &mut own)?;
                    self.json_value(scope, arg.value.as_deref_mut(), &mut own)?;
                }
                self.json_aggregate(scope, json.constructor.as_deref_mut(), &mut own)?;
                facts.merge(own);
                Ok(())
            }
            NodeEnum::JsonArrayAgg(json) => {
                let mut own = Facts::default();
                self.json_value(scope, json.arg.as_deref_mut(), &mut own)?;
                self.json_aggregate(scope, json.constructor.as_deref_mut(), &mut own)?;
                facts.merge(own);
                Ok(())
            }
            NodeEnum::JsonFuncExpr(json) => {
                self.json_value(scope, json.context_item.as_deref_mut(), facts)?;
                self.optional(scope, &mut json.pathspec, facts)?;
                self.all(scope, &mut json.passing, facts)?;
                self.json_output(json.output.as_mut())?;
                self.json_behavior(scope, json.on_empty.as_deref_mut(), facts)?;
                self.json_behavior(scope, json.on_error.as_deref_mut(), facts)
            }
            NodeEnum::JsonParseExpr(json) => {
                self.json_value(scope, json.expr.as_deref_mut(), facts)?;
                self.json_output(json.output.as_mut())
            }
            NodeEnum::JsonScalarExpr(json) => {
                self.optional(scope, &mut json.expr, facts)?;
                self.json_output(json.output.as_mut())
            }
            NodeEnum::JsonSerializeExpr(json) => {
                self.json_value(scope, json.expr.as_deref_mut(), facts)?;
                self.json_output(json.output.as_mut())
            }
            _ => Err(super::unsupported("this JSON expression", -1)),
        }
    }

    /// `JSON_TABLE` in FROM: its expressions, and the names of its columns.
    pub fn json_table(
        &mut self,
        scope: &Scope<'_>,
        table: &mut JsonTable,
        facts: &mut Facts,
    ) -> Result<Vec<String>, Refusal> {
        self.json_value(scope, table.context_item.as_deref_mut(), facts)?;
        if let Some(path) = &mut table.pathspec {
            self.optional(scope, &mut path.string, facts)?;
        }
        self.all(scope, &mut table.passing, facts)?;
        self.json_behavior(scope, table.on_error.as_deref_mut(), facts)?;
        let mut names = Vec::new();
        for column in &mut table.columns {
            let Some(NodeEnum::JsonTableColumn(column)) = &mut column.node else {
                return Err(super::unsupported(&super::kind_of(column), table.location));
            };
            self.json_table_column(scope, column, &mut names, facts)?;
        }
        Ok(names)
    }

    fn json_table_column(
        &mut self,
        scope: &Scope<'_>,
        column: &mut JsonTableColumn,
        names: &mut Vec<String>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        if let Some(name) = &mut column.type_name {
            let target = self.type_name(name)?;
            if let Some(reg) = self.reg_type(target) {
                return Err(super::unsupported(&format!("a column of type {reg} here"), column.location));
            }
        }
        if let Some(path) = &mut column.pathspec {
            self.optional(scope, &mut path.string, facts)?;
        }
        self.json_behavior(scope, column.on_empty.as_deref_mut(), facts)?;
        self.json_behavior(scope, column.on_error.as_deref_mut(), facts)?;
        if column.columns.is_empty() {
            names.push(column.name.clone());
        }
        for nested in &mut column.columns {
            let Some(NodeEnum::JsonTableColumn(nested)) = &mut nested.node else {
                return Err(super::unsupported(&super::kind_of(nested), column.location));
            };
            self.json_table_column(scope, nested, names, facts)?;
        }
        Ok(())
    }

    fn json_value(
        &mut self,
        scope: &Scope<'_>,
        value: Option<&mut JsonValueExpr>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(value) = value else { return Ok(()) };
        self.optional(scope, &mut value.raw_expr, facts)?;
        self.optional(scope, &mut value.formatted_expr, facts)
    }

    fn json_output(&mut self, output: Option<&mut JsonOutput>) -> Result<(), Refusal> {
        match output.and_then(|o| o.type_name.as_mut()) {
            Some(name) => {
                let target = self.type_name(name)?;
                match self.reg_type(target) {
                    Some(reg) => Err(super::unsupported(&format!("RETURNING {reg}"), name.location)),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    fn json_behavior(
        &mut self,
        scope: &Scope<'_>,
        behavior: Option<&mut JsonBehavior>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        behavior.map_or(Ok(()), |b| self.optional(scope, &mut b.expr, facts))
    }

    fn json_aggregate(
        &mut self,
        scope: &Scope<'_>,
        aggregate: Option<&mut pg_query::protobuf::JsonAggConstructor>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(aggregate) = aggregate else {
            facts.of_rows(true, false, scope.level.depth);
            return Ok(());
        };
        self.json_output(aggregate.output.as_mut())?;
        self.optional(scope, &mut aggregate.agg_filter, facts)?;
        for order in &mut aggregate.agg_order {
            self.sort_by(scope, order, &[], false, facts)?;
        }
        facts.of_rows(true, aggregate.over.is_some(), scope.level.depth);
        match aggregate.over.as_deref_mut() {
            Some(window) => self.window_definition(scope, window, facts),
            None => Ok(()),
        }
    }
}
