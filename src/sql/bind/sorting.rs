//! What rows are sorted and grouped by: ORDER BY, GROUP BY, DISTINCT ON, and windows.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, WindowDef};

use crate::policy::Refusal;

use super::super::build;
use super::scope::{ItemColumn, Scope};
use super::{Binder, Facts};

impl Binder<'_> {
    /// An entry of ORDER BY.
    pub fn sort_by(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Node,
        outputs: &[ItemColumn],
        outputs_only: bool,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(NodeEnum::SortBy(sort)) = &mut node.node else {
            return Err(super::unsupported(&super::kind_of(node), -1));
        };
        let location = sort.location;
        if !sort.use_op.is_empty() {
            self.operator_name(&mut sort.use_op, location)?;
        }
        let Some(inner) = &mut sort.node else {
            return Err(super::unsupported("an empty ORDER BY", location));
        };
        self.sort_expression(scope, inner, outputs, outputs_only, facts)
    }

    /// An entry of GROUP BY.
    pub(super) fn group_by(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Node,
        outputs: &[ItemColumn],
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        match &mut node.node {
            Some(NodeEnum::GroupingSet(set)) => {
                set.content.iter_mut().try_for_each(|inner| self.group_by(scope, inner, outputs, facts))
            }
            Some(NodeEnum::RowExpr(row)) => {
                row.args.iter_mut().try_for_each(|inner| self.group_by(scope, inner, outputs, facts))
            }
            _ => self.sort_expression(scope, node, outputs, false, facts),
        }
    }

    /// An expression of ORDER BY, GROUP BY or DISTINCT ON: a bare name can be an output's.
    pub(super) fn sort_expression(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Node,
        outputs: &[ItemColumn],
        outputs_only: bool,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        if let Some(NodeEnum::ColumnRef(column)) = &node.node
            && let Some([name]) = build::names(&column.fields).as_deref()
            && outputs.iter().any(|o| o.name == *name)
            && (outputs_only || scope.resolve(&[name], -1).map_or(true, |found| found.whole_row))
        {
            return Ok(());
        }
        self.expression(scope, node, facts)
    }

    /// An entry of WINDOW.
    pub(super) fn window(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Node,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(NodeEnum::WindowDef(window)) = &mut node.node else {
            return Err(super::unsupported(&super::kind_of(node), -1));
        };
        self.window_definition(scope, window, facts)
    }

    /// A window's PARTITION BY, ORDER BY and frame.
    pub fn window_definition(
        &mut self,
        scope: &Scope<'_>,
        window: &mut WindowDef,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        for partition in &mut window.partition_clause {
            self.expression(scope, partition, facts)?;
        }
        for order in &mut window.order_clause {
            self.sort_by(scope, order, &[], false, facts)?;
        }
        for offset in [&mut window.start_offset, &mut window.end_offset].into_iter().flatten() {
            self.expression(scope, offset, facts)?;
        }
        Ok(())
    }
}
