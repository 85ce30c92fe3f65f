//! The judgement: a walk over a typed expression, children first.

use crate::catalog::{Function, Oid, Snapshot};

use super::super::resolve::{CastPath, base_type, oid};
use super::super::typed::{Bound, Collation, Expr, merged};
use super::facts::{Facts, LARGEST_BOUND};
use super::proof::{literals, proof_of};
use super::types;
use super::{BindCheck, BindRule, Condition, LARGEST_TEXT, LeakSafe, Total};

/// Why a condition is guarded.
pub(super) type Reason = &'static str;

/// Oids below this one are the server's own (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL_OID: Oid = 16384;

pub(super) fn judge(list: &LeakSafe, catalog: &Snapshot, expr: &Expr) -> Total {
    // An index may be dropped: it counts only where nothing else does.
    match judge_with(list, catalog, expr, None) {
        Total::No { .. } => judge_with(list, catalog, expr, Some(Vec::new())),
        total => total,
    }
}

fn judge_with(list: &LeakSafe, catalog: &Snapshot, expr: &Expr, indexes: Option<Vec<Oid>>) -> Total {
    let mut judge = Judge { list, catalog, pins: Vec::new(), checks: Vec::new(), indexes };
    let outcome = judge.visit(expr);
    let mut pins = judge.pins;
    pins.sort_unstable();
    pins.dedup();
    match outcome {
        Ok(_) => Total::Yes { pins, bind_checks: judge.checks, indexes: judge.indexes.unwrap_or_default() },
        Err(reason) => Total::No { reason, pins },
    }
}

pub(super) struct Judge<'a> {
    pub list: &'a LeakSafe,
    pub catalog: &'a Snapshot,
    pub pins: Vec<i32>,
    pub checks: Vec<BindCheck>,
    /// The indexes that were relied upon; nothing where none counts.
    pub indexes: Option<Vec<Oid>>,
}

impl Judge<'_> {
    /// What is known of an expression that is total, or why it is not.
    fn visit(&mut self, expr: &Expr) -> Result<Facts, Reason> {
        let outcome = self.judged(expr);
        let Err(reason) = outcome else { return outcome };
        let proofs = self.indexes.as_ref().map(|_| &self.list.proofs).ok_or(reason)?;
        let proof = proof_of(proofs, expr).ok_or(reason)?;
        self.rely_on(proof.index);
        // It is this expression with these literals that was evaluated.
        literals(expr, &mut self.pins);
        let bytes = proof.bounded.then_some(LARGEST_BOUND);
        Ok(Facts { columns: true, bytes, ..Facts::default() })
    }

    fn judged(&mut self, expr: &Expr) -> Result<Facts, Reason> {
        match expr {
            Expr::Column(column) if column.virtual_generated => {
                Err("a virtual generated column is an expression")
            }
            Expr::Column(column) if !column.base => Err("a column that is no stored base column"),
            Expr::Column(column) => {
                let bounded = match column.bounded {
                    Some(Bound::Index(index)) => self.rely_on(index),
                    declared => declared.is_some(),
                };
                Ok(Facts::of_column(expr.ty(), bounded))
            }
            Expr::Const { ty, text, .. } => Ok(Facts::of_literal(*ty, text.as_deref())),
            Expr::Param { number, ty } => self.param(*number, ty.oid),
            Expr::Now(_) => Ok(Facts::default()),
            Expr::Op { operator, arguments, .. } => {
                let function = self.catalog.function_by_oid(operator.function).cloned();
                let function = function.ok_or("an operator without a function")?;
                self.applied(self.list.operator(operator.oid), &function, arguments)
            }
            Expr::Call { function, arguments, .. } => {
                self.applied(self.list.function(function.oid), function, arguments)
            }
            Expr::Cast { argument, path, ty } => self.cast(argument, path, ty.oid),
            Expr::ScalarArray { operator, left, array } => {
                self.scalar_array(self.list.operator(operator.oid), left, array)
            }
            Expr::Array { elements, .. } => match self.all(elements)? {
                facts if facts.columns => Err("an array that is built from a column"),
                facts => Ok(facts.without_bounds()),
            },
            Expr::Logic(arguments) => Ok(self.all(arguments)?.unfolded()),
            Expr::NullTest(argument) | Expr::TruthTest(argument) => Ok(self.visit(argument)?.unfolded()),
            Expr::Pairs(pairs) => self.pairs(pairs),
            Expr::Coalesce { arguments, .. } => Ok(Facts { folded: false, ..self.all(arguments)? }),
            Expr::MinMax { arguments, ty } => self.minmax(arguments, ty.oid),
            Expr::Case { conditions, results, .. } => {
                let tested = self.all(conditions)?;
                let facts = self.all(results)?;
                Ok(Facts { columns: facts.columns || tested.columns, folded: false, ..facts })
            }
            Expr::Subscript { container, subscripts, .. } => self.subscript(container, subscripts),
            Expr::Other(reason) => Err(reason),
        }
    }

    /// Writes down that an index is relied upon. False where none counts.
    fn rely_on(&mut self, index: Oid) -> bool {
        let Some(indexes) = &mut self.indexes else { return false };
        if !indexes.contains(&index) {
            indexes.push(index);
        }
        true
    }

    /// Several expressions, and what holds for each of them.
    fn all(&mut self, expressions: &[Expr]) -> Result<Facts, Reason> {
        let mut facts = self.each(expressions)?.into_iter();
        let first = facts.next().ok_or("an expression without arguments")?;
        Ok(facts.fold(first, Facts::joined))
    }

    fn each(&mut self, expressions: &[Expr]) -> Result<Vec<Facts>, Reason> {
        expressions.iter().map(|e| self.visit(e)).collect()
    }

    fn param(&mut self, number: i32, ty: Oid) -> Result<Facts, Reason> {
        let kind = self.catalog.type_by_oid(ty).map(|t| t.kind);
        if ty != oid::UNKNOWN && !matches!(kind, Some('b' | 'e' | 'r' | 'm')) {
            return Err("a parameter of a domain or row type");
        }
        let is_text = types::is_text(ty);
        if is_text {
            self.check(number, BindRule::AtMost(LARGEST_TEXT));
        }
        Ok(Facts { bytes: is_text.then_some(LARGEST_TEXT), ..Facts::default() })
    }

    pub fn check(&mut self, parameter: i32, rule: BindRule) {
        let check = BindCheck { parameter, rule };
        if !self.checks.contains(&check) {
            self.checks.push(check);
        }
    }

    /// An operator or function over its arguments.
    fn applied(
        &mut self,
        condition: Option<Condition>,
        function: &Function,
        arguments: &[Expr],
    ) -> Result<Facts, Reason> {
        let facts = self.each(arguments)?;
        // Of literals alone: evaluated when the statement is planned, before any row.
        let folded = facts.iter().all(|f| f.folded) && is_foldable(function);
        if !folded {
            self.one_collation(arguments)?;
        }
        match condition {
            Some(condition) => match self.meets(condition, function, arguments, &facts) {
                Err(_) if folded => Ok(Facts { folded, ..Facts::default() }),
                outcome => outcome.map(|facts| Facts { folded, ..facts }),
            },
            None if folded => Ok(Facts { folded, ..Facts::default() }),
            None if self.is_of_the_present(function, arguments) => Ok(Facts::default()),
            None => Err("an operator or function that is not known to be total"),
        }
    }

    /// One collation for all inputs, a deterministic one: two that disagree raise 42P22 on the first row that gets
    /// there, and one that is not deterministic raises 0A000 in some functions.
    fn one_collation<'e>(&self, inputs: impl IntoIterator<Item = &'e Expr>) -> Result<(), Reason> {
        match inputs.into_iter().map(|e| e.ty().collation).fold(Collation::None, merged) {
            Collation::None => Ok(()),
            Collation::Indeterminate => Err("collations that disagree"),
            Collation::Explicit(_) => Err("COLLATE"),
            Collation::Implicit(oid) => match self.catalog.collation(oid) {
                Some(collation) if collation.deterministic => Ok(()),
                _ => Err("a collation that is not deterministic"),
            },
        }
    }

    fn cast(&mut self, argument: &Expr, path: &CastPath, target: Oid) -> Result<Facts, Reason> {
        match path {
            CastPath::Identity | CastPath::Binary => self.visit(argument),
            CastPath::Function(function) => {
                let found = self.catalog.function_by_oid(*function).cloned();
                let found = found.ok_or("a cast without a function")?;
                let source = argument.ty().oid;
                let facts =
                    self.applied(self.list.function(*function), &found, std::slice::from_ref(argument))?;
                Ok(Facts { digits: types::digits_of_integer(source, target).or(facts.digits), ..facts })
            }
            CastPath::InOut => {
                let facts = self.visit(argument)?;
                let bytes =
                    types::printed(self.catalog, argument.ty().oid).filter(|_| types::is_varying(target));
                let bytes = bytes.ok_or("a cast by way of text")?;
                Ok(Facts { bytes: Some(bytes), folded: false, digits: None, ..facts })
            }
            CastPath::Array(element) => match self.visit(argument)? {
                facts if !facts.columns && **element == CastPath::Binary => Ok(facts),
                _ => Err("a cast of an array"),
            },
            CastPath::Row | CastPath::Literal => Err("a cast of a row"),
        }
    }

    fn scalar_array(
        &mut self,
        condition: Option<Condition>,
        left: &Expr,
        array: &Expr,
    ) -> Result<Facts, Reason> {
        let both = [self.visit(left)?, self.visit(array)?];
        self.one_collation([left, array])?;
        let comparison = matches!(condition, Some(Condition::Equal | Condition::Order));
        let [left_facts, array_facts] = both;
        if !comparison {
            return Err("an operator that is not known to be total");
        }
        if !types::is_array_of_listed(self.catalog, array.ty().oid) {
            return Err("an array of a type that is not known to be total");
        }
        let order = condition == Some(Condition::Order);
        if order && types::is_text(left.ty().oid) && left_facts.is_unbounded() && array_facts.is_unbounded() {
            return Err("two texts without bounds");
        }
        Ok(left_facts.joined(array_facts).unfolded())
    }

    /// A comparison of rows by order uses the btree operator class of each pair.
    fn pairs(&mut self, pairs: &[Expr]) -> Result<Facts, Reason> {
        for pair in pairs {
            let condition = match pair {
                Expr::Op { operator, .. } => self.list.operator(operator.oid),
                _ => None,
            };
            if !matches!(condition, Some(Condition::Equal | Condition::Order)) {
                return Err("a comparison of rows by an operator that is not known to be total");
            }
        }
        Ok(self.all(pairs)?.unfolded())
    }

    fn minmax(&mut self, arguments: &[Expr], ty: Oid) -> Result<Facts, Reason> {
        let facts = self.each(arguments)?;
        self.one_collation(arguments)?;
        if !types::is_listed_scalar(self.catalog, ty) {
            return Err("a comparison of a type that is not known to be total");
        }
        if types::is_text(ty) && facts.iter().filter(|f| f.is_unbounded()).count() > 1 {
            return Err("two texts without bounds");
        }
        let mut facts = facts.into_iter();
        let first = facts.next().ok_or("an expression without arguments")?;
        Ok(Facts { folded: false, ..facts.fold(first, Facts::joined) })
    }

    fn subscript(&mut self, container: &Expr, subscripts: &[Expr]) -> Result<Facts, Reason> {
        let of = base_type(self.catalog, container.ty().oid);
        if of != oid::JSONB && !types::is_array_of_listed(self.catalog, of) {
            return Err("a subscript of a type that is not known to be total");
        }
        let facts = self.visit(container)?;
        let beside = match subscripts {
            [] => return Err("an expression without arguments"),
            some => self.all(some)?,
        };
        Ok(facts.joined(beside).unfolded())
    }
}

/// Whether the planner folds a call over literals: immutable, no set, no row (evaluate_function, clauses.c). Only the
/// server's own C functions: one in SQL may be inlined to what is not folded.
fn is_foldable(function: &Function) -> bool {
    is_builtin(function)
        && function.kind == 'f'
        && function.volatility == 'i'
        && !function.returns_set
        && function.result != oid::RECORD
}

pub(super) fn is_builtin(function: &Function) -> bool {
    function.internal
        && function.pristine
        && function.schema == "pg_catalog"
        && function.oid < FIRST_NORMAL_OID
}
