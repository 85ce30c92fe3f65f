//! SET search_path. Names are resolved by the path that the configuration gives and leave qualified, so a client's own path
//! would mean nothing; but an application may well say at each connection what is so already.

use pg_query::NodeEnum;
use pg_query::protobuf::{VariableSetKind, VariableSetStmt};

use crate::policy::{Refusal, SqlState};
use crate::sql::bind::Binder;

use super::{RULE, constant_text};

/// Where temporary objects would be. It is behind every server connection's path, where it shadows nothing.
const TEMPORARY: &str = "pg_temp";
/// It is searched first wherever it is not named.
const SYSTEM: &str = "pg_catalog";

impl Binder<'_> {
    /// Admits a SET to the path that the server connections have, and a RESET to it. What is sent is SET TO DEFAULT: the
    /// path that a connection began with, to the letter, since it is watched.
    ///
    /// # Errors
    /// 42501 for any other path.
    pub(in crate::sql) fn search_path(&mut self, set: &mut VariableSetStmt) -> Result<(), Refusal> {
        match VariableSetKind::try_from(set.kind) {
            Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => return Ok(()),
            Ok(VariableSetKind::VarSetValue) => {}
            _ => return Err(other_path(set.location)),
        }
        let names = set.args.iter().map(constant_text).collect::<Option<Vec<_>>>();
        let names = names.ok_or_else(|| other_path(set.location))?;
        if !is_same(&names, &self.catalog.search_path) {
            return Err(other_path(set.location));
        }
        for arg in &set.args {
            if let Some(NodeEnum::AConst(constant)) = &arg.node {
                self.pins.extend(self.statement.literal_at(constant.location));
            }
        }
        set.args.clear();
        set.kind = VariableSetKind::VarSetDefault as i32;
        Ok(())
    }
}

/// Whether a path is the configured one, with or without what every path has.
fn is_same(names: &[String], configured: &[String]) -> bool {
    let plain = |path: &[String]| {
        let path = path.strip_prefix(&[SYSTEM.to_owned()]).unwrap_or(path);
        path.strip_suffix(&[TEMPORARY.to_owned()]).unwrap_or(path).to_vec()
    };
    plain(names) == plain(configured)
}

fn other_path(location: i32) -> Refusal {
    Refusal::new(SqlState::DENIED, RULE, "the search_path is the one of the configuration, and stays")
        .hint("Name the schema: schema.relation.")
        .at(location)
}
