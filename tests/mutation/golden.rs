//! Golden statements: the file beside this one, and the rewriter's own golden files.

use pg_query::protobuf::Node;
use pgbulkhead::policy::Refusal;
use pgbulkhead::sql::witness::{Index, witness_relying_on};
use pgbulkhead::sql::{Piece, Statement, Template, VerifiedSql, Witness, verify};

use crate::mutants::Mutant;
use crate::schema::App;

/// A rewritten statement.
pub struct Golden {
    pub name: String,
    pub rewritten: String,
    /// The indexes that it relies on.
    indexes: Vec<Index>,
    tenant: u16,
}

#[derive(serde::Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    rewritten: Option<String>,
    #[serde(default)]
    indexes: Vec<(String, u32)>,
}

/// The golden statements of this test: what each mutant of theirs changes is in the witness's theorem.
pub fn own() -> Vec<Golden> {
    let own: File = toml::from_str(include_str!("golden.toml")).expect("golden.toml is well formed");
    own.case.into_iter().filter_map(|case| Golden::new(case, 9)).collect()
}

/// Every golden statement that the witness can read, the rewriter's own cases too.
pub fn all() -> Vec<Golden> {
    let mut all = every();
    all.retain(Golden::is_readable);
    all
}

/// The others: they stand on the verifier alone, and the audit log says so.
pub fn unread() -> Vec<Golden> {
    let mut all = every();
    // What is done without a statement of the server's is told in words.
    all.retain(|golden| !golden.is_readable() && pg_query::parse(&golden.rewritten, 0).is_ok());
    all
}

fn every() -> Vec<Golden> {
    let own: File = toml::from_str(include_str!("golden.toml")).expect("golden.toml is well formed");
    let mut cases = own.case;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rewrite");
    for entry in std::fs::read_dir(folder).expect("the rewriter's golden files") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        cases.extend(toml::from_str::<File>(&text).expect("a well-formed file of cases").case);
    }
    cases.into_iter().filter_map(|case| Golden::new(case, 9)).collect()
}

/// Why the witness may agree with a mutant; nothing where there is no reason.
pub fn accepted(mutant: &Mutant) -> Option<&'static str> {
    // Agreeing, it has found every relation's predicate outside the guard that was changed.
    mutant.in_guard.then_some("only a guard of the client's condition was changed (order is the verifier's)")
}

impl Golden {
    fn new(case: Case, tenant: u16) -> Option<Self> {
        let indexes = case.indexes.into_iter().map(|(name, oid)| Index { name, oid }).collect();
        Some(Self { name: case.name, rewritten: case.rewritten?, indexes, tenant })
    }

    fn is_readable(&self) -> bool {
        !matches!(self.witness(&self.rewritten), Witness::CannotRead(_))
    }

    /// What the verifier says when `printed` is to be sent for this statement.
    pub fn verify(&self, printed: &str) -> Result<VerifiedSql, Refusal> {
        let statement = Statement {
            text: &self.name,
            offset: 0,
            shape: self.name.clone(),
            literals: Vec::new(),
            modern_number: None,
            parameter_types: Vec::new(),
        };
        verify(&self.tree(), self.template(printed), &statement, self.tenant)
    }

    /// What the witness says of `printed`.
    pub fn witness(&self, printed: &str) -> Witness {
        witness_relying_on(printed, self.tenant, &App, self.indexes.clone())
    }

    fn mark(&self) -> String {
        format!("${}", self.tenant)
    }

    /// The rewriter's tree: the tenant under its own number.
    fn tree(&self) -> Node {
        let sql = self.rewritten.replace(&self.mark(), "$2147483647");
        let parsed = pg_query::parse(&sql, 0).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        *parsed.protobuf.stmts[0].stmt.clone().expect("a statement")
    }

    fn template(&self, printed: &str) -> Template {
        let mut pieces = Vec::new();
        for (i, part) in printed.split(&self.mark()).enumerate() {
            if i > 0 {
                pieces.push(Piece::Tenant);
            }
            pieces.push(Piece::Text(part.to_owned()));
        }
        Template { pieces }
    }
}
