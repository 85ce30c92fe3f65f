//! The walk over expressions. Every node kind that an expression can hold is named here or in `json.rs`;
//! any other is refused by its name, so nothing is let through unseen.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AIndirection, ColumnRef, Node, SubLink, SubLinkType};

use crate::policy::{Refusal, SqlState};

use super::super::build;
use super::scope::{ColumnKind, Found, Scope};
use super::{Binder, FORM};

/// What an expression or a query reads and does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sql) struct Facts {
    /// Items that are read: (depth of the level, number in it).
    pub reads: BTreeSet<(usize, usize)>,
    /// Columns that are read of items whose key GROUP BY may lean on: depth, number of the item, name.
    pub grouped: BTreeSet<(usize, usize, String)>,
    /// The same of GROUPING's arguments, which must stand in GROUP BY as they are.
    pub grouping: BTreeSet<(usize, usize, String)>,
    /// A sub-select of it holds tenants' rows.
    pub tenanted: bool,
    pub volatile: bool,
    pub sublink: bool,
    pub aggregate: bool,
    /// An aggregate of it belongs to a level around the one where it stands, for it names columns of such alone
    /// (check_agglevels_and_constraints, parse_agg.c).
    pub around: bool,
    pub window: bool,
    pub set_returning: bool,
}

impl Facts {
    /// Adds reads of one level.
    pub fn read(&mut self, depth: usize, items: impl IntoIterator<Item = usize>) {
        self.reads.extend(items.into_iter().map(|item| (depth, item)));
    }

    pub fn merge(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.grouped.extend(other.grouped);
        self.grouping.extend(other.grouping);
        self.tenanted |= other.tenanted;
        self.volatile |= other.volatile;
        self.sublink |= other.sublink;
        self.aggregate |= other.aggregate;
        self.around |= other.around;
        self.window |= other.window;
        self.set_returning |= other.set_returning;
    }

    /// What of it concerns the levels around a level of this depth.
    pub fn below(mut self, depth: usize) -> Self {
        self.reads.retain(|(d, _)| *d < depth);
        self.grouped.retain(|(d, ..)| *d < depth);
        self.grouping.retain(|(d, ..)| *d < depth);
        Self { aggregate: false, window: false, set_returning: false, sublink: false, ..self }
    }

    /// What a call does that reads and does this, at a level of this depth: an aggregate, or one over a window.
    pub fn of_rows(&mut self, aggregate: bool, window: bool, depth: usize) {
        self.window |= window;
        self.aggregate |= aggregate && !window;
        let own = self.reads.iter().any(|(at, _)| *at >= depth);
        self.around |= aggregate && !window && !own && !self.reads.is_empty();
    }
}

impl Binder<'_> {
    /// DEFAULT where it may stand, or an expression.
    pub fn expression_or_default(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Node,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        match node.node {
            Some(NodeEnum::SetToDefault(_)) => Ok(()),
            _ => self.expression(scope, node, facts),
        }
    }

    /// Binds the names of an expression in place and adds what it reads to `facts`.
    pub fn expression(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Node,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let Some(inner) = &mut node.node else { return Err(super::unsupported("an empty expression", -1)) };
        match inner {
            NodeEnum::AConst(_) => Ok(()),
            NodeEnum::ParamRef(parameter) => self.parameter(parameter.number, parameter.location),
            NodeEnum::ColumnRef(column) => self.column_ref(scope, column, facts),
            NodeEnum::AExpr(expr) => self.operator_expression(scope, expr, facts),
            NodeEnum::BoolExpr(expr) => self.all(scope, &mut expr.args, facts),
            NodeEnum::SubLink(sublink) => self.sublink(scope, sublink, facts),
            NodeEnum::FuncCall(call) => self.call(scope, call, facts),
            NodeEnum::TypeCast(cast) => self.type_cast(scope, cast, facts),
            NodeEnum::CollateClause(collate) => {
                let found = build::names(&collate.collname).is_some();
                if !found {
                    return Err(super::unsupported("this COLLATE", collate.location));
                }
                self.optional(scope, &mut collate.arg, facts)
            }
            NodeEnum::AIndirection(indirection) => self.indirection(scope, indirection, facts),
            NodeEnum::AArrayExpr(array) => self.all(scope, &mut array.elements, facts),
            NodeEnum::RowExpr(row) => self.row_expression(scope, row, facts),
            NodeEnum::List(list) => self.all(scope, &mut list.items, facts),
            NodeEnum::CaseExpr(case) => {
                self.optional(scope, &mut case.arg, facts)?;
                for when in &mut case.args {
                    let Some(NodeEnum::CaseWhen(when)) = &mut when.node else {
                        return Err(super::unsupported(&super::kind_of(when), case.location));
                    };
                    self.optional(scope, &mut when.expr, facts)?;
                    self.optional(scope, &mut when.result, facts)?;
                }
                self.optional(scope, &mut case.defresult, facts)
            }
            NodeEnum::CoalesceExpr(expr) => self.all(scope, &mut expr.args, facts),
            NodeEnum::MinMaxExpr(expr) => self.all(scope, &mut expr.args, facts),
            NodeEnum::NullTest(test) => self.optional(scope, &mut test.arg, facts),
            NodeEnum::BooleanTest(test) => self.optional(scope, &mut test.arg, facts),
            NodeEnum::NamedArgExpr(arg) => self.optional(scope, &mut arg.arg, facts),
            NodeEnum::GroupingFunc(grouping) => {
                let mut own = Facts::default();
                self.all(scope, &mut grouping.args, &mut own)?;
                facts.grouping.extend(std::mem::take(&mut own.grouped));
                facts.merge(own);
                Ok(())
            }
            NodeEnum::SqlvalueFunction(function) => self.value_function(function.op, function.location),
            NodeEnum::XmlExpr(xml) => {
                self.targets(scope, &mut xml.named_args, facts)?;
                self.all(scope, &mut xml.args, facts)
            }
            NodeEnum::XmlSerialize(xml) => {
                if let Some(name) = &mut xml.type_name {
                    self.type_name(name)?;
                }
                self.optional(scope, &mut xml.expr, facts)
            }
            NodeEnum::JsonIsPredicate(_)
            | NodeEnum::JsonValueExpr(_)
            | NodeEnum::JsonObjectConstructor(_)
            | NodeEnum::JsonArrayConstructor(_)
            | NodeEnum::JsonArrayQueryConstructor(_)
            | NodeEnum::JsonObjectAgg(_)
            | NodeEnum::JsonArrayAgg(_)
            | NodeEnum::JsonFuncExpr(_)
            | NodeEnum::JsonParseExpr(_)
            | NodeEnum::JsonScalarExpr(_)
            | NodeEnum::JsonSerializeExpr(_)
            | NodeEnum::JsonKeyValue(_)
            | NodeEnum::JsonArgument(_)
            // The server takes it in RETURNING of a MERGE alone.
            | NodeEnum::MergeSupportFunc(_) => self.json(scope, inner, facts),
            _ => Err(super::unsupported(&format!("{} in an expression", super::kind_of(node)), -1)),
        }
    }

    /// Every expression of a list.
    pub fn all(&mut self, scope: &Scope<'_>, nodes: &mut [Node], facts: &mut Facts) -> Result<(), Refusal> {
        nodes.iter_mut().try_for_each(|node| self.expression(scope, node, facts))
    }

    /// An expression that may be absent.
    pub fn optional(
        &mut self,
        scope: &Scope<'_>,
        node: &mut Option<Box<Node>>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        node.as_deref_mut().map_or(Ok(()), |node| self.expression(scope, node, facts))
    }

    /// The values of a list of named outputs.
    pub fn targets(
        &mut self,
        scope: &Scope<'_>,
        nodes: &mut [Node],
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        nodes.iter_mut().try_for_each(|node| match &mut node.node {
            Some(NodeEnum::ResTarget(target)) => self.named_value(scope, target, facts).map(|_| ()),
            _ => self.expression(scope, node, facts),
        })
    }

    pub(super) fn resolve_ref(&self, scope: &Scope<'_>, column: &ColumnRef) -> Result<Found, Refusal> {
        let path =
            build::names(&column.fields).ok_or_else(|| super::unsupported("* here", column.location))?;
        scope.resolve(&path, column.location)
    }

    /// What a bound column reference means.
    pub fn column_found(&self, scope: &Scope<'_>, column: &ColumnRef) -> Option<Found> {
        self.resolve_ref(scope, column).ok()
    }

    fn column_ref(
        &mut self,
        scope: &Scope<'_>,
        column: &mut ColumnRef,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        self.without_schema(scope, column)?;
        let whole_row_star = matches!(column.fields.last().map(|f| &f.node), Some(Some(NodeEnum::AStar(_))));
        let location = column.location;
        let found = if whole_row_star {
            let fields = column.fields.split_last().map_or(&[][..], |(_, q)| q);
            let path = build::names(fields).unwrap_or_default();
            let Some(name) = path.last() else { return Err(super::unsupported("* here", location)) };
            let named = scope.item_named(name, location)?;
            let (at, id) = named.ok_or_else(|| super::unsupported("this row reference", location))?;
            at.whole_row(id)
        } else {
            self.resolve_ref(scope, column)?
        };
        self.check_denied(scope, &found, column)?;
        let level = scope.level_at(found.depth);
        let apart = self.name_anew(scope, column, &found);
        if found.whole_row && !apart {
            let items = found.items.iter().filter_map(|id| level?.items.get(*id));
            items.for_each(|item| item.placed.set(true));
        }
        let meant = found.items.iter().map(|id| (found.depth, *id)).chain(found.perhaps.iter().copied());
        for item in meant.filter_map(|(depth, id)| scope.level_at(depth)?.items.get(id)) {
            facts.tenanted |= self.is_tenanted(&item.source);
            facts.reads.extend(item.reads.iter().copied());
        }
        if let ([id], Some(level)) = (found.items.as_slice(), level)
            && let Some(item) = level.items.get(*id).filter(|i| !i.key.is_empty())
        {
            let name = build::names(&column.fields).and_then(|n| n.last().map(|n| (*n).to_owned()));
            let whole = found.whole_row && !apart;
            let one = |c: &&super::ItemColumn| whole || name.as_ref() == Some(&c.name);
            let read = item.columns.iter().filter(one).map(|c| (found.depth, *id, c.name.clone()));
            facts.grouped.extend(read);
            if found.kind == ColumnKind::System || apart {
                facts.grouped.extend(name.map(|name| (found.depth, *id, name)));
            }
        }
        facts.read(found.depth, found.items);
        facts.reads.extend(found.perhaps);
        Ok(())
    }

    /// Columns that the role may not name; a whole row names them all.
    fn check_denied(&self, scope: &Scope<'_>, found: &Found, column: &ColumnRef) -> Result<(), Refusal> {
        if found.kind == ColumnKind::Denied {
            let name = build::names(&column.fields).and_then(|p| p.last().map(|n| (*n).to_owned()));
            return Err(super::denied_column(&name.unwrap_or_default(), column.location));
        }
        if found.whole_row {
            let items = scope.level_at(found.depth).map(|l| &l.items);
            let denied = found
                .items
                .iter()
                .filter_map(|id| items?.get(*id))
                .flat_map(|item| &item.columns)
                .find(|c| c.kind == ColumnKind::Denied);
            if let Some(denied) = denied {
                return Err(super::denied_column(&denied.name, column.location));
            }
        }
        Ok(())
    }

    fn parameter(&mut self, number: i32, location: i32) -> Result<(), Refusal> {
        match u16::try_from(number) {
            Ok(number) if number > 0 => {
                self.parameters = self.parameters.max(number);
                Ok(())
            }
            _ => Err(Refusal::new(SqlState("42P02"), FORM, format!("there is no parameter ${number}"))
                .at(location)),
        }
    }

    fn sublink(
        &mut self,
        scope: &Scope<'_>,
        sublink: &mut SubLink,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let location = sublink.location;
        match SubLinkType::try_from(sublink.sub_link_type) {
            Ok(
                SubLinkType::ExistsSublink
                | SubLinkType::AllSublink
                | SubLinkType::AnySublink
                | SubLinkType::ExprSublink
                | SubLinkType::ArraySublink,
            ) => {}
            _ => return Err(super::unsupported("this sub-select", location)),
        }
        self.optional(scope, &mut sublink.testexpr, facts)?;
        self.sublink_operator(sublink)?;
        let Some(query) = &mut sublink.subselect else {
            return Err(super::unsupported("an empty sub-select", location));
        };
        let output = self.planned_alone(scope, query)?;
        let tenanted = output.tenanted;
        self.query_name = output.columns.into_iter().next().map(|column| column.name);
        facts.merge(output.facts);
        facts.tenanted |= tenanted;
        facts.sublink = true;
        Ok(())
    }

    /// A query inside an expression. The names that are made in it can be made again beside it, so that a
    /// copy of it stays a copy: GROUP BY and DISTINCT compare expressions.
    pub fn inner_query(&mut self, scope: &Scope<'_>, query: &mut Node) -> Result<super::Output, Refusal> {
        let made = self.aliases;
        let output = self.statement_in(Some(scope), scope.ctes, query);
        self.aliases = made;
        output
    }

    /// The same of a query of which no join is made before it has been planned for itself.
    pub fn planned_alone(&mut self, scope: &Scope<'_>, query: &mut Node) -> Result<super::Output, Refusal> {
        let root = std::mem::replace(&mut self.root, scope.level.depth.saturating_add(1));
        let output = self.inner_query(scope, query);
        self.root = root;
        output
    }

    fn indirection(
        &mut self,
        scope: &Scope<'_>,
        indirection: &mut AIndirection,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        self.optional(scope, &mut indirection.arg, facts)?;
        let name = self.query_name.take();
        for step in &mut indirection.indirection {
            match &mut step.node {
                Some(NodeEnum::AIndices(indices)) => {
                    self.optional(scope, &mut indices.lidx, facts)?;
                    self.optional(scope, &mut indices.uidx, facts)?;
                }
                // `(row).field` can also be the call field(row).
                Some(NodeEnum::String(field)) => {
                    let field = field.sval.clone();
                    self.field_of(scope, indirection.arg.as_deref(), &field)?;
                }
                Some(NodeEnum::AStar(_)) => {}
                _ => return Err(super::unsupported(&super::kind_of(step), -1)),
            }
        }
        self.query_name = name;
        Ok(())
    }

    /// A field of a composite value must be a real column of it.
    fn field_of(&self, scope: &Scope<'_>, arg: Option<&Node>, field: &str) -> Result<(), Refusal> {
        let known = match arg.map(|n| &n.node) {
            Some(Some(NodeEnum::ColumnRef(column))) => {
                let found = self.resolve_ref(scope, column)?;
                if found.whole_row {
                    let items = scope.level_at(found.depth).map(|l| &l.items);
                    let mut columns =
                        found.items.iter().filter_map(|i| items?.get(*i)).flat_map(|i| &i.columns);
                    columns.any(|c| c.name == field && c.kind != ColumnKind::Denied)
                } else {
                    found.ty.is_some_and(|ty| self.composite_has(ty.oid, field))
                }
            }
            _ => false,
        };
        // No function of that name: then it can only be a field.
        if known || self.catalog.functions_named(field).is_empty() {
            return Ok(());
        }
        let message = format!("column \"{field}\" not found in this value");
        Err(Refusal::new(SqlState::UNDEFINED_COLUMN, FORM, message))
    }

    fn composite_has(&self, oid: crate::catalog::Oid, field: &str) -> bool {
        let relation = self.catalog.type_by_oid(oid).and_then(|t| self.catalog.relation(t.relation));
        relation.is_some_and(|r| r.column(field).is_some())
    }
}
