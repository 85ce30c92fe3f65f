//! The rewriting rules, one file each, in the order in which a level meets them:
//!
//! 1. [`barrier`]: conditions that may raise or leak wait behind the tenant predicate (when they are bound);
//!    [`membership`]: EXISTS and IN, of which joins are made; [`gate`]: parts without columns;
//!    [`operand`]: an equality whose operand waits in its place; [`presence`]: what a guard hides from the planner;
//! 2. [`predicate`]: what restricts a relation to the tenant's rows;
//! 3. [`placement`]: where that predicate goes, and the fences around derived tables;
//! 4. [`assignment`], [`key_proof`], [`row_source`]: what values are written; [`insert`], [`update`], [`delete`],
//!    [`merge`], [`conflict`]: writes;
//! 5. [`index_proof`]: indexes that bare conditions rely on;
//! 6. [`copy`], [`copy_from`]: COPY TO and COPY FROM.
//!
//! A rule works on the nodes of one level and on what was bound there. It never resolves a name.

mod assignment;
mod barrier;
mod conflict;
mod copy;
mod copy_from;
mod delete;
mod gate;
mod index_proof;
mod insert;
mod key_proof;
mod lock;
mod membership;
mod merge;
mod operand;
mod placement;
mod positioned;
mod predicate;
mod presence;
mod row_source;
pub(in crate::sql) mod scoped;
pub mod sentinel;
mod update;

pub(in crate::sql) use barrier::{Clause, never_null_column};
pub(in crate::sql) use placement::{collect_leaves, level, place_on};
pub(in crate::sql) use predicate::predicate;
