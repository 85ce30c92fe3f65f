//! `[tenancy]`, `[[tables]]`, `[[functions]]`, `[[sequences]]` and `[[roles]]`: whose rows are whose, and who may do what.

/// `[tenancy]`.
#[derive(Debug, Clone)]
pub struct Tenancy {
    /// The tenant column's name.
    pub column: String,
    /// The barrier against leaking conditions.
    pub barrier: Barrier,
    /// What a row means whose tenant column is null.
    pub nulls: Nulls,
}

/// `barrier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// Conditions that may raise or leak wait behind the tenant predicate.
    Auto,
    /// They do not; the planner's statistics are open too.
    Off,
}

/// `nulls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Nobody's.
    Hidden,
    /// Everybody may read it.
    Shared,
}

/// One `[[tables]]`.
#[derive(Debug, Clone)]
pub struct Table {
    /// `schema.relation`.
    pub name: QualifiedName,
    /// Whose rows it holds.
    pub kind: TableKind,
    /// Restricts what any role may do; none: select, insert, update and delete (shared: select only).
    pub access: Option<Vec<Operation>>,
}

/// `kind` of a table, with what that kind needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// Has a tenant column.
    Tenant {
        /// Where it differs from `[tenancy] column`.
        column: Option<String>,
        /// Where it differs from `[tenancy] nulls`.
        nulls: Option<Nulls>,
    },
    /// Tenancy comes through a parent.
    Child {
        /// The parents; more than one: of whichever key is set.
        parents: Vec<ParentLink>,
    },
    /// The same for all.
    Shared,
    /// Nobody's.
    Denied,
}

/// How a child finds its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentLink {
    /// The parent relation.
    pub parent: QualifiedName,
    /// Pairs of (child column, parent column).
    pub on: Vec<(String, String)>,
}

/// A name with its schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// Schema, as stored in the catalog.
    pub schema: String,
    /// Relation, function or sequence, as stored in the catalog.
    pub name: String,
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What is done to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Read.
    Select,
    /// Add rows.
    Insert,
    /// Change rows.
    Update,
    /// Remove rows.
    Delete,
}

/// One `[[functions]]`.
#[derive(Debug, Clone)]
pub struct FunctionRule {
    /// `schema.function`: every overload of it.
    pub name: QualifiedName,
    /// What it may be trusted with.
    pub kind: FunctionKind,
}

/// `kind` of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// Its result depends on its arguments alone and it touches nothing else.
    Pure,
}

/// One `[[sequences]]`.
#[derive(Debug, Clone)]
pub struct SequenceRule {
    /// `schema.sequence`.
    pub name: QualifiedName,
    /// Any of `nextval`, `currval`.
    pub access: Vec<SequenceAccess>,
}

/// What may be done with a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceAccess {
    /// `nextval`.
    Nextval,
    /// `currval`.
    Currval,
}

/// One `[[roles]]`. A role that users name and that has no entry may do everything that tenancy allows.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Only select, whatever the rules say.
    pub read_only: bool,
    /// Relations without a rule: allowed as far as tenancy allows (`true`), or denied.
    pub default_allow: bool,
    /// `[[roles.rules]]`.
    pub rules: Vec<RoleRule>,
}

/// One rule of a role.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// The relation.
    pub table: QualifiedName,
    /// What may be done with it.
    pub allow: Vec<Operation>,
    /// Columns that may not be seen or set.
    pub denied_columns: Vec<String>,
}
