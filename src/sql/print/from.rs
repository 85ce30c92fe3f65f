//! FROM: relations, joins, sub-selects and functions.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, JoinExpr, JoinType, Node, RangeFunction, RangeSubselect, RangeVar};

use super::Printer;
use super::expression::Rule;

impl Printer {
    pub(super) fn from(&mut self, items: &[Node]) -> Option<()> {
        if items.is_empty() {
            return Some(());
        }
        self.clause("FROM ");
        self.items(items)
    }

    pub(super) fn items(&mut self, items: &[Node]) -> Option<()> {
        self.list(items, Self::item)
    }

    fn item(&mut self, item: &Node) -> Option<()> {
        match item.node.as_ref()? {
            NodeEnum::RangeVar(relation) => self.relation(relation, " "),
            NodeEnum::JoinExpr(join) => self.deeper(|printer| printer.join(join)),
            NodeEnum::RangeSubselect(subselect) => self.derived(subselect),
            NodeEnum::RangeFunction(function) => self.function_item(function),
            _ => None,
        }
    }

    /// A relation's name; `before_alias` stands between it and its alias.
    pub(super) fn relation(&mut self, relation: &RangeVar, before_alias: &str) -> Option<()> {
        let RangeVar { catalogname, schemaname, relname, inh, relpersistence: _, alias, location: _ } =
            relation;
        if !inh {
            self.put("ONLY ");
        }
        for qualifier in [catalogname, schemaname] {
            if !qualifier.is_empty() {
                self.name(qualifier);
                self.put(".");
            }
        }
        self.name(relname);
        if let Some(alias) = alias {
            self.put(before_alias);
            self.alias(alias)?;
        }
        Some(())
    }

    fn alias(&mut self, alias: &Alias) -> Option<()> {
        let Alias { aliasname, colnames } = alias;
        self.name(aliasname);
        self.column_names(colnames)
    }

    /// A list of columns in parentheses, where there is one.
    pub(super) fn column_names(&mut self, names: &[Node]) -> Option<()> {
        if names.is_empty() {
            return Some(());
        }
        self.put("(");
        self.list(names, |printer, name| printer.name_of(name))?;
        self.put(")");
        Some(())
    }

    fn join(&mut self, join: &JoinExpr) -> Option<()> {
        let JoinExpr {
            jointype: _,
            is_natural,
            larg,
            rarg,
            using_clause,
            join_using_alias: None,
            quals,
            alias,
            rtindex: _,
        } = join
        else {
            return None;
        };
        if alias.is_some() {
            self.put("(");
        }
        self.item(larg.as_deref()?)?;
        if *is_natural {
            self.put(" NATURAL");
        }
        let conditional = *is_natural || quals.is_some() || !using_clause.is_empty();
        self.put(match join.jointype() {
            JoinType::JoinInner if conditional => " JOIN ",
            JoinType::JoinInner => " CROSS JOIN ",
            JoinType::JoinLeft => " LEFT JOIN ",
            JoinType::JoinFull => " FULL JOIN ",
            JoinType::JoinRight => " RIGHT JOIN ",
            _ => return None,
        });
        let right = rarg.as_deref()?;
        let nested = matches!(&right.node, Some(NodeEnum::JoinExpr(inner)) if inner.alias.is_none());
        if nested {
            self.put("(");
        }
        self.item(right)?;
        if nested {
            self.put(")");
        }
        if let Some(quals) = quals {
            self.put(" ON ");
            self.expression(quals, Rule::A)?;
        }
        if !using_clause.is_empty() {
            self.put(" USING ");
            self.column_names(using_clause)?;
        }
        if let Some(alias) = alias {
            self.put(" ) ");
            self.alias(alias)?;
        }
        Some(())
    }

    fn derived(&mut self, item: &RangeSubselect) -> Option<()> {
        let RangeSubselect { lateral, subquery, alias } = item;
        if *lateral {
            self.put("LATERAL ");
        }
        self.subselect(subquery.as_deref())?;
        if let Some(alias) = alias {
            self.put(" ");
            self.alias(alias)?;
        }
        Some(())
    }

    fn function_item(&mut self, item: &RangeFunction) -> Option<()> {
        let RangeFunction { lateral, ordinality, is_rowsfrom: false, functions, alias, coldeflist } = item
        else {
            return None;
        };
        let [only] = functions.as_slice() else { return None };
        let NodeEnum::List(function) = only.node.as_ref()? else { return None };
        let [call, Node { node: None }] = function.items.as_slice() else { return None };
        let NodeEnum::FuncCall(call) = call.node.as_ref()? else { return None };
        if !coldeflist.is_empty() || call.over.is_some() || !call.agg_order.is_empty() {
            return None;
        }
        if *lateral {
            self.put("LATERAL ");
        }
        self.call(call)?;
        if *ordinality {
            self.put(" WITH ORDINALITY");
        }
        if let Some(alias) = alias {
            self.put(" ");
            self.alias(alias)?;
        }
        Some(())
    }
}
