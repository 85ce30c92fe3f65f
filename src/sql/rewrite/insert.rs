//! INSERT: the tenant column gets the tenant's value in every row, whether the client names it or not; keys
//! are proved. A source that is a SELECT is changed in its own output list, arm by arm.

use pg_query::NodeEnum;
use pg_query::protobuf::{InsertStmt, Node, ResTarget, SelectStmt, SetOperation};

use crate::catalog::{Generated, Relation, RelationKind};
use crate::config::model::Operation;
use crate::policy::{Refusal, Rule, SqlState, Tenancy};

use super::super::bind::{self, Binder, FORM, Facts, Level, Output, Scope, is_star, unsupported};
use super::super::build;
use super::assignment::target_column;
use super::key_proof::{Proof, is_constant, is_null, left_null, proofs};
use super::predicate::tenant_value;
use super::update::Target;

/// What has to happen to each row of a source.
struct RowRule {
    /// The tenant column and its position among the columns; none: it is appended.
    tenant: Option<(i16, Option<usize>)>,
    proofs: Vec<Proof>,
    /// It is a child of several possible parents: one of them must be set.
    several: bool,
    /// The columns by position; none for what a proof need not know.
    columns: Vec<i16>,
}

impl Binder<'_> {
    /// Binds and rewrites an INSERT.
    pub fn insert(&mut self, ctes: &[(String, usize)], insert: &mut InsertStmt) -> Result<Output, Refusal> {
        let names = self.with_clause(None, ctes, insert.with_clause.as_mut())?;
        let mut level = Level::at(0);
        let target = self.target_of(&mut level, insert.relation.as_mut(), Operation::Insert)?;
        let mut facts = Facts::default();
        let width = self.source(&names, insert)?;
        let rule = self.row_rule(&target, insert, width)?;
        self.write_source(&target, insert, &rule)?;
        if let Some(clause) = &mut insert.on_conflict_clause {
            self.on_conflict(&level, &names, &target, clause, &mut facts)?;
        }
        let scope = Scope { outer: None, level: &level, window: None, ctes: &names };
        let bind::Outputs { columns, open } =
            self.returning(&scope, &target, insert.returning_clause.as_mut(), &mut facts)?;
        self.fence_ctes(&names, insert.with_clause.as_mut());
        Ok(Output { columns, open, tenanted: true, facts: Facts::default(), ..Output::default() })
    }

    /// Binds the source and gives the number of its columns; 0 for DEFAULT VALUES.
    fn source(&mut self, ctes: &[(String, usize)], insert: &mut InsertStmt) -> Result<usize, Refusal> {
        let Some(source) = &mut insert.select_stmt else { return Ok(0) };
        let Some(NodeEnum::SelectStmt(select)) = &mut source.node else {
            return Err(unsupported("this source of an INSERT", -1));
        };
        self.explicit_outputs = true;
        Ok(self.select(None, ctes, select)?.columns.len())
    }

    /// What each row needs.
    fn row_rule(
        &mut self,
        target: &Target,
        insert: &mut InsertStmt,
        width: usize,
    ) -> Result<RowRule, Refusal> {
        let relation = &target.relation;
        let (columns, parts) = self.target_columns(target, insert, width)?;
        let tenant = match target.tenancy {
            Tenancy::Tenant { column, .. } => Some((column, columns.iter().position(|c| *c == column))),
            Tenancy::Child { .. } | Tenancy::Shared | Tenancy::Denied => None,
        };
        let mut needed = Vec::new();
        let proofs = proofs(self, relation, &target.tenancy);
        let decides = |part: &i16| {
            tenant.is_some_and(|(column, _)| column == *part)
                || proofs.iter().any(|proof| proof.own_columns().any(|own| own == *part))
        };
        if parts.iter().any(decides) {
            return Err(unsupported("an INSERT into a part of a key", -1));
        }
        for proof in proofs {
            if self.must_prove(relation, &proof, &columns)? {
                needed.push(proof);
            }
        }
        let several = matches!(&target.tenancy, Tenancy::Child { parents } if parents.len() > 1);
        if several && !needed.iter().any(Proof::is_one_of_several) {
            return Err(nobodys(relation));
        }
        if !several
            && matches!(target.tenancy, Tenancy::Child { .. })
            && needed.iter().all(Proof::is_nullable)
        {
            return Err(unsupported(&format!("an INSERT into {} with no parent key", relation.name), -1));
        }
        Ok(RowRule { tenant, proofs: needed, columns, several })
    }

    /// The columns of an INSERT, whose list is made explicit; and those of them of which a part is written.
    fn target_columns(
        &mut self,
        target: &Target,
        insert: &mut InsertStmt,
        width: usize,
    ) -> Result<(Vec<i16>, Vec<i16>), Refusal> {
        let relation = &target.relation;
        if insert.cols.is_empty() && insert.select_stmt.is_some() {
            insert.cols = relation.columns.iter().take(width).map(|c| column_target(&c.name)).collect();
        }
        let (mut columns, mut parts) = (Vec::new(), Vec::new());
        for node in &mut insert.cols {
            let Some(NodeEnum::ResTarget(column)) = &mut node.node else {
                return Err(unsupported("this column list", -1));
            };
            let number = target_column(relation, &target.access, column)?;
            if !column.indirection.is_empty() {
                self.subscripts(column)?;
                parts.extend(number);
            }
            columns.extend(number);
        }
        if insert.select_stmt.is_some() && columns.len() < width {
            let message = "INSERT has more expressions than target columns";
            return Err(Refusal::new(SqlState::SYNTAX, FORM, message));
        }
        Ok((columns, parts))
    }

    /// Binds the subscripts of `INSERT INTO t (a[1])`, which can name nothing of the row.
    fn subscripts(&mut self, column: &mut ResTarget) -> Result<(), Refusal> {
        let level = Level::at(0);
        let scope = Scope { outer: None, level: &level, window: None, ctes: &[] };
        let mut facts = Facts::default();
        for step in &mut column.indirection {
            match &mut step.node {
                Some(NodeEnum::AIndices(indices)) => {
                    self.optional(&scope, &mut indices.lidx, &mut facts)?;
                    self.optional(&scope, &mut indices.uidx, &mut facts)?;
                }
                _ => return Err(unsupported("an INSERT into a field of a column", column.location)),
            }
        }
        Ok(())
    }

    /// A key is proved when all of it is written; it need not be when none of it is and it stays null.
    pub fn must_prove(&self, relation: &Relation, proof: &Proof, columns: &[i16]) -> Result<bool, Refusal> {
        let written = proof.own_columns().filter(|own| columns.contains(own)).count();
        if written == proof.own_columns().count() {
            return Ok(true);
        }
        let mut absent = proof.own_columns().filter(|own| !columns.contains(own));
        let stays_null = |own: i16| {
            relation.column_numbered(own).is_some_and(|c| !c.has_default && c.generated == Generated::Never)
        };
        // The tenant column is written by us: a key of which it is a part is proved with the tenant's value.
        if absent.any(stays_null) && proof.is_nullable() {
            return Ok(false);
        }
        Err(unsupported(
            &format!("an INSERT into {} that leaves a part of a foreign key to its default", relation.name),
            -1,
        ))
    }

    fn write_source(
        &mut self,
        target: &Target,
        insert: &mut InsertStmt,
        rule: &RowRule,
    ) -> Result<(), Refusal> {
        let relation = target.relation.clone();
        if relation.kind == RelationKind::View && rule.tenant.is_none() {
            return Err(unsupported("an INSERT through a view without a tenant column", -1));
        }
        let appended = match rule.tenant {
            Some((column, None)) => {
                let name = relation.column_numbered(column).map(|c| c.name.clone()).unwrap_or_default();
                insert.cols.push(column_target(&name));
                self.edit(build::NOWHERE, format!("{name} is added with the tenant's value"));
                Some(column)
            }
            Some((_, Some(_))) => {
                self.edit(
                    build::NOWHERE,
                    "the tenant column gets the tenant's value, or the statement raises",
                );
                None
            }
            None => None,
        };
        if insert.select_stmt.is_none() {
            let Some(column) = appended else { return Ok(()) };
            let value = tenant_value(self, &relation, column)?;
            let mut select = build::select(Vec::new(), Vec::new(), None);
            select.values_lists = vec![list(vec![value])];
            insert.select_stmt = Some(build::boxed(NodeEnum::SelectStmt(Box::new(select))));
            return Ok(());
        }
        match insert.select_stmt.as_deref_mut().map(|n| &mut n.node) {
            Some(Some(NodeEnum::SelectStmt(select))) => self.rows_of(&relation, select, rule),
            _ => Err(unsupported("this source of an INSERT", -1)),
        }
    }

    /// Applies the rule to every row of a source.
    fn rows_of(
        &mut self,
        relation: &Relation,
        select: &mut SelectStmt,
        rule: &RowRule,
    ) -> Result<(), Refusal> {
        if select.op != SetOperation::SetopNone as i32 {
            for arm in [&mut select.larg, &mut select.rarg].into_iter().flatten() {
                self.rows_of(relation, arm, rule)?;
            }
            return Ok(());
        }
        if !select.values_lists.is_empty() {
            for row in &mut select.values_lists {
                let Some(NodeEnum::List(row)) = &mut row.node else {
                    return Err(unsupported("this VALUES list", -1));
                };
                self.row(relation, &mut row.items, rule)?;
            }
            return Ok(());
        }
        let needs_values = !rule.proofs.is_empty() || matches!(rule.tenant, Some((_, Some(_))));
        let stars = select.target_list.iter().any(is_star);
        if needs_values && stars {
            return Err(unsupported("an INSERT whose SELECT gives keys through *", -1)
                .hint("Name the columns in the SELECT."));
        }
        let mut values: Vec<Node> = Vec::new();
        for target in &mut select.target_list {
            let Some(NodeEnum::ResTarget(target)) = &mut target.node else {
                return Err(unsupported("this output", -1));
            };
            values.push(target.val.take().map(|v| *v).unwrap_or_default());
        }
        let before = values.len();
        if !select.from_clause.is_empty() || values.iter().any(|value| self.makes_rows(value)) {
            rule.proofs.iter().try_for_each(|proof| self.refuse_varying_key(&rule.key(proof, &values)))?;
        }
        self.row(relation, &mut values, rule)?;
        let mut values = values.into_iter();
        for target in select.target_list.iter_mut().take(before) {
            if let Some(NodeEnum::ResTarget(target)) = &mut target.node {
                target.val = values.next().map(Box::new);
            }
        }
        select.target_list.extend(values.map(|value| build::target(value, "")));
        Ok(())
    }

    /// Of several parents one at least must be set: the proof that says so, and the conditions under which its own key
    /// may be null. None where a constant is set.
    fn parent_that_is_set(
        &self,
        relation: &Relation,
        values: &[Node],
        rule: &RowRule,
    ) -> Result<Option<(usize, Vec<Node>)>, Refusal> {
        let unset = |value: &Node| is_null(value) || matches!(value.node, Some(NodeEnum::SetToDefault(_)));
        let mut carrier = None;
        let mut others = Vec::new();
        for (number, proof) in rule.proofs.iter().enumerate().filter(|(_, p)| p.is_one_of_several()) {
            let key = rule.key(proof, values);
            if key.iter().any(|(_, value)| unset(value)) {
                continue;
            }
            if carrier.is_none() && !key.iter().all(|(_, value)| is_constant(value)) {
                carrier = Some(number);
                continue;
            }
            let mut tests = Vec::new();
            for (column, value) in &key {
                tests.extend(self.is_set(relation, *column, value)?);
            }
            match build::and(tests) {
                Some(test) => others.push(test),
                None => return Ok(None),
            }
        }
        carrier.map(|number| Some((number, others))).ok_or_else(|| nobodys(relation))
    }

    /// Applies the rule to one row's values.
    fn row(&mut self, relation: &Relation, values: &mut Vec<Node>, rule: &RowRule) -> Result<(), Refusal> {
        let mut set = if rule.several { self.parent_that_is_set(relation, values, rule)? } else { None };
        for (number, proof) in rule.proofs.iter().enumerate() {
            let by_column = rule.key(proof, values);
            let or_set = set.take_if(|(carrier, _)| *carrier == number).map(|(_, others)| others);
            if left_null(relation, proof, &by_column)? {
                continue;
            }
            let proved = self.prove_key(relation, proof, &by_column, or_set)?;
            let first = proof.own_columns().next();
            let position = rule.columns.iter().position(|c| Some(*c) == first);
            if let (Some(proved), Some(value)) = (proved, position.and_then(|p| values.get_mut(p))) {
                *value = proved;
            }
        }
        match rule.tenant {
            Some((column, Some(position))) => {
                let Some(value) = values.get_mut(position) else {
                    return Err(unsupported("a row that is too short", -1));
                };
                let given = std::mem::take(value);
                let guarded = self.tenant_assignment(relation, column, given)?;
                if let Some(value) = values.get_mut(position) {
                    *value = guarded;
                }
            }
            Some((column, None)) => values.push(tenant_value(self, relation, column)?),
            None => {}
        }
        Ok(())
    }
}

impl RowRule {
    /// The values of a key in a row, by own column.
    fn key(&self, proof: &Proof, values: &[Node]) -> Vec<(i16, Node)> {
        let of_key = |column: &i16| proof.own_columns().any(|own| own == *column);
        let given = self.columns.iter().zip(values).filter(|(column, _)| of_key(column));
        given.map(|(column, value)| (*column, value.clone())).collect()
    }
}

/// 42501 of a row that no parent would make a tenant's.
fn nobodys(relation: &Relation) -> Refusal {
    let message = format!("new row violates tenant isolation for table \"{}\"", relation.name);
    Refusal::new(SqlState::DENIED, Rule("tenant-column"), message).hint("Set the key of a parent.")
}

fn column_target(name: &str) -> Node {
    build::node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: name.to_owned(),
        indirection: Vec::new(),
        val: None,
        location: build::NOWHERE,
    })))
}

fn list(items: Vec<Node>) -> Node {
    build::node(NodeEnum::List(pg_query::protobuf::List { items }))
}
