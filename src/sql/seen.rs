//! Nothing of a client's statement is sent that was not looked at.
//!
//! The walks that bind a statement go where a name can stand; one that forgets a clause would leave what is in it as
//! the client wrote it, and the server would run it so. Therefore what is bound is marked: each name of a relation,
//! call, operator and type's name. What still has the place of the client's text when the statement is rewritten was
//! never looked at, and the statement is refused.
//!
//! The mark is the place itself, turned around, so that an error can still point at it. Places are no part of what
//! [`super::verify`] compares, and what the rewriting adds has none.

use pg_query::protobuf::{AConst, AExpr, FuncCall, Node, RangeVar, TypeName};

use crate::policy::{Refusal, Rule, SqlState};

use super::walk::{Visitor, walk};

/// Marks a place as looked at.
pub(in crate::sql) fn mark(location: &mut i32) {
    if *location > 0 {
        *location = !*location;
    }
}

/// The place in the text, marked or not.
pub(in crate::sql) fn place(location: i32) -> i32 {
    if location < -1 { !location } else { location }
}

/// What a rewritten statement names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sql) struct Names {
    /// It names a relation with its schema.
    pub relations: bool,
}

/// Shows that every name of a rewritten statement was looked at.
///
/// # Errors
/// 0A000 with the place of the first one that was not.
pub(in crate::sql) fn whole(tree: &mut Node) -> Result<Names, Refusal> {
    let mut seen = Seen { left: None, relations: false };
    walk(tree, &mut seen);
    match seen.left {
        None => Ok(Names { relations: seen.relations }),
        Some((what, location)) => {
            let message = format!("{what} at this place is not supported");
            Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("form"), message).at(location))
        }
    }
}

struct Seen {
    left: Option<(&'static str, i32)>,
    relations: bool,
}

impl Seen {
    fn look(&mut self, what: &'static str, location: i32) {
        if location > 0 {
            self.left.get_or_insert((what, location));
        }
    }
}

impl Visitor for Seen {
    fn constant(&mut self, _: &mut AConst) {}

    fn relation(&mut self, relation: &mut RangeVar) {
        self.relations |= !relation.schemaname.is_empty();
        self.look("a relation", relation.location);
    }

    fn call(&mut self, call: &mut FuncCall) {
        self.look("a call", call.location);
    }

    fn operation(&mut self, operation: &mut AExpr) {
        self.look("an operator", operation.location);
    }

    fn type_name(&mut self, name: &mut TypeName) {
        self.look("a type", name.location);
    }

    /// What the walk has no word for is what no rule rewrites: a utility statement.
    fn unknown(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse_one;
    use super::{mark, place, whole};

    #[test]
    fn what_was_not_looked_at_is_refused_at_its_place() {
        for (sql, position) in [
            ("SELECT 1 FROM t", 14),
            ("SELECT f()", 7),
            ("SELECT 1 + 1", 9),
            ("SELECT NULL::int", 13),
            ("SELECT 1 LIMIT (SELECT count(*) FROM t)", 23),
        ] {
            let mut tree = parse_one(sql).unwrap();
            assert_eq!(whole(&mut tree).unwrap_err().position, Some(position), "{sql}");
        }
        assert!(whole(&mut parse_one("SELECT a, 1, 'x', $1 ORDER BY 1").unwrap()).is_ok());
    }

    #[test]
    fn a_marked_place_is_still_the_place() {
        let mut location = 7;
        mark(&mut location);
        assert!(location < 0);
        assert_eq!((place(location), place(-1), place(7)), (7, -1, 7));
        mark(&mut location);
        assert_eq!(place(location), 7);
    }
}
