//! Whether the last gate lets a printed text through for a tree.

use pg_query::protobuf::Node;
use pgbulkhead::sql::{Piece, Statement, Template, verify};

/// Verifies a text without literals as what a tree was printed as.
pub fn verified(tree: &Node, printed: &str) -> bool {
    let statement = Statement {
        text: printed,
        offset: 0,
        shape: printed.to_owned(),
        literals: Vec::new(),
        modern_number: None,
        parameter_types: Vec::new(),
    };
    let template = Template { pieces: vec![Piece::Text(printed.to_owned())] };
    verify(tree, template, &statement, u16::MAX).is_ok()
}
