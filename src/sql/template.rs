//! Rewritten SQL with holes: the client's literals and the tenant's value are put in when it is sent.

/// The pieces of a statement in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that is always the same.
    Text(String),
    /// The client's literal of this number, as the token it was. `negate` puts a minus before it, where the
    /// grammar folded a sign into the constant.
    Literal {
        /// Index among the statement's lifted literals.
        index: usize,
        /// The constant's sign was folded.
        negate: bool,
    },
    /// The tenant's value: `$n` in the extended protocol, `'value'` in the simple one. The text that follows
    /// casts it to its type.
    Tenant,
}
