//! COPY … FROM STDIN: the tenant column is first in the list where the client leaves it out, and the server looks at
//! each row again, as it has read it, in WHERE. How the rows are changed on their way is [`crate::sql::copy`]'s.
//!
//! A COPY cannot prove that a key points at a row of the tenant's: its WHERE has no sub-selects. A relation with such
//! keys among the columns is loaded by the INSERT of one row instead, which proves them.

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, Node};

use crate::catalog::{Generated, Relation, RelationKind};
use crate::config::model::Operation;
use crate::policy::{Refusal, Rule, SqlState, Tenancy};

use super::super::bind::{Binder, Facts, Level, Scope, denied_column, unsupported};
use super::super::build;
use super::super::copy::{Choices, Load, Place, form, recognised};
use super::barrier::Clause;
use super::key_proof::proofs;
use super::predicate::{tenant_value, write_predicate};
use super::sentinel::{Violation, raise_for};
use super::update::Target;

impl Binder<'_> {
    /// Binds and rewrites a COPY FROM STDIN.
    pub fn copy_from(&mut self, copy: &mut CopyStmt) -> Result<(Load, Option<String>), Refusal> {
        super::copy::only_the_wire(copy)?;
        let Choices { form, skips_errors, freezes } = form(&copy.options, self.catalog.server_version_num)?;
        let mut level = Level::at(0);
        let location = copy.relation.as_ref().map_or(-1, |name| name.location);
        let target = self.target_of(&mut level, copy.relation.as_mut(), Operation::Insert)?;
        let relation = target.relation.clone();
        if relation.kind == RelationKind::View {
            let message = format!("cannot copy to view \"{}\"", relation.name);
            return Err(Refusal::new(SqlState("42809"), Rule("copy"), message).at(location));
        }
        let columns = self.copied_columns(&target, copy)?;
        let place = self.place_of_tenant(&target, &columns, copy)?;
        let numbers: Vec<i16> =
            columns.iter().filter_map(|name| relation.column(name).map(|c| c.number)).collect();
        let mut proves = matches!(target.tenancy, Tenancy::Child { .. });
        for proof in proofs(self, &relation, &target.tenancy) {
            proves |= self.must_prove(&relation, &proof, &numbers)?;
        }
        if proves {
            recognised(&copy.options, self.catalog.server_version_num)?;
            if freezes {
                return Err(never_frozen(&relation));
            }
            if copy.where_clause.is_some() || skips_errors || form.default.is_some() {
                let what = "COPY with WHERE, DEFAULT or ON_ERROR into a relation whose keys are proved";
                return Err(unsupported(what, location));
            }
            let insert = insert_of_one_row(&relation, &columns);
            let types = columns.iter().filter_map(|name| relation.column(name)).map(|c| c.type_oid).collect();
            let (relation, inserts) = (relation.name.clone(), Some(types));
            return Ok((Load { form, columns, relation, place: Place::Nowhere, inserts }, Some(insert)));
        }
        self.copy_where(&level, &target, copy)?;
        copy.attlist = columns.iter().map(|name| build::text(name)).collect();
        if let Place::Added { column, .. } = &place {
            copy.attlist.insert(0, build::text(column));
            self.edit(build::NOWHERE, format!("{column} is put before each row with the tenant's value"));
        }
        Ok((Load { form, columns, relation: relation.name.clone(), place, inserts: None }, None))
    }

    /// The columns that the client gives, by name: without a list all that are not generated.
    fn copied_columns(&self, target: &Target, copy: &CopyStmt) -> Result<Vec<String>, Refusal> {
        let relation = &target.relation;
        let plain = || relation.columns.iter().filter(|c| c.generated == Generated::Never);
        let names: Vec<String> = if copy.attlist.is_empty() {
            plain().map(|c| c.name.clone()).collect()
        } else {
            let names = build::names(&copy.attlist).ok_or_else(|| unsupported("this column list", -1))?;
            names.into_iter().map(str::to_owned).collect()
        };
        for name in &names {
            if target.access.denied_columns.contains(name) {
                return Err(denied_column(name, -1));
            }
            if relation.column(name).is_none() {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
                return Err(Refusal::new(SqlState::UNDEFINED_COLUMN, super::super::bind::FORM, message));
            }
        }
        Ok(names)
    }

    fn place_of_tenant(
        &mut self,
        target: &Target,
        columns: &[String],
        copy: &CopyStmt,
    ) -> Result<Place, Refusal> {
        let Tenancy::Tenant { column, .. } = target.tenancy else { return Ok(Place::Nowhere) };
        let relation = &target.relation;
        let lost = || Refusal::new(SqlState::INTERNAL, Rule("copy"), "the tenant column is gone");
        let name = relation.column_numbered(column).map(|c| c.name.clone()).ok_or_else(lost)?;
        // Finds the type of the tenant's value.
        tenant_value(self, relation, column)?;
        let type_oid = self.tenant_type.ok_or_else(lost)?;
        match columns.iter().position(|c| *c == name) {
            Some(index) => Ok(Place::Given { index, type_oid }),
            None if columns.is_empty() => Err(unsupported("a COPY of no columns", -1)),
            None => {
                not_forced(&name, &copy.options)?;
                Ok(Place::Added { column: name, type_oid })
            }
        }
    }

    /// The tenant's lock before the client's own condition: the first conjunct of a COPY's WHERE is evaluated first.
    fn copy_where(&mut self, level: &Level, target: &Target, copy: &mut CopyStmt) -> Result<(), Refusal> {
        let mut facts = Facts::default();
        // Like a join's: no index is to be kept for it.
        let scope = Scope { outer: None, level, window: None, ctes: &[] };
        let condition = self.condition_of(&scope, Clause::On, copy.where_clause.take(), &mut facts)?;
        self.demand_reads(target, &facts)?;
        let mut all: Vec<Node> = Vec::new();
        if let Tenancy::Tenant { column, .. } = target.tenancy {
            all.push(self.lock(&target.relation, &target.tenancy, column, &target.name)?);
        }
        all.extend(condition.map(|condition| *condition));
        copy.where_clause = build::and(all).map(Box::new);
        Ok(())
    }

    /// `CASE WHEN <the row is the tenant's> THEN true WHEN <raise> THEN NULL END`
    fn lock(
        &mut self,
        relation: &Relation,
        tenancy: &Tenancy,
        column: i16,
        alias: &str,
    ) -> Result<Node, Refusal> {
        let own = write_predicate(self, relation, tenancy, alias)?;
        let own = own.ok_or_else(|| unsupported("a COPY of this relation", -1))?;
        let name = relation.column_numbered(column).map(|c| c.name.clone()).unwrap_or_default();
        let raise = raise_for(
            &self.policy.nonce,
            Violation::Tenant,
            &relation.name,
            build::column(&[alias, name.as_str()]),
        );
        self.edit(build::NOWHERE, "a row that is not the tenant's raises before anything is written");
        Ok(build::case(vec![(own, build::boolean(true)), (raise, build::null())], None))
    }
}

/// What the server says to FREEZE (CopyFrom, copyfrom.c) where it does not see it: nobody who is served makes or empties
/// a table.
fn never_frozen(relation: &Relation) -> Refusal {
    if relation.kind == RelationKind::PartitionedTable {
        let message = "cannot perform COPY FREEZE on a partitioned table";
        return Refusal::new(SqlState::NOT_SUPPORTED, Rule("copy"), message);
    }
    let message = "cannot perform COPY FREEZE because the table was not created or truncated in the current subtransaction";
    Refusal::new(SqlState("55000"), Rule("copy"), message)
}

/// The INSERT that stands for a COPY, to be planned like a client's. COPY gives values to identity columns that are
/// always generated, too.
fn insert_of_one_row(relation: &Relation, columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|name| build::quoted_name(name)).collect();
    let values: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    let always = columns.iter().filter_map(|name| relation.column(name)).any(|c| c.identity_always);
    let overriding = if always { " overriding system value" } else { "" };
    format!(
        "insert into {}.{} ({}){overriding} values ({})",
        build::quoted_name(&relation.schema),
        build::quoted_name(&relation.name),
        names.join(", "),
        values.join(", ")
    )
}

/// A column that is not among the client's cannot be forced to be NULL or not NULL, as PostgreSQL says.
fn not_forced(column: &str, options: &[Node]) -> Result<(), Refusal> {
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else { continue };
        let Some(Some(NodeEnum::List(list))) = option.arg.as_deref().map(|arg| &arg.node) else { continue };
        if build::names(&list.items).is_some_and(|names| names.contains(&column)) {
            let what = option.defname.to_ascii_uppercase();
            let message = format!("{what} column \"{column}\" not referenced by COPY");
            return Err(Refusal::new(SqlState::INVALID_COLUMN_REFERENCE, Rule("copy"), message));
        }
    }
    Ok(())
}
