//! Rewritten SQL with holes: the client's literals and the tenant's value are put in when it is sent.

use super::channel::PLACEHOLDER;

/// The number of the parameter that stands for the tenant's value in a rewritten tree: no client can write it, since
/// bounds refuse numbers over 65 535.
pub const TENANT_PARAMETER: i32 = i32::MAX;

/// The pieces of a statement in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// The pieces.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// What names of the server's prepared statements begin with; a number follows.
    pub const PREPARED: &'static str = "pgb_s";

    /// Makes the name of the EXECUTE that this text is a hole; false where it does not stand at its front.
    pub(in crate::sql) fn open_name(&mut self) -> bool {
        let Some(Piece::Text(text)) = self.pieces.first() else { return false };
        let Some((front, rest)) = text.split_once(Self::PREPARED) else { return false };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '(' | ')' | ',');
        let ends = rest.chars().next().is_none_or(|c| matches!(c, ' ' | '('));
        if !front.ends_with("EXECUTE ") || !front.chars().all(plain) || !ends {
            return false;
        }
        let mut pieces = vec![Piece::Text(front.to_owned()), Piece::Prepared];
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        self.pieces.splice(..1, pieces);
        true
    }

    /// Makes the channel of a LISTEN, UNLISTEN or NOTIFY a hole; false where it does not stand at its front.
    pub(in crate::sql) fn open_channel(&mut self, client: &str) -> bool {
        let Some(Piece::Text(text)) = self.pieces.first() else { return false };
        let Some((front, rest)) = text.split_once(PLACEHOLDER) else { return false };
        if !matches!(front, "LISTEN " | "UNLISTEN " | "NOTIFY ")
            || !(rest.is_empty() || rest.starts_with(','))
        {
            return false;
        }
        let mut pieces = vec![Piece::Text(front.to_owned()), Piece::Channel(client.to_owned())];
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        self.pieces.splice(..1, pieces);
        true
    }
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
    /// The server's name of the prepared statement that an EXECUTE runs.
    Prepared,
    /// The server's name of the tenant's channel of this name.
    Channel(String),
    /// The tenant's value: `$n` in the extended protocol, `'value'` in the simple one. The text that follows
    /// casts it to its type.
    Tenant,
}
