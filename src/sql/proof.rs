//! The barrier, shown on the server that is connected (rule R24).
//!
//! The barrier holds because of what PostgreSQL's planner does not do: it takes no condition out of a CASE and
//! puts no sort below a scan's filter. Each major is a new planner, and somebody may run a patched one. So
//! before a database is served, one guarded statement of each kind is planned by the server itself, and its
//! plan must show the guard where it was put.

use std::collections::BTreeSet;

use serde_json::Value;

use super::build::quoted_name;
use super::{Action, Limits, World, plan, statements};
use crate::catalog::{Relation, RelationKind};
use crate::config::model::Operation;
use crate::policy::Tenancy;

/// A constant that stands in each probe's guarded condition and nowhere else, so that a plan shows where the
/// condition went.
const MARK: &str = "424242";

/// How many columns of how many relations are tried for each kind of probe.
const MOST_TRIED: usize = 200;

/// A guarded statement whose plan is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What it is a statement of, for the error.
    pub kind: &'static str,
    /// The rewritten statement. The tenant is its only parameter.
    pub sql: String,
    /// The relation whose own filter is looked at.
    relation: String,
    shows: Shows,
}

/// Where a plan must show the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Wherever the marked condition is, it is inside a CASE.
    ConditionInside,
    /// The scan of the relation has a filter with a CASE, so that every sort is above it.
    FilterOfScan,
}

/// One statement of each kind that this policy has a relation for, as one of `roles` may send it. Recurses as
/// planning does: call it on a planning thread.
pub fn probes(world: &World, roles: &BTreeSet<&str>) -> Vec<Probe> {
    KINDS.iter().filter_map(|kind| probe(world, roles, kind)).collect()
}

impl Probe {
    /// What is wrong with the server's plan of the probe (EXPLAIN with FORMAT JSON), if anything.
    pub fn fault(&self, explained: &Value) -> Option<String> {
        let mut seen = Seen::default();
        self.look(explained, "", &mut seen);
        let fault = match (seen.bare, seen.guarded) {
            (Some(text), _) => format!("the condition stands outside of its guard: {text}"),
            (None, false) => "the guard is nowhere in the plan".to_owned(),
            (None, true) => return None,
        };
        Some(format!("the barrier does not hold for {} on {}: {fault}", self.kind, self.relation))
    }

    fn look(&self, value: &Value, key: &str, seen: &mut Seen) {
        match value {
            Value::Object(fields) => {
                if self.shows == Shows::FilterOfScan && self.is_scanned_by(fields) {
                    let filter = fields.get("Filter").and_then(Value::as_str).unwrap_or_default();
                    seen.take(filter.contains("CASE"), filter);
                }
                fields.iter().for_each(|(key, field)| self.look(field, key, seen));
            }
            Value::Array(items) => items.iter().for_each(|item| self.look(item, key, seen)),
            Value::String(text) if self.shows == Shows::ConditionInside && key != "Sort Key" => {
                if let Some(at) = text.find(MARK) {
                    seen.take(text.get(..at).is_some_and(|before| before.contains("CASE")), text);
                }
            }
            _ => {}
        }
    }

    fn is_scanned_by(&self, node: &serde_json::Map<String, Value>) -> bool {
        node.get("Relation Name").and_then(Value::as_str) == Some(self.relation.as_str())
    }
}

/// What was found in a plan.
#[derive(Debug, Default)]
struct Seen {
    guarded: bool,
    bare: Option<String>,
}

impl Seen {
    fn take(&mut self, guarded: bool, text: &str) {
        match guarded {
            true => self.guarded = true,
            false => self.bare = Some(text.to_owned()),
        }
    }
}

/// A kind of probe: its statement is text with `{t}` for the relation and `{c}` for a column.
struct Kind {
    name: &'static str,
    statement: &'static str,
    child: bool,
    shows: Shows,
}

/// A cast of a column to another type can fail and says the value then: it is never bare.
const KINDS: [Kind; 6] = [
    Kind {
        name: "a condition",
        statement: "SELECT 1 FROM {t} r WHERE r.{c}::text::int4 = 424242",
        child: false,
        shows: Shows::ConditionInside,
    },
    Kind {
        name: "a condition over the nullable side of a join",
        statement: "SELECT 1 FROM {t} a LEFT JOIN {t} r ON a.{c} = r.{c} \
                    WHERE r.{c}::text::int4 IS DISTINCT FROM 424242",
        child: false,
        shows: Shows::ConditionInside,
    },
    Kind {
        name: "HAVING",
        statement: "SELECT r.{c} FROM {t} r GROUP BY r.{c} HAVING r.{c}::text::int4 = 424242",
        child: false,
        shows: Shows::ConditionInside,
    },
    Kind {
        name: "a condition over a fenced sub-select",
        statement: "SELECT 1 FROM (SELECT r.{c}::text AS x FROM {t} r OFFSET 0) d WHERE d.x::int4 = 424242",
        child: false,
        shows: Shows::ConditionInside,
    },
    Kind {
        name: "a condition over a child table",
        statement: "SELECT 1 FROM {t} r WHERE r.{c}::text::int4 = 424242",
        child: true,
        shows: Shows::ConditionInside,
    },
    Kind {
        name: "a sort over a child table",
        statement: "SELECT r.{c} FROM {t} r ORDER BY r.{c}::text::int4 LIMIT 1",
        child: true,
        shows: Shows::FilterOfScan,
    },
];

/// The first statement of a kind that planning allows for some role.
fn probe(world: &World, roles: &BTreeSet<&str>, kind: &Kind) -> Option<Probe> {
    let mut relations: Vec<_> =
        world.catalog.relations().filter(|relation| is_of(world, relation, kind)).collect();
    relations.sort_by_key(|relation| relation.oid);
    let columns =
        relations.into_iter().flat_map(|relation| relation.columns.iter().map(move |c| (relation, c)));
    columns.take(MOST_TRIED).find_map(|(relation, column)| {
        let table = format!("{}.{}", quoted_name(&relation.schema), quoted_name(&relation.name));
        let text = kind.statement.replace("{t}", &table).replace("{c}", &quoted_name(&column.name));
        let may_read = |role: &&&str| world.policy.access(role, relation).allows(Operation::Select);
        let sql = roles.iter().filter(may_read).find_map(|role| rewritten(world, role, &text))?;
        Some(Probe { kind: kind.name, sql, relation: relation.name.clone(), shows: kind.shows })
    })
}

/// Whether a kind asks for such a relation.
fn is_of(world: &World, relation: &Relation, kind: &Kind) -> bool {
    let fits = match world.policy.tenancy(relation.oid) {
        Tenancy::Tenant { .. } => !kind.child,
        Tenancy::Child { .. } => kind.child,
        Tenancy::Shared | Tenancy::Denied => false,
    };
    fits && relation.kind == RelationKind::Table
}

fn rewritten(world: &World, role: &str, text: &str) -> Option<String> {
    let cut = statements(text, &Limits::default()).ok()?;
    let statement = cut.first()?;
    let planned = plan(world, role, statement).ok()?;
    let Action::Send { sql, .. } = &planned.action else { return None };
    let mut out = Vec::new();
    let literal = |index| statement.token(index).unwrap_or_default().as_bytes();
    sql.render_extended(&mut out, planned.parameters.saturating_add(1), literal);
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(shows: Shows) -> Probe {
        Probe { kind: "a condition", sql: String::new(), relation: "pages".to_owned(), shows }
    }

    #[test]
    fn condition_inside_its_guard_is_no_fault() {
        let plan = json!([{"Plan": {"Node Type": "Seq Scan", "Filter":
            "((tenant_id = $1) AND CASE WHEN (tenant_id = $1) THEN ((c)::integer = 424242) ELSE false END)"}}]);
        assert_eq!(probe(Shows::ConditionInside).fault(&plan), None);
    }

    #[test]
    fn condition_that_left_its_guard_is_a_fault() {
        let plan = json!([{"Plan": {"Node Type": "Result", "Plans": [{"Node Type": "Seq Scan",
            "Filter": "(((c)::integer = 424242) AND CASE WHEN (tenant_id = $1) THEN true ELSE false END)"}]}}]);
        let fault = probe(Shows::ConditionInside).fault(&plan).expect("a fault");
        assert!(fault.contains("outside of its guard"), "{fault}");
    }

    #[test]
    fn plan_without_the_condition_proves_nothing() {
        let plan = json!([{"Plan": {"Node Type": "Result", "One-Time Filter": "false"}}]);
        assert!(probe(Shows::ConditionInside).fault(&plan).is_some());
    }

    #[test]
    fn sort_below_the_filter_of_a_child_is_a_fault() {
        let below = json!([{"Plan": {"Node Type": "Nested Loop", "Join Filter": "CASE", "Plans": [
            {"Node Type": "Sort", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "pages"}]}]}}]);
        assert!(probe(Shows::FilterOfScan).fault(&below).is_some());
        let above = json!([{"Plan": {"Node Type": "Sort", "Plans": [{"Node Type": "Seq Scan",
            "Relation Name": "pages", "Filter": "CASE WHEN (SubPlan 1) THEN true ELSE false END"}]}}]);
        assert_eq!(probe(Shows::FilterOfScan).fault(&above), None);
    }
}
