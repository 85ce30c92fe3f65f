//! COPY … TO STDOUT: a relation becomes a SELECT of its columns that are not generated, behind its predicate;
//! a query is planned like any other.

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, Node, SelectStmt};

use crate::catalog::Generated;
use crate::policy::{Refusal, Rule, SqlState};

use super::super::bind::{Binder, unsupported};
use super::super::build;
use super::super::copy::printable;

const RULE: Rule = Rule("copy");

impl Binder<'_> {
    /// Binds and rewrites a COPY TO STDOUT.
    pub fn copy_to(&mut self, copy: &mut CopyStmt) -> Result<(), Refusal> {
        only_the_wire(copy)?;
        options(&copy.options)?;
        if let Some(name) = copy.relation.take() {
            let mut name = name;
            let relation = self.relation(&mut name)?;
            let columns: Vec<String> = if copy.attlist.is_empty() {
                let plain = relation.columns.iter().filter(|c| c.generated == Generated::Never);
                plain.map(|c| c.name.clone()).collect()
            } else {
                build::names(&copy.attlist)
                    .ok_or_else(|| unsupported("this column list", -1))?
                    .into_iter()
                    .map(str::to_owned)
                    .collect()
            };
            let alias = name.relname.clone();
            let targets = columns.iter().map(|c| build::target(build::column(&[&alias, c]), "")).collect();
            let from = build::node(NodeEnum::RangeVar(name));
            let select: SelectStmt = build::select(targets, vec![from], None);
            copy.attlist.clear();
            copy.query = Some(build::boxed(NodeEnum::SelectStmt(Box::new(select))));
            self.edit(
                build::NOWHERE,
                "COPY of a relation becomes COPY of a SELECT, which its predicate restricts",
            );
        }
        let Some(query) = &mut copy.query else { return Err(unsupported("a COPY of nothing", -1)) };
        self.statement_in(None, &[], query).map(|_| ())
    }
}

/// Files and programs are the server's own.
pub(super) fn only_the_wire(copy: &CopyStmt) -> Result<(), Refusal> {
    if copy.is_program || !copy.filename.is_empty() {
        return Err(Refusal::new(SqlState::DENIED, RULE, "COPY with a file or a program is refused"));
    }
    Ok(())
}

/// The options that change nothing but the form of the rows.
fn options(options: &[Node]) -> Result<(), Refusal> {
    printable(options)?;
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else { continue };
        let known = ["format", "header", "delimiter", "null", "quote", "escape", "force_quote", "encoding"];
        if !known.contains(&option.defname.as_str()) {
            return Err(unsupported(&format!("COPY's option {}", option.defname), option.location));
        }
        let word = match option.arg.as_deref().map(|a| &a.node) {
            Some(Some(NodeEnum::String(word))) => word.sval.as_str(),
            _ => "",
        };
        match option.defname.as_str() {
            "encoding" if !matches!(word.to_ascii_lowercase().as_str(), "utf8" | "utf-8") => {
                return Err(unsupported("COPY in an encoding other than UTF8", option.location));
            }
            // The printer does not print every other word.
            "format" if !matches!(word, "text" | "csv" | "binary") => {
                let message = format!("COPY format \"{word}\" not recognized");
                return Err(Refusal::new(SqlState::INVALID_PARAMETER, RULE, message).at(option.location));
            }
            _ => {}
        }
    }
    Ok(())
}
