//! What the server has, object by object, as far as it matters: fields are named after the columns of the system
//! catalogs that they were read from.

/// An object identifier of the server.
pub type Oid = u32;

/// A relation of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: Oid,
    /// Schema name.
    pub schema: String,
    /// Relation name.
    pub name: String,
    /// `relkind`.
    pub kind: RelationKind,
    /// Live user columns by `attnum`.
    pub columns: Vec<Column>,
    /// `pg_class.reltype`: its row type.
    pub row_type: Oid,
    /// Attribute numbers of the primary key, empty without one.
    pub primary_key: Vec<i16>,
    /// Unique indexes over plain columns without a predicate (the primary key's too).
    pub unique_keys: Vec<Vec<i16>>,
    /// Validated, enforced foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Direct parents in `pg_inherits` (inheritance and partitioning).
    pub inherits: Vec<Oid>,
    /// `relispartition`.
    pub is_partition: bool,
    /// A view's query as `pg_get_viewdef` prints it with an empty search path (views only).
    pub view_definition: Option<String>,
    /// Sequences only: (relation, attnum) of the column that owns it.
    pub owned_by: Option<(Oid, i16)>,
    /// Every index on plain columns or expressions uses an operator class of `pg_catalog`, pg_trgm,
    /// btree_gin or btree_gist.
    pub trusted_opclasses: bool,
    /// Row-level security is enabled.
    pub row_security: bool,
    /// What its full indexes have as keys beside plain columns.
    pub index_expressions: Vec<IndexExpression>,
    /// Attribute numbers of the keys of its full btree indexes, each with its index (a constraint's before others):
    /// such a value is no longer than a key can be.
    pub btree_keys: Vec<(i16, Oid)>,
}

/// An expression that a full index has as a key: it was evaluated on every stored row, of every partition too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexExpression {
    /// As `pg_get_indexdef` prints it with an empty search path.
    pub expression: String,
    /// The index is a btree: the value is no longer than a key can be.
    pub btree: bool,
    /// `pg_index.indexrelid`.
    pub index: Oid,
}

/// `pg_class.relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// `r`
    Table,
    /// `p`
    PartitionedTable,
    /// `v`
    View,
    /// `m`
    MaterializedView,
    /// `S`
    Sequence,
    /// `f`
    ForeignTable,
    /// `i`, `I`, `t`, `c`: never read by name.
    Other,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// `attnum`, from 1.
    pub number: i16,
    /// `attname`.
    pub name: String,
    /// `atttypid`.
    pub type_oid: Oid,
    /// `atttypmod`.
    pub typmod: i32,
    /// `attnotnull`.
    pub not_null: bool,
    /// `attgenerated`.
    pub generated: Generated,
    /// `attidentity` is `a`: only OVERRIDING SYSTEM VALUE may set it.
    pub identity_always: bool,
    /// `attidentity` is not empty, or there is a default.
    pub has_default: bool,
    /// `attcollation`, 0 for none.
    pub collation: Oid,
}

/// `pg_attribute.attgenerated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    /// Not generated.
    Never,
    /// `s`
    Stored,
    /// `v`: an expression, not a stored value.
    Virtual,
}

/// A foreign key: pairs of (own attnum, other's attnum).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// `conname`.
    pub name: String,
    /// The relation that is pointed at.
    pub target: Oid,
    /// Pairs of (own attnum, target's attnum).
    pub columns: Vec<(i16, i16)>,
}

/// A data type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// `pg_type.oid`.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `typtype`: b, c, d, e, p, r or m.
    pub kind: char,
    /// `typcategory`.
    pub category: char,
    /// `typispreferred`.
    pub preferred: bool,
    /// `typelem` where it is a true array (`typlen = -1` and subscriptable), else 0.
    pub element: Oid,
    /// `typarray`.
    pub array: Oid,
    /// `typrelid` of a composite type.
    pub relation: Oid,
    /// `typbasetype` of a domain.
    pub base: Oid,
    /// `typcollation`.
    pub collation: Oid,
    /// Extension that owns it.
    pub extension: Option<String>,
}

/// A function, aggregate or procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// `pg_proc.oid`.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `proargtypes`.
    pub arguments: Vec<Oid>,
    /// `provariadic`, 0 for none.
    pub variadic: Oid,
    /// `pronargdefaults`.
    pub defaults: i16,
    /// `proargnames` of the input arguments; empty where unnamed.
    pub argument_names: Vec<String>,
    /// `prorettype`.
    pub result: Oid,
    /// `proretset`.
    pub returns_set: bool,
    /// Names and types of OUT and TABLE columns.
    pub out_columns: Vec<(String, Oid)>,
    /// `prokind`: f, p, a or w.
    pub kind: char,
    /// `provolatile`: i, s or v.
    pub volatility: char,
    /// `proisstrict`.
    pub strict: bool,
    /// `prolang` is `internal`.
    pub internal: bool,
    /// `prosrc` of internal and C functions, else empty.
    pub source: String,
    /// `proleakproof`.
    pub leakproof: bool,
    /// As the server made it, as far as its code does not say: it belongs to the bootstrap superuser, runs as its
    /// caller with no settings of its own, and its planner support function, if any, is built in.
    pub pristine: bool,
    /// Extension that owns it.
    pub extension: Option<String>,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// `pg_operator.oid`.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `oprleft`, 0 for a prefix operator.
    pub left: Oid,
    /// `oprright`.
    pub right: Oid,
    /// `oprresult`.
    pub result: Oid,
    /// `oprcode`.
    pub function: Oid,
    /// `oprrest` and `oprjoin` are built in (below 16384) or 0.
    pub builtin_estimators: bool,
    /// Extension that owns it.
    pub extension: Option<String>,
}

/// A cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// `castsource`.
    pub source: Oid,
    /// `casttarget`.
    pub target: Oid,
    /// `castcontext`: i, a or e.
    pub context: char,
    /// `castmethod`: f, i or b.
    pub method: char,
    /// `castfunc`, 0 for none.
    pub function: Oid,
}

/// A collation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collation {
    /// `pg_collation.oid`.
    pub oid: Oid,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `collisdeterministic`.
    pub deterministic: bool,
}

/// What a range type is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// `rngtypid`: the range type.
    pub range: Oid,
    /// `rngsubtype`: the type of its bounds.
    pub subtype: Oid,
    /// `rngmultitypid`: its multirange type.
    pub multirange: Oid,
}

impl Relation {
    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// A column by `attnum`.
    pub fn column_numbered(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|c| c.number == number)
    }
}
