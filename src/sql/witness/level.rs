//! One query level: the relations of its FROM, and where each one's predicate must stand.
//!
//! **Rule.** A relation that no outer join of the level can null: WHERE. One that an outer join can null (the
//! right side of LEFT, the left side of RIGHT): the ON of the lowest such join, since in WHERE it would drop the
//! rows that the join preserves, and in a higher ON it comes too late. Under FULL JOIN, under an outer join
//! without ON (NATURAL, USING) and under a join's alias, which hides its legs from WHERE: nowhere; a tenant
//! relation there must stand in a derived table, which is a level of its own.
//!
//! **Why aliases are enough to know a relation by.** PostgreSQL refuses a level in which two visible items have
//! one alias, and an inner level's alias hides an outer one; items below a join's alias are not asked for.

use sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableSample, TableSampleKind,
    TableWithJoins,
};

use super::Walk;
use super::facts::Tenancy;
use super::leaf::{Leaf, Place, leaf};
use super::names::{self, RelationName};
use super::predicate::Access;
use super::scope::Scope;

impl Walk<'_> {
    /// Walks the items of a FROM, and gives its relations.
    pub(super) fn from<'q>(&mut self, items: &'q [TableWithJoins], scope: &Scope<'_>) -> Vec<Leaf<'q>> {
        items.iter().flat_map(|item| self.joined(item, scope)).collect()
    }

    /// Requires each relation's predicate in its place.
    pub(super) fn require(&mut self, leaves: &[Leaf<'_>], selection: Option<&Expr>, access: Access) {
        self.look_ups(selection);
        for leaf in leaves {
            let (place, condition) = match leaf.place {
                Place::Where => ("WHERE", selection),
                Place::On(condition) => ("the ON of the join that nulls it", Some(condition)),
                Place::Nowhere(why) => {
                    if !matches!(leaf.tenancy, Tenancy::Shared | Tenancy::Catalog) {
                        self.contradict(format!(
                            "{} stands {why}, where no predicate holds",
                            leaf.describe()
                        ));
                    }
                    continue;
                }
            };
            let restricted = match (&leaf.tenancy, condition) {
                (Tenancy::Shared | Tenancy::Catalog, _) => true,
                (_, Some(condition)) => self.prover.restricts(condition, leaf, access),
                (_, None) => false,
            };
            if !restricted {
                self.contradict(format!("{} has no tenant predicate in {place}", leaf.describe()));
            }
        }
    }

    fn joined<'q>(&mut self, item: &'q TableWithJoins, scope: &Scope<'_>) -> Vec<Leaf<'q>> {
        let TableWithJoins { relation, joins } = item;
        let mut leaves = self.factor(relation, scope);
        for join in joins {
            let Join { relation, global, join_operator } = join;
            self.expect(!global, "GLOBAL JOIN");
            let mut right = self.factor(relation, scope);
            self.join(join_operator, &mut leaves, &mut right, scope);
            leaves.append(&mut right);
        }
        leaves
    }

    fn join<'q>(
        &mut self,
        operator: &'q JoinOperator,
        left: &mut [Leaf<'q>],
        right: &mut [Leaf<'q>],
        scope: &Scope<'_>,
    ) {
        let constraint = match operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => c,
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => {
                null(right, c);
                c
            }
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => {
                null(left, c);
                c
            }
            JoinOperator::FullOuter(c) => {
                for leaf in left.iter_mut().chain(right.iter_mut()) {
                    leaf.settle(Place::Nowhere("under FULL JOIN"));
                }
                c
            }
            JoinOperator::Semi(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::Anti(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightAnti(_)
            | JoinOperator::CrossApply
            | JoinOperator::OuterApply
            | JoinOperator::AsOf { .. }
            | JoinOperator::StraightJoin(_)
            | JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => {
                return self.cannot_read("a join that PostgreSQL does not have");
            }
        };
        match constraint {
            JoinConstraint::On(condition) => self.expression(condition, scope),
            JoinConstraint::Using(_)
            | JoinConstraint::UsingAlias(..)
            | JoinConstraint::Natural
            | JoinConstraint::None => {}
        }
    }

    /// Walks one item of a FROM.
    pub(super) fn factor<'q>(&mut self, factor: &'q TableFactor, scope: &Scope<'_>) -> Vec<Leaf<'q>> {
        match factor {
            TableFactor::Table { .. } => self.table(factor, scope).into_iter().collect(),
            TableFactor::Derived { lateral: _, subquery, alias, sample } => {
                self.alias(alias.as_ref());
                self.expect(sample.is_none(), "TABLESAMPLE of a sub-select");
                self.query(subquery, scope);
                Vec::new()
            }
            TableFactor::Function { lateral: _, name: _, args, with_ordinality: _, alias } => {
                self.alias(alias.as_ref());
                self.arguments(args, scope);
                Vec::new()
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality: _,
            } => {
                self.alias(alias.as_ref());
                self.expect(!with_offset && with_offset_alias.is_none(), "UNNEST WITH OFFSET");
                self.expressions(array_exprs, scope);
                Vec::new()
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.alias(alias.as_ref());
                let mut leaves = self.joined(table_with_joins, scope);
                if alias.is_some() {
                    for leaf in &mut leaves {
                        leaf.place = Place::Nowhere("under a join's alias");
                    }
                }
                leaves
            }
            TableFactor::TableFunction { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => {
                self.unknown_inside(factor);
                Vec::new()
            }
        }
    }

    fn table<'q>(&mut self, factor: &'q TableFactor, scope: &Scope<'_>) -> Option<Leaf<'q>> {
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality: _,
            partitions,
            json_path,
            sample,
            index_directives,
            inheritance: _,
        } = factor
        else {
            return None;
        };
        let plain = with_hints.is_empty()
            && version.is_none()
            && partitions.is_empty()
            && json_path.is_none()
            && index_directives.is_empty();
        self.expect(plain, "a table with options that PostgreSQL does not have");
        self.alias(alias.as_ref());
        if let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) =
            sample
        {
            self.sample(sample, scope);
        }
        if let Some(args) = args {
            self.expect(args.settings.is_none(), "a function with SETTINGS");
            self.arguments(&args.args, scope);
            return None;
        }
        if names::is_value(name) {
            return None;
        }
        match names::relation(name) {
            Some(RelationName::Bare(name)) if scope.holds(&name) => None,
            Some(RelationName::Qualified { schema, name }) => {
                Some(leaf(self.prover.facts, schema, name, alias.as_ref()))
            }
            Some(RelationName::Bare(_)) | None => {
                self.contradict(format!("relation {name} is neither a CTE nor named with its schema"));
                None
            }
        }
    }

    fn sample(&mut self, sample: &TableSample, scope: &Scope<'_>) {
        let TableSample { modifier: _, name: _, quantity, seed: _, bucket, offset } = sample;
        self.expect(bucket.is_none() && offset.is_none(), "a sample by bucket or offset");
        if let Some(quantity) = quantity {
            self.expression(&quantity.value, scope);
        }
    }

    fn alias(&mut self, alias: Option<&TableAlias>) {
        self.expect(alias.is_none_or(|alias| alias.at.is_none()), "an alias with AT");
    }
}

/// A join nulls the relations of one side: their predicate belongs in its ON, unless a join below has theirs.
fn null<'q>(side: &mut [Leaf<'q>], constraint: &'q JoinConstraint) {
    let place = match constraint {
        JoinConstraint::On(condition) => Place::On(condition),
        JoinConstraint::Using(_)
        | JoinConstraint::UsingAlias(..)
        | JoinConstraint::Natural
        | JoinConstraint::None => Place::Nowhere("on the nullable side of a join without ON"),
    };
    for leaf in side {
        leaf.settle(place);
    }
}
