//! Binds a statement's names to the catalog, asks the policy about each relation, and has the rewriting
//! rules applied level by level, from the inside out.
//!
//! A query level is bound whole (its FROM, then its expressions), and then handed to [`super::rewrite`] with
//! what was found: an outer level never looks into an inner one again, it only knows its output columns.

mod again;
mod call;
mod decided;
mod derived;
mod expression;
mod from;
mod function_item;
mod group;
mod join;
mod json;
mod locking;
mod operator;
mod output_name;
mod qualified;
mod scope;
mod select;
mod sequences;
mod sorting;
mod star;
mod target;
mod target_list;
mod totality;
mod types;
mod using;
mod with;

use std::collections::BTreeSet;

use foldhash::{HashMap, HashSet};
use pg_query::protobuf::{Node, RangeVar};

use crate::catalog::{Oid, Relation, Snapshot};
use crate::config::model::Operation;
use crate::policy::{Access, Policy, Refusal, SqlState};

use super::leaksafe::{BindCheck, LeakSafe};
use super::planned::{Edit, Lasting};
use super::seen::{mark, place};
use super::sequences::{Asked, Sequences};
use super::settings::SettingChange;
use super::witness::Index;
use super::{Statement, World};

pub(in crate::sql) use again::{Again, Wish};
pub(in crate::sql) use decided::Decided;
pub(in crate::sql) use expression::Facts;
pub(in crate::sql) use from::{columns_of, is_system};
pub(in crate::sql) use scope::{ColumnKind, Item, ItemColumn, Level, Place, Scope, Source};
pub(in crate::sql) use select::{Output, Single};
pub(in crate::sql) use star::{is_star, star_of};
pub(in crate::sql) use target::{push_old_and_new, push_row, push_target};
pub(in crate::sql) use target_list::Outputs;
pub(in crate::sql) use with::Cte;

pub(in crate::sql) use super::refusals::{ACCESS, FORM, denied_column, kind_of, unsupported};

/// What the aliases that the rewriting makes begin with.
const RESERVED: &str = "pgbulkhead_";
/// One statement while it is bound and rewritten.
pub(in crate::sql) struct Binder<'a> {
    pub catalog: &'a Snapshot,
    pub policy: &'a Policy,
    pub leaksafe: &'a LeakSafe,
    pub role: &'a str,
    pub statement: &'a Statement<'a>,
    pub edits: Vec<Edit>,
    pub touched: Vec<(Oid, String, Operation)>,
    /// Lifted literals that a decision looked at.
    pub pins: BTreeSet<usize>,
    /// What parameters' values must satisfy, where a bare condition relies on it.
    pub bind_checks: Vec<BindCheck>,
    /// Indexes that bare conditions rely on; each is named in the statement.
    pub indexes: Vec<Index>,
    /// No condition is left bare that relies on the value of a parameter.
    pub cautious: bool,
    /// The highest `$n` of the client.
    pub parameters: u16,
    pub ctes: Vec<Cte>,
    /// Views inside views.
    pub view_depth: usize,
    /// The type of the tenant's parameter; all tenant columns of a statement must agree on it.
    pub tenant_type: Option<Oid>,
    /// Inside the recursive term of a WITH RECURSIVE.
    pub recursive_term: bool,
    /// The outermost level that is planned together with this one: those around it are parameters to it.
    pub root: usize,
    /// The next SELECT is the source of an INSERT: each of its outputs is named, so that one can be changed.
    pub explicit_outputs: bool,
    /// `set_config` may be called: the statement is a SELECT of nothing but values.
    pub may_set_config: bool,
    /// What `set_config` sets.
    pub set_config: Vec<SettingChange>,
    /// What the statement leaves to the server session, or takes from it.
    pub holds: Lasting,
    /// Sequences that nextval draws from, as often as it is called.
    pub drawn: Vec<Oid>,
    /// Last values of sequences that are asked for.
    pub asks: Vec<Asked>,
    /// What is drawn for certain.
    pub sequences: Sequences,
    /// The client's channel, in LISTEN, UNLISTEN and NOTIFY.
    pub channel: Option<String>,
    /// Names of WITH RECURSIVE lists that are not defined yet, innermost list last.
    pub forward_names: Vec<Vec<String>>,
    /// Queries around the one that is being bound.
    pub query_depth: usize,
    /// What the first output of the sub-select that was bound last is called.
    query_name: Option<String>,
    /// What an earlier attempt at this statement has found out.
    pub again: Again,
    /// What another attempt would need to know.
    pub wish: Option<Wish>,
    parameter_uses: HashMap<i32, usize>,
    aliases: u32,
    own_aliases: HashSet<String>,
}

impl<'a> Binder<'a> {
    pub fn new(world: &'a World, role: &'a str, statement: &'a Statement<'a>) -> Self {
        Self {
            catalog: &world.catalog,
            policy: &world.policy,
            leaksafe: &world.leaksafe,
            role,
            statement,
            edits: Vec::new(),
            touched: Vec::new(),
            pins: BTreeSet::new(),
            bind_checks: Vec::new(),
            indexes: Vec::new(),
            cautious: false,
            parameters: 0,
            ctes: Vec::new(),
            view_depth: 0,
            tenant_type: None,
            recursive_term: false,
            root: 0,
            explicit_outputs: false,
            may_set_config: false,
            set_config: Vec::new(),
            holds: Lasting::Nothing,
            drawn: Vec::new(),
            asks: Vec::new(),
            sequences: Sequences::default(),
            channel: None,
            forward_names: Vec::new(),
            query_depth: 0,
            query_name: None,
            again: Again::default(),
            wish: None,
            parameter_uses: totality::parameter_uses(statement.text),
            aliases: 0,
            own_aliases: HashSet::default(),
        }
    }

    /// Writes an edit down with its reason.
    pub fn edit(&mut self, location: i32, reason: impl Into<String>) {
        self.edits.push(Edit { position: usize::try_from(place(location)).ok(), reason: reason.into() });
    }

    /// Remembers that a decision depends on the constant at this place: where it is a lifted literal, the
    /// plan holds for this very token only.
    pub fn pin(&mut self, location: i32) {
        self.pins.extend(self.statement.literal_at(location));
    }

    /// A name that no item of the client has: see [`Binder::reserved`].
    pub fn fresh_alias(&mut self, what: &str) -> String {
        self.aliases = self.aliases.saturating_add(1);
        let name = format!("{RESERVED}{what}{}", self.aliases);
        self.own_aliases.insert(name.clone());
        name
    }

    /// Refuses an item of the client with a name of ours: inside a predicate it would be meant instead.
    pub fn reserved(&self, name: &str) -> Result<(), Refusal> {
        if name.starts_with(RESERVED) && !self.own_aliases.contains(name) {
            let message = format!("names that begin with {RESERVED} are reserved");
            return Err(Refusal::new(SqlState("42939"), FORM, message));
        }
        Ok(())
    }

    /// Finds the relation that a name means, and writes its schema into the name. What is not there and what
    /// is denied answer alike.
    pub fn relation(&self, name: &mut RangeVar) -> Result<std::sync::Arc<Relation>, Refusal> {
        if !name.catalogname.is_empty() {
            if name.catalogname != self.catalog.database {
                let message = format!(
                    "cross-database references are not implemented: \"{}.{}.{}\"",
                    name.catalogname, name.schemaname, name.relname
                );
                return Err(Refusal::new(SqlState::NOT_SUPPORTED, FORM, message).at(name.location));
            }
            name.catalogname.clear();
        }
        let schema = (!name.schemaname.is_empty()).then_some(name.schemaname.as_str());
        let found = self.catalog.find_relation(schema, &name.relname).cloned();
        let Some(relation) = found else { return Err(self.no_relation(name)) };
        name.schemaname.clone_from(&relation.schema);
        mark(&mut name.location);
        Ok(relation)
    }

    /// The schema and the name of a name of one to three parts; a database must be this one.
    pub fn schema_and_name(
        &self,
        parts: &[Node],
        what: &str,
        location: i32,
    ) -> Result<(Option<String>, String), Refusal> {
        let parts = super::build::names(parts)
            .ok_or_else(|| unsupported(&format!("{what} of this name"), location))?;
        match parts.as_slice() {
            [name] => Ok((None, (*name).to_owned())),
            [schema, name] => Ok((Some((*schema).to_owned()), (*name).to_owned())),
            [database, schema, name] if *database == self.catalog.database => {
                Ok((Some((*schema).to_owned()), (*name).to_owned()))
            }
            _ => Err(unsupported(&format!("{what} of another database"), location)),
        }
    }

    /// PostgreSQL's own words for a relation that is not there.
    pub fn no_relation(&self, name: &RangeVar) -> Refusal {
        let shown = if name.schemaname.is_empty() {
            name.relname.clone()
        } else {
            format!("{}.{}", name.schemaname, name.relname)
        };
        Refusal::new(SqlState::UNDEFINED_TABLE, ACCESS, format!("relation \"{shown}\" does not exist"))
            .at(place(name.location))
    }

    /// Asks for an operation on a relation, and writes down that it is done.
    pub fn demand(
        &mut self,
        relation: &Relation,
        operation: Operation,
        location: i32,
    ) -> Result<Access, Refusal> {
        let access = self.policy.access(self.role, relation);
        if !access.allows(operation) {
            let verb = match operation {
                Operation::Select => "read",
                Operation::Insert => "insert into",
                Operation::Update => "update",
                Operation::Delete => "delete from",
            };
            let message = format!("role {} may not {verb} {}.{}", self.role, relation.schema, relation.name);
            return Err(Refusal::new(SqlState::DENIED, ACCESS, message).at(place(location)));
        }
        self.touch(relation, operation);
        Ok(access)
    }

    /// Writes down that an operation is done on a relation.
    pub fn touch(&mut self, relation: &Relation, operation: Operation) {
        let entry = (relation.oid, format!("{}.{}", relation.schema, relation.name), operation);
        if !self.touched.contains(&entry) {
            self.touched.push(entry);
        }
    }
}
