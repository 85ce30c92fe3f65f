//! The catalog at one moment, and its look-ups.

use std::sync::Arc;

use foldhash::HashMap;

use super::objects::{Cast, Collation, Function, Oid, Operator, Range, Relation, Type};

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
