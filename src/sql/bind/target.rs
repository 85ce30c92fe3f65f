//! The items of a level that stand in no FROM list: the target of a write, `excluded`, `old` and `new`, and
//! the source of a MERGE.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, ReturningOptionKind};

use crate::policy::Refusal;

use super::from::{Above, Around, push, unleaf};
use super::scope::{ItemColumn, Level, Place, Source};
use super::{Binder, Facts};

/// Adds the target of a write as an item.
pub(in crate::sql) fn push_target(
    level: &mut Level,
    alias: Option<&Alias>,
    name: String,
    columns: Vec<ItemColumn>,
    source: Source,
) -> usize {
    let id = push(level, alias, Some(name), columns, source);
    unleaf(level, id, true);
    if let Some(item) = level.items.get_mut(id) {
        item.place = Place::Inside;
    }
    id
}

/// Adds a row by name, whose columns need that name: `excluded`.
pub(in crate::sql) fn push_row(
    level: &mut Level,
    name: &str,
    columns: Vec<ItemColumn>,
    source: Source,
) -> usize {
    let id = push(level, None, Some(name.to_owned()), columns, source);
    unleaf(level, id, false);
    id
}

/// Adds `old` and `new`, or the names that RETURNING WITH gives them, unless an item has the name already.
pub(in crate::sql) fn push_old_and_new(
    level: &mut Level,
    target: usize,
    options: &[Node],
) -> Result<(), Refusal> {
    let mut names = [
        (ReturningOptionKind::ReturningOptionOld, "old".to_owned()),
        (ReturningOptionKind::ReturningOptionNew, "new".to_owned()),
    ];
    let renamed = !options.is_empty();
    for option in options {
        let Some(NodeEnum::ReturningOption(option)) = &option.node else {
            return Err(super::unsupported(&super::kind_of(option), -1));
        };
        for (kind, name) in &mut names {
            if option.option == *kind as i32 {
                name.clone_from(&option.value);
            }
        }
    }
    let columns = level.items.get(target).map(|i| i.columns.clone()).unwrap_or_default();
    for (_, name) in names {
        let taken = level.items.iter().any(|i| i.goes_by(&name));
        if !taken || renamed {
            push_row(level, &name, columns.clone(), Source::Function);
        }
    }
    Ok(())
}

impl Binder<'_> {
    /// Binds the source of a MERGE: a relation in it stands behind its predicate in a derived table.
    pub fn merge_source(
        &mut self,
        ctes: &[(String, usize)],
        level: &mut Level,
        source: &mut Node,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let above = Above {
            place: Place::Inside,
            wrap: Some("a row of MERGE's source that fails ON is acted on too"),
        };
        self.bind_item(Around { outer: None, ctes }, above, level, source, facts).map(|_| ())
    }
}
