//! The snapshot's data and its look-ups.

use std::sync::Arc;

use foldhash::HashMap;

/// An object identifier of the server.
pub type Oid = u32;

/// The catalog at one moment. An `epoch` names it: plans made under another epoch are not used.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Counts the snapshots of this process.
    pub epoch: u64,
    /// What the catalog was like: [`super::fingerprint`].
    pub fingerprint: String,
    /// `server_version_num`.
    pub server_version_num: u32,
    /// `current_database()`.
    pub database: String,
    /// The pinned search path, without `pg_catalog`, which always comes first, and without `pg_temp`,
    /// which never holds anything.
    pub search_path: Vec<String>,
    relations: HashMap<Oid, Arc<Relation>>,
    relation_names: HashMap<String, Vec<(String, Oid)>>,
    types: HashMap<Oid, Arc<Type>>,
    type_names: HashMap<String, Vec<(String, Oid)>>,
    functions: HashMap<String, Vec<Arc<Function>>>,
    functions_by_oid: HashMap<Oid, Arc<Function>>,
    operators: HashMap<String, Vec<Arc<Operator>>>,
    operators_by_oid: HashMap<Oid, Arc<Operator>>,
    casts: HashMap<(Oid, Oid), Cast>,
    collations: HashMap<Oid, Collation>,
    ranges: HashMap<Oid, Range>,
    multiranges: HashMap<Oid, Oid>,
    draws: HashMap<(Oid, i16), Oid>,
}

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

impl Snapshot {
    /// A snapshot with nothing in it but its head.
    pub fn new(epoch: u64, server_version_num: u32, database: String, search_path: Vec<String>) -> Self {
        Self { epoch, server_version_num, database, search_path, ..Self::default() }
    }

    /// Puts a relation in.
    pub fn add_relation(&mut self, relation: Relation) {
        self.relation_names
            .entry(relation.name.clone())
            .or_default()
            .push((relation.schema.clone(), relation.oid));
        self.relations.insert(relation.oid, Arc::new(relation));
    }

    /// Puts a type in.
    pub fn add_type(&mut self, ty: Type) {
        self.type_names.entry(ty.name.clone()).or_default().push((ty.schema.clone(), ty.oid));
        self.types.insert(ty.oid, Arc::new(ty));
    }

    /// Puts a function in.
    pub fn add_function(&mut self, function: Function) {
        let function = Arc::new(function);
        self.functions_by_oid.insert(function.oid, function.clone());
        self.functions.entry(function.name.clone()).or_default().push(function);
    }

    /// Puts an operator in.
    pub fn add_operator(&mut self, operator: Operator) {
        let operator = Arc::new(operator);
        self.operators_by_oid.insert(operator.oid, operator.clone());
        self.operators.entry(operator.name.clone()).or_default().push(operator);
    }

    /// Puts a cast in.
    pub fn add_cast(&mut self, cast: Cast) {
        self.casts.insert((cast.source, cast.target), cast);
    }

    /// Puts a collation in.
    pub fn add_collation(&mut self, collation: Collation) {
        self.collations.insert(collation.oid, collation);
    }

    /// Puts a range type's parts in.
    pub fn add_range(&mut self, range: Range) {
        self.multiranges.insert(range.multirange, range.range);
        self.ranges.insert(range.range, range);
    }

    /// Puts in that a column's default draws from a sequence.
    pub fn add_draw(&mut self, relation: Oid, column: i16, sequence: Oid) {
        self.draws.insert((relation, column), sequence);
    }

    /// The sequence that the default of a column draws from in any case: it is a plain `nextval` or an identity
    /// column's, and the table has no rules.
    pub fn drawn_by_default(&self, relation: Oid, column: i16) -> Option<Oid> {
        self.draws.get(&(relation, column)).copied()
    }

    /// A relation by oid.
    pub fn relation(&self, oid: Oid) -> Option<&Arc<Relation>> {
        self.relations.get(&oid)
    }

    /// Every relation.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// A relation by name: in `schema`, or where the search path finds it first (`pg_catalog` before all).
    pub fn find_relation(&self, schema: Option<&str>, name: &str) -> Option<&Arc<Relation>> {
        self.find_in_path(self.relation_names.get(name)?, schema).and_then(|oid| self.relations.get(&oid))
    }

    /// A type by oid.
    pub fn type_by_oid(&self, oid: Oid) -> Option<&Arc<Type>> {
        self.types.get(&oid)
    }

    /// A type by name: in `schema`, or along the search path.
    pub fn find_type(&self, schema: Option<&str>, name: &str) -> Option<&Arc<Type>> {
        self.find_in_path(self.type_names.get(name)?, schema).and_then(|oid| self.types.get(&oid))
    }

    /// A function by oid.
    pub fn function_by_oid(&self, oid: Oid) -> Option<&Arc<Function>> {
        self.functions_by_oid.get(&oid)
    }

    /// Every overload of a name, of every schema.
    pub fn functions_named(&self, name: &str) -> &[Arc<Function>] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every function.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions_by_oid.values()
    }

    /// An operator by oid.
    pub fn operator_by_oid(&self, oid: Oid) -> Option<&Arc<Operator>> {
        self.operators_by_oid.get(&oid)
    }

    /// Every operator of a name, of every schema.
    pub fn operators_named(&self, name: &str) -> &[Arc<Operator>] {
        self.operators.get(name).map_or(&[], Vec::as_slice)
    }

    /// The cast from one type to another, if `pg_cast` has one.
    pub fn cast(&self, source: Oid, target: Oid) -> Option<&Cast> {
        self.casts.get(&(source, target))
    }

    /// A collation by oid.
    pub fn collation(&self, oid: Oid) -> Option<&Collation> {
        self.collations.get(&oid)
    }

    /// The parts of a range type, if it is one.
    pub fn range(&self, range: Oid) -> Option<&Range> {
        self.ranges.get(&range)
    }

    /// The parts of the range type that a multirange type is made of.
    pub fn range_of_multirange(&self, multirange: Oid) -> Option<&Range> {
        self.ranges.get(self.multiranges.get(&multirange)?)
    }

    /// Whether unqualified names are looked up in `schema`.
    pub fn in_path(&self, schema: &str) -> bool {
        schema == "pg_catalog" || self.search_path.iter().any(|s| s == schema)
    }

    fn find_in_path(&self, candidates: &[(String, Oid)], schema: Option<&str>) -> Option<Oid> {
        let find = |wanted: &str| candidates.iter().find(|(s, _)| s == wanted).map(|(_, oid)| *oid);
        match schema {
            Some(schema) => find(schema),
            None => find("pg_catalog").or_else(|| self.search_path.iter().find_map(|s| find(s))),
        }
    }
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
