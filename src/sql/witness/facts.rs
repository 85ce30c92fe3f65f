//! What the witness must be told: whose rows each relation holds. Nothing of how a statement was rewritten.

/// The tenancy of relations, by schema and name.
pub trait RelationFacts {
    /// Whose rows the relation holds; [`Tenancy::Unknown`] for what no policy knows.
    fn tenancy(&self, schema: &str, name: &str) -> Tenancy;

    /// The place of a column among the relation's live columns, from 0: a column list after an alias renames
    /// columns by place.
    fn column_place(&self, schema: &str, name: &str, column: &str) -> Option<usize>;

    /// The relation's foreign keys that could point at another tenant's row: those to relations of tenants' rows that
    /// neither carry the tenant nor say by their tenancy whose the row is.
    fn keys(&self, schema: &str, name: &str) -> Vec<ForeignKey>;
}

/// A foreign key that a written row must prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Where it points, by which columns.
    pub target: Parent,
    /// Those of its own columns that are null in a row that leaves them out.
    pub null_by_default: Vec<String>,
}

/// Whose rows a relation holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenancy {
    /// A table, or a view declared so, with the tenant in a column.
    Tenant {
        /// The tenant column.
        column: String,
        /// Rows whose tenant column is null may be read by everybody.
        null_is_shared: bool,
    },
    /// A table whose rows belong to whom their parent's row belongs.
    Child {
        /// The possible parents: one, or several of which any may be set.
        parents: Vec<Parent>,
    },
    /// The same rows for everybody.
    Shared,
    /// A system catalog: read only.
    Catalog,
    /// Not known: nothing may name it.
    Unknown,
}

/// A parent of a child relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The parent's schema.
    pub schema: String,
    /// The parent's name.
    pub name: String,
    /// The key: child's column and parent's column.
    pub columns: Vec<(String, String)>,
}
