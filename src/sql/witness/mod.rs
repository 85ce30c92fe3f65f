//! The witness: a second parser, with a walk of its own, that must find by itself what the rewriter says it did.
//!
//! **Theorem.** If [`witness`] answers [`Witness::Agrees`] for a text that the server reads as sqlparser does, then
//! 1. every relation of the text is a CTE in scope, or is named with its schema and known to [`RelationFacts`];
//! 2. every row that a query level takes from a tenant relation satisfies `column OPERATOR(pg_catalog.=) $n::type`,
//!    where `$n` is the tenant's parameter (or is a row of nobody that everybody may read): the predicate is a
//!    top-level conjunct of that level's WHERE, or, for a relation that an outer join can null, of the ON of the
//!    lowest such join ([`level`]);
//! 3. the same for a relation that belongs to a tenant through its parent ([`predicate`]);
//! 4. every row that the text writes into a tenant relation has the tenant's value in the tenant column, or the
//!    statement raises; every row that it changes or deletes is the tenant's ([`write`], [`merge`]);
//! 5. every foreign key that it writes, and that does not carry the tenant, is null or points at the tenant's own row
//!    ([`key`]). Through a view no key is looked at: its columns are the view's;
//! 6. each index that it is told of is looked up by name and oid where the statement raises without it ([`index`]).
//!
//! It shares no code with the rewriter or the verifier, and no data but the tenancy of relations and those indexes. It knows the
//! forms that the rewriter prints and no others: another form of the same meaning is contradicted.
//!
//! Not checked here: in which order the server evaluates conditions (guards and fences), what functions do,
//! columns, privileges, and that sqlparser's reading is PostgreSQL's. Those are the rewriter's and the
//! verifier's. What sqlparser cannot read, or reads into a form that this walk does not know, is
//! [`Witness::CannotRead`]: never a silent yes. A contradiction outweighs it.

mod copy;
mod cut;
mod dialect;
mod expression;
mod facts;
mod forms;
mod guard;
mod index;
mod key;
mod leaf;
mod level;
mod merge;
mod names;
mod predicate;
mod scope;
mod statement;
mod tokens;
mod write;

pub use facts::{ForeignKey, Parent, RelationFacts, Tenancy};
pub use index::Index;

use sqlparser::ast::Statement;
use sqlparser::parser::{Parser, ParserOptions};

use dialect::Reader;
use predicate::Prover;
use scope::Scope;

/// Texts over this many bytes are not read: sqlparser recurses once per operator of a chain, about 1 KiB of
/// stack each, and the planning threads' stacks are finite.
pub const MAX_BYTES: usize = 128 << 10;

/// Nesting that sqlparser follows before it gives up.
const MAX_NESTING: usize = 500;

/// What the second parser says of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// Every relation is qualified, and every tenant relation carries its predicate.
    Agrees,
    /// The text, or a part of it, is beyond sqlparser or beyond this walk.
    CannotRead(String),
    /// A relation or a write is not restricted to the tenant, or not in a form that is known to be.
    Contradicts(String),
}

/// Reads the final text of a statement, with the tenant as `$tenant_parameter`, and looks for each predicate.
///
/// Recurses as deep as the statement does: call it on a planning thread only.
pub fn witness(sql: &str, tenant_parameter: u16, facts: &dyn RelationFacts) -> Witness {
    witness_relying_on(sql, tenant_parameter, facts, Vec::new())
}

/// The same for a text whose conditions rely on indexes.
pub fn witness_relying_on(
    sql: &str,
    tenant_parameter: u16,
    facts: &dyn RelationFacts,
    indexes: Vec<Index>,
) -> Witness {
    if sql.len() > MAX_BYTES {
        return Witness::CannotRead(format!("the text is longer than {MAX_BYTES} bytes"));
    }
    let mut walk = Walk { unproved: indexes, ..Walk::new(facts, tenant_parameter) };
    match walk.text(sql) {
        Ok(()) => walk.finish(),
        Err(reason) => Witness::CannotRead(reason),
    }
}

/// What of a text the witness cannot read, whatever its relations: nothing when it follows all of it.
///
/// Recurses as [`witness`] does.
pub fn unreadable(sql: &str) -> Option<String> {
    /// Everybody's relations: only reading is asked for.
    struct Everything;
    impl RelationFacts for Everything {
        fn tenancy(&self, _: &str, _: &str) -> Tenancy {
            Tenancy::Shared
        }
        fn column_place(&self, _: &str, _: &str, _: &str) -> Option<usize> {
            None
        }
        fn keys(&self, _: &str, _: &str) -> Vec<ForeignKey> {
            Vec::new()
        }
    }
    let mut walk = Walk::new(&Everything, 1);
    match walk.text(sql) {
        Ok(()) => walk.unreadable,
        Err(reason) => Some(reason),
    }
}

/// Parses one statement.
fn read(sql: &str) -> Result<Statement, String> {
    let tokens = tokens::of(sql)?;
    let mut statements = Parser::new(&Reader)
        .with_options(ParserOptions::new().with_unescape(false))
        .with_recursion_limit(MAX_NESTING)
        .with_tokens(tokens)
        .parse_statements()
        .map_err(|error| error.to_string())?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err("the text is not one statement".into()),
    }
}

/// One walk over a statement. It goes on after a finding, so that what cannot be read hides no contradiction.
struct Walk<'a> {
    prover: Prover<'a>,
    contradiction: Option<String>,
    unreadable: Option<String>,
    /// Indexes that were not looked up yet.
    unproved: Vec<Index>,
}

impl<'a> Walk<'a> {
    fn new(facts: &'a dyn RelationFacts, tenant_parameter: u16) -> Self {
        Self {
            prover: Prover::new(facts, tenant_parameter),
            contradiction: None,
            unreadable: None,
            unproved: Vec::new(),
        }
    }

    fn text(&mut self, sql: &str) -> Result<(), String> {
        match copy::read(sql) {
            Some(copy) => self.copy_from(&copy?, &Scope::outermost()),
            None => self.statement(&read(sql)?, &Scope::outermost()),
        }
        Ok(())
    }

    fn contradict(&mut self, reason: impl Into<String>) {
        self.contradiction.get_or_insert_with(|| reason.into());
    }

    fn cannot_read(&mut self, what: impl Into<String>) {
        self.unreadable.get_or_insert_with(|| what.into());
    }

    fn expect(&mut self, known: bool, what: &str) {
        if !known {
            self.cannot_read(what);
        }
    }

    fn finish(self) -> Witness {
        match (self.contradiction, self.unreadable, self.unproved.first()) {
            (Some(reason), ..) => Witness::Contradicts(reason),
            (None, Some(what), _) => Witness::CannotRead(what),
            (None, None, Some(index)) => Witness::Contradicts(format!("{} is not looked up", index.name)),
            (None, None, None) => Witness::Agrees,
        }
    }
}

#[cfg(test)]
mod tests;
