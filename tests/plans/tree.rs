//! A plan as far as two of them are compared: the kinds of its nodes, their relations, indexes and the conditions that
//! the indexes are searched by.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Node type, join type, strategy, relation.
    pub node: String,
    pub index: Option<String>,
    /// What an index is searched by, one condition each.
    pub searched: Vec<String>,
    pub children: Vec<Tree>,
}

impl Tree {
    /// Of what EXPLAIN (FORMAT JSON) prints.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(Self::of(value.get(0)?.get("Plan")?))
    }

    fn of(plan: &Value) -> Self {
        let text = |key: &str| plan.get(key).and_then(Value::as_str);
        let children: Vec<Self> =
            plan.get("Plans").and_then(Value::as_array).into_iter().flatten().map(Self::of).collect();
        // A gate that is looked at once, before any row.
        if text("Node Type") == Some("Result")
            && plan.get("One-Time Filter").is_some()
            && let [child] = children.as_slice()
        {
            return child.clone();
        }
        let words = ["Node Type", "Join Type", "Strategy", "Scan Direction", "Operation", "Relation Name"];
        let relationship = text("Parent Relationship").filter(|r| matches!(*r, "SubPlan" | "InitPlan"));
        let node: Vec<&str> = relationship.into_iter().chain(words.iter().filter_map(|w| text(w))).collect();
        Self {
            node: node.join(" "),
            index: text("Index Name").map(str::to_owned),
            searched: text("Index Cond").map(conditions).unwrap_or_default(),
            children,
        }
    }

    /// Every index with what it is searched by, in the plan's order.
    pub fn indexes(&self) -> Vec<(&str, &[String])> {
        let own = self.index.as_deref().map(|index| (index, self.searched.as_slice()));
        own.into_iter().chain(self.children.iter().flat_map(Self::indexes)).collect()
    }

    /// Whether each of its indexes is one of the other's too, searched by as many conditions: what a key is compared
    /// with depends on the join.
    pub fn has_its_indexes_in(&self, other: &Self) -> bool {
        let mut left = other.indexes();
        self.indexes().iter().all(|(index, searched)| {
            let found = left.iter().position(|(other, by)| other == index && by.len() == searched.len());
            found.map(|at| left.swap_remove(at)).is_some()
        })
    }

    /// In one line.
    pub fn shown(&self) -> String {
        let index = self.index.as_ref().map_or(String::new(), |i| format!("({i})"));
        let children: Vec<String> = self.children.iter().map(Self::shown).collect();
        match children.as_slice() {
            [] => format!("{}{index}", self.node),
            [only] => format!("{}{index} > {only}", self.node),
            several => format!("{}{index} > [{}]", self.node, several.join(", ")),
        }
    }
}

/// The conditions of a conjunction as EXPLAIN prints it, without the ways to write a constant: a number may be
/// quoted and cast.
fn conditions(text: &str) -> Vec<String> {
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let mut found: Vec<String> = inner.split(" AND ").map(plain).collect();
    found.sort();
    found
}

fn plain(condition: &str) -> String {
    let mut text = condition.trim_matches(['(', ')']).to_owned();
    // The tenant's value is a literal, a parameter or a setting.
    if let Some((column, _)) = text.split_once("tenant_id = ") {
        return format!("{column}tenant_id");
    }
    for ty in ["integer", "bigint", "numeric"] {
        text = text.replace(&format!("'::{ty}"), "'");
    }
    text.replace('\'', "")
}
