//! The outputs of a query, and of RETURNING.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ResTarget};

use crate::policy::Refusal;

use super::scope::{ItemColumn, Scope};
use super::star::{is_row_expanded, lists_open_item, star_of};
use super::{Binder, Facts};

/// What a target list gives.
#[derive(Debug, Default)]
pub(in crate::sql) struct Outputs {
    pub columns: Vec<ItemColumn>,
    /// There may be more of them, at any place from the first on whose type is not known.
    pub open: bool,
}

impl Binder<'_> {
    /// Binds a target list and gives its columns.
    pub fn target_list(
        &mut self,
        scope: &Scope<'_>,
        targets: &mut [Node],
        facts: &mut Facts,
    ) -> Result<Outputs, Refusal> {
        let mut columns = Vec::new();
        let mut known = usize::MAX;
        for target in targets {
            let Some(NodeEnum::ResTarget(target)) = &mut target.node else {
                return Err(super::unsupported(&super::kind_of(target), -1));
            };
            let before = columns.len();
            self.target(scope, target, &mut columns, facts)?;
            if lists_open_item(scope, target) || target.val.as_deref().is_some_and(is_row_expanded) {
                known = known.min(before);
            }
        }
        // Behind columns that are not all known, nobody knows which is at which place.
        columns.iter_mut().skip(known).for_each(ItemColumn::forget);
        Ok(Outputs { columns, open: known < usize::MAX })
    }

    fn target(
        &mut self,
        scope: &Scope<'_>,
        target: &mut ResTarget,
        columns: &mut Vec<ItemColumn>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let location = target.location;
        let Some(value) = &mut target.val else {
            return Err(super::unsupported("an empty output", location));
        };
        if let Some(qualifier) = star_of(value) {
            self.star(scope, qualifier.as_deref(), location, columns, facts)?;
            self.name_star_anew(scope, value);
            return Ok(());
        }
        let name = self.named_value(scope, target, facts)?;
        let Some(value) = &target.val else { return Ok(()) };
        if is_row_expanded(value) {
            return Ok(());
        }
        let kind = self.output_kind(scope, value);
        let ty = self.type_of(scope, value);
        columns.push(ItemColumn { name, ty, kind });
        Ok(())
    }
}
