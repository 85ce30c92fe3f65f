//! Scopes: what a name can mean at a place of a statement, as PostgreSQL's `parse_relation.c` has it.
//!
//! A [`Level`] is one query level: the items of its FROM, in order, and the columns that USING merged. A
//! [`Scope`] is a level seen from a place in it, with the levels around it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashSet;

use crate::catalog::{Oid, Relation, RelationKind};
use crate::policy::{Refusal, Rule, SqlState, Tenancy};

const RULE: Rule = Rule("names");

/// The columns that every table has (`heap.c`, SysAtt).
const SYSTEM_COLUMNS: [(&str, Oid); 6] =
    [("ctid", 27), ("xmin", 28), ("cmin", 29), ("xmax", 28), ("cmax", 29), ("tableoid", 26)];

/// The type of a column, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) struct ColumnType {
    pub oid: Oid,
    pub typmod: i32,
    pub collation: Oid,
}

/// What stands behind a column of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sql) enum ColumnKind {
    /// A stored column of a relation: the relation, and its attribute number. Also through the plain
    /// outputs of derived tables.
    Base { relation: Oid, number: i16 },
    /// A virtual generated column: an expression that looks like a column.
    Virtual,
    /// A system column.
    System,
    /// A column that the role may not name.
    Denied,
    /// An output that is an expression; `total`: it cannot raise.
    Expression { total: bool },
}

/// A column of an item.
#[derive(Debug, Clone)]
pub(in crate::sql) struct ItemColumn {
    pub name: String,
    pub ty: Option<ColumnType>,
    pub kind: ColumnKind,
}

impl ItemColumn {
    /// Its values come from elsewhere too.
    pub fn computed(&mut self) {
        if matches!(self.kind, ColumnKind::Base { .. } | ColumnKind::System) {
            self.kind = ColumnKind::Expression { total: true };
        }
    }

    /// Takes back what is known of its values.
    pub fn forget(&mut self) {
        self.ty = None;
        if self.kind != ColumnKind::Denied {
            self.kind = ColumnKind::Expression { total: false };
        }
    }
}

/// Where an item's rows come from.
#[derive(Debug, Clone)]
pub(in crate::sql) enum Source {
    /// A relation by name. `tenancy` is `Shared` for system catalogs.
    Relation { relation: Arc<Relation>, tenancy: Tenancy },
    /// A derived table: its rows hold tenants' data or not.
    Derived { tenanted: bool },
    /// A common table expression, by its number in the binder.
    Cte(usize),
    /// A function, VALUES of constants and the like.
    Function,
    /// The alias of a join: another name for the items below it.
    JoinAlias { members: Vec<usize> },
}

/// Where a relation's predicate goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Place {
    /// WHERE of its level.
    Where,
    /// ON of the join of this number.
    On(usize),
    /// Inside a derived table of its own, or nowhere.
    Inside,
}

/// One item of a FROM list.
#[derive(Debug, Clone)]
pub(in crate::sql) struct Item {
    /// The name that qualifies its columns; none where it has none or a join's alias hides it.
    pub name: Option<String>,
    pub columns: Vec<ItemColumn>,
    /// It may have columns that are not known here (a function that returns a record).
    pub open: bool,
    /// Its columns can be named without qualification.
    pub visible: bool,
    /// It stands below a join, whose columns are what a bare name means then: a join has no system columns.
    pub joined: bool,
    pub source: Source,
    pub place: Place,
    /// The number of its leaf in the FROM tree, in order; none for a join's alias.
    pub leaf: Option<usize>,
    /// An outer join below the present place can have nulled it.
    pub nulled: Cell<bool>,
    /// It must be a fence when its level is rewritten.
    pub fence: Cell<bool>,
    /// The places of the primary key among its columns, where the rewriting made a derived table of a relation.
    pub key: Vec<usize>,
    /// The relations below it whose rows a lock of its rows locks too.
    pub below: Vec<Oid>,
    /// The relation's name inside, where the rewriting made a derived table of a relation.
    pub wrapped: Option<String>,
    /// The schema by which its columns can be named too: a relation's that has no alias.
    pub schema: Option<String>,
    /// What the client calls it, where the rewriting gave it an alias of its own.
    pub was: Option<String>,
    /// The column that holds its whole row, where the rewriting made a derived table of a relation that gives out more
    /// than that row.
    pub row: Option<String>,
    /// The system columns of a relation that are named, by their bits: a derived table has to give them out.
    pub system: Cell<u8>,
    /// A `*` of its level's outputs stands for its columns too.
    pub starred: Cell<bool>,
    /// What the arguments of a function read that the server may write out (inline_set_returning_function, clauses.c):
    /// its columns are expressions over these items then, and who reads one reads them.
    pub reads: Vec<(usize, usize)>,
    /// Its columns are told apart by their place: its row is named whole, or a join's alias renames them.
    pub placed: Cell<bool>,
}

/// A column that USING or NATURAL merged.
#[derive(Debug, Clone)]
pub(in crate::sql) struct Merged {
    pub column: ItemColumn,
    /// The first item below its join: `*` lists it before that one's columns.
    pub start: usize,
    /// The number of its join. One around another has a lower one.
    pub join: usize,
    pub members: Vec<(usize, usize)>,
}

/// A query level.
#[derive(Debug, Default)]
pub(in crate::sql) struct Level {
    /// 0 for the outermost.
    pub depth: usize,
    pub items: Vec<Item>,
    pub merged: Vec<Merged>,
    /// Columns that a merged column stands for: not found by bare name.
    pub hidden: HashSet<(usize, usize)>,
    pub leaves: usize,
    pub joins: usize,
    /// The item that `*` lists before the others: the target of an UPDATE or a DELETE (setTargetTable, parse_clause.c).
    pub first: Option<usize>,
    /// Some condition of the level waits behind a guard.
    pub guarded: Cell<bool>,
    /// The level has a condition of any kind.
    pub conditions: Cell<bool>,
    /// It has an aggregate whose value may be that of one row alone: see [`super::select`].
    pub extremes: Cell<bool>,
    /// What is bound now is evaluated on groups of this level's rows: its outputs, HAVING, ORDER BY.
    pub grouped: Cell<bool>,
    /// Its WHERE can say which indexes its bare conditions rely on.
    pub proves: Cell<bool>,
    /// The indexes that its bare conditions and its outputs rely on.
    pub indexes: RefCell<BTreeSet<Oid>>,
}

/// A level seen from a place in it.
#[derive(Clone, Copy)]
pub(in crate::sql) struct Scope<'p> {
    pub outer: Option<&'p Scope<'p>>,
    pub level: &'p Level,
    /// The items that can be seen; none: all.
    pub window: Option<&'p [usize]>,
    /// Common table expressions in scope, innermost last: name and number.
    pub ctes: &'p [(String, usize)],
}

/// What a column reference means.
#[derive(Debug, Clone)]
pub(in crate::sql) struct Found {
    pub depth: usize,
    pub items: Vec<usize>,
    pub ty: Option<ColumnType>,
    pub kind: ColumnKind,
    pub whole_row: bool,
    /// Items further in that may have a column of that name, since not all of theirs are known: depth and number.
    pub perhaps: Vec<(usize, usize)>,
}

impl Found {
    /// Takes back what is known of its values.
    fn forget(&mut self) {
        self.ty = None;
        if self.kind != ColumnKind::Denied {
            self.kind = ColumnKind::Expression { total: false };
        }
    }
}

impl Level {
    pub fn at(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    /// Relies on indexes from now on. False where the level cannot say so.
    pub fn rely_on(&self, indexes: &[Oid]) -> bool {
        if !indexes.is_empty() && !self.proves.get() {
            return false;
        }
        self.indexes.borrow_mut().extend(indexes);
        true
    }

    /// The items that stand behind an item: itself, or a join alias's members.
    pub fn members(&self, item: usize) -> Vec<usize> {
        match self.items.get(item).map(|i| &i.source) {
            Some(Source::JoinAlias { members }) => members.iter().flat_map(|m| self.members(*m)).collect(),
            _ => vec![item],
        }
    }
}

impl Item {
    /// Whether the client calls it so, or the rewriting does.
    pub fn goes_by(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) || self.was.as_deref() == Some(name)
    }

    /// What the client calls it.
    pub fn known_as(&self) -> Option<&str> {
        self.was.as_deref().or(self.name.as_deref())
    }

    /// Takes over how a copy of it was named.
    pub fn learn(&self, copy: &Self) {
        self.system.set(copy.system.get());
        self.starred.set(copy.starred.get());
        self.placed.set(copy.placed.get());
    }

    /// The system columns that are named of a relation in a derived table.
    pub fn system_columns(&self) -> impl Iterator<Item = &'static str> {
        let named = if self.wrapped.is_some() { self.system.get() } else { 0 };
        SYSTEM_COLUMNS
            .iter()
            .enumerate()
            .filter(move |(n, _)| named >> n & 1 == 1)
            .map(|(_, (name, _))| *name)
    }

    fn column(&self, name: &str) -> Option<(usize, &ItemColumn)> {
        self.columns.iter().enumerate().find(|(_, c)| c.name == name)
    }

    fn system_column(&self, name: &str) -> Option<ItemColumn> {
        let number = SYSTEM_COLUMNS.iter().position(|(n, _)| *n == name)?;
        let (name, oid) = SYSTEM_COLUMNS.get(number)?;
        let has = match &self.source {
            Source::Relation { relation, .. } => relation.kind != RelationKind::View,
            _ => self.wrapped.is_some(),
        };
        if !has {
            return None;
        }
        self.system.set(self.system.get() | 1 << number);
        let ty = ColumnType { oid: *oid, typmod: -1, collation: 0 };
        Some(ItemColumn { name: (*name).to_owned(), ty: Some(ty), kind: ColumnKind::System })
    }
}

impl<'p> Scope<'p> {
    /// The level of this depth, among this one and those around it.
    pub fn level_at(&self, depth: usize) -> Option<&'p Level> {
        if self.level.depth == depth { Some(self.level) } else { self.outer?.level_at(depth) }
    }

    fn sees(&self, item: usize) -> bool {
        self.window.is_none_or(|w| w.contains(&item))
    }

    /// Resolves a column reference of one or two name parts, without `*`.
    pub fn resolve(&self, path: &[&str], location: i32) -> Result<Found, Refusal> {
        match path {
            [name] => self.bare(name, location),
            [table, name] => self.qualified(table, name, location),
            _ => Err(refuse(SqlState::NOT_SUPPORTED, "a column reference has too many parts", location)),
        }
    }

    /// `name`: a column of the innermost level that has one; else the row of an item of that name.
    fn bare(&self, name: &str, location: i32) -> Result<Found, Refusal> {
        let mut scope = Some(self);
        let mut open = Vec::new();
        while let Some(here) = scope {
            if let Some(mut found) = here.bare_here(name, location)? {
                if !open.is_empty() {
                    found.forget();
                }
                return Ok(Found { perhaps: open, ..found });
            }
            open.extend(here.open_items());
            scope = here.outer;
        }
        match self.row_of(name, location)? {
            Some(found) => Ok(Found { perhaps: open, ..found }),
            None if !open.is_empty() => Ok(Found { perhaps: open, ..self.unknown() }),
            None => Err(no_column(&format!("\"{name}\""), location)),
        }
    }

    fn bare_here(&self, name: &str, location: i32) -> Result<Option<Found>, Refusal> {
        let level = self.level;
        let mut found = Vec::new();
        for merged in level.merged.iter().filter(|m| m.column.name == name) {
            if merged.members.iter().any(|(item, _)| self.sees(*item)) {
                let items = merged.members.iter().flat_map(|(item, _)| level.members(*item)).collect();
                found.push(self.found(items, &merged.column));
            }
        }
        for (id, item) in level.items.iter().enumerate().filter(|(id, i)| i.visible && self.sees(*id)) {
            for (number, column) in item.columns.iter().enumerate().filter(|(_, c)| c.name == name) {
                if !level.hidden.contains(&(id, number)) {
                    found.push(self.found(level.members(id), column));
                }
            }
        }
        if found.is_empty() {
            let alone = |(id, item): &(usize, &Item)| item.visible && !item.joined && self.sees(*id);
            for (id, item) in level.items.iter().enumerate().filter(alone) {
                found.extend(item.system_column(name).map(|c| self.found(level.members(id), &c)));
            }
        }
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(refuse(
                SqlState::AMBIGUOUS_COLUMN,
                format!("column reference \"{name}\" is ambiguous"),
                location,
            )),
        }
    }

    fn qualified(&self, table: &str, name: &str, location: i32) -> Result<Found, Refusal> {
        let (scope, id) = self.item_named(table, location)?.ok_or_else(|| {
            refuse(
                SqlState::UNDEFINED_TABLE,
                format!("missing FROM-clause entry for table \"{table}\""),
                location,
            )
        })?;
        let Some(item) = scope.level.items.get(id) else { return Err(no_column(name, location)) };
        if item.row.as_deref() == Some(name) {
            return Ok(scope.whole_row(id));
        }
        if let Some((_, column)) = item.column(name) {
            return Ok(scope.found(scope.level.members(id), column));
        }
        match item.system_column(name) {
            Some(column) => Ok(scope.found(scope.level.members(id), &column)),
            None if item.open => Ok(scope.unknown()),
            None => Err(no_column(&format!("{table}.{name}"), location)
                .hint("The form table.function is not supported: write function(table).")),
        }
    }

    /// The item of a name, in the innermost level that has one.
    pub fn item_named(&self, name: &str, location: i32) -> Result<Option<(&Scope<'p>, usize)>, Refusal> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            let mut matches = (0..here.level.items.len())
                .filter(|id| here.sees(*id) && here.level.items.get(*id).is_some_and(|i| i.goes_by(name)));
            if let Some(id) = matches.next() {
                return match matches.next() {
                    None => Ok(Some((here, id))),
                    Some(_) => Err(ambiguous_table(name, location)),
                };
            }
            scope = here.outer;
        }
        Ok(None)
    }

    /// The relation of this name in this schema that has no alias, in the innermost level that has it.
    pub fn item_of_schema(
        &self,
        schema: &str,
        table: &str,
        location: i32,
    ) -> Result<Option<(&Scope<'p>, usize)>, Refusal> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            let is_it = |item: &Item| item.schema.as_deref() == Some(schema) && item.goes_by(table);
            let mut matches = (0..here.level.items.len())
                .filter(|id| here.sees(*id) && here.level.items.get(*id).is_some_and(is_it));
            if let Some(id) = matches.next() {
                return match matches.next() {
                    None => Ok(Some((here, id))),
                    Some(_) => Err(ambiguous_table(table, location)),
                };
            }
            scope = here.outer;
        }
        Ok(None)
    }

    fn row_of(&self, name: &str, location: i32) -> Result<Option<Found>, Refusal> {
        Ok(self.item_named(name, location)?.map(|(scope, id)| scope.whole_row(id)))
    }

    /// The row of an item of this level.
    pub fn whole_row(&self, item: usize) -> Found {
        Found {
            depth: self.level.depth,
            items: self.level.members(item),
            ty: None,
            kind: ColumnKind::Expression { total: false },
            whole_row: true,
            perhaps: Vec::new(),
        }
    }

    /// The items of this level that may have columns which are not known.
    fn open_items(&self) -> impl Iterator<Item = (usize, usize)> {
        let items = self.level.items.iter().enumerate().filter(|(_, item)| item.open);
        items.map(|(id, _)| (self.level.depth, id))
    }

    fn unknown(&self) -> Found {
        Found {
            depth: self.level.depth,
            items: self.open_items().map(|(_, id)| id).collect(),
            ty: None,
            kind: ColumnKind::Expression { total: false },
            whole_row: false,
            perhaps: Vec::new(),
        }
    }

    fn found(&self, items: Vec<usize>, column: &ItemColumn) -> Found {
        let (depth, kind) = (self.level.depth, column.kind.clone());
        Found { depth, items, ty: column.ty, kind, whole_row: false, perhaps: Vec::new() }
    }
}

fn ambiguous_table(name: &str, location: i32) -> Refusal {
    refuse(SqlState("42P09"), format!("table reference \"{name}\" is ambiguous"), location)
}

fn no_column(name: &str, location: i32) -> Refusal {
    refuse(SqlState::UNDEFINED_COLUMN, format!("column {name} does not exist"), location)
}

fn refuse(state: SqlState, message: impl Into<String>, location: i32) -> Refusal {
    Refusal::new(state, RULE, message).at(location)
}
