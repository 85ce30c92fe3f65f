//! Random conditions over the columns of the samples.

use pgbulkhead::catalog::{Oid, Snapshot};
use pgbulkhead::sql::leaksafe::LeakSafe;

use crate::samples::{CASTS, FUNCTIONS, LITERALS, SAMPLES, Sample};
use crate::server::Random;

/// Makes conditions.
pub struct Generator {
    pub random: Random,
    pub operators: Vec<String>,
    /// Listed operators and functions: the text around their arguments, the types of these and of the result.
    pub listed: Vec<Listed>,
    /// The next literal becomes `$1`.
    pub parameter: bool,
}

#[derive(Clone)]
pub struct Listed {
    name: String,
    operator: bool,
    arguments: Vec<Oid>,
    result: Oid,
}

/// What the list admits under some condition.
pub fn listed(catalog: &Snapshot, list: &LeakSafe) -> Vec<Listed> {
    let mut found: Vec<Listed> = Vec::new();
    for function in catalog.functions().filter(|f| list.function(f.oid).is_some()) {
        let (name, arguments) = (format!("\"{}\"", function.name), function.arguments.clone());
        found.push(Listed { name, operator: false, arguments, result: function.result });
    }
    for operator in (0..20_000).filter_map(|oid| catalog.operator_by_oid(oid)) {
        if list.operator(operator.oid).is_some() {
            let arguments = [operator.left, operator.right].into_iter().filter(|t| *t != 0).collect();
            found.push(Listed {
                name: operator.name.clone(),
                operator: true,
                arguments,
                result: operator.result,
            });
        }
    }
    found.sort_by(|a, b| (&a.name, &a.arguments).cmp(&(&b.name, &b.arguments)));
    found
}

impl Generator {
    /// A condition of listed parts with arguments of their types.
    pub fn guided(&mut self, catalog: &Snapshot) -> String {
        let boolean: Vec<Listed> = self.listed.iter().filter(|l| l.result == 16).cloned().collect();
        let listed = self.random.of(&boolean).clone();
        self.applied(catalog, &listed, 3)
    }

    fn applied(&mut self, catalog: &Snapshot, listed: &Listed, depth: usize) -> String {
        // A polymorphic call's arguments are of one kind.
        let kind = self.random.below(SAMPLES.len());
        let arguments: Vec<String> =
            listed.arguments.iter().map(|ty| self.typed(catalog, *ty, kind, depth - 1)).collect();
        match (listed.operator, &*arguments) {
            (true, [left, right]) => format!("({left} {} {right})", listed.name),
            (true, [right]) => format!("({} {right})", listed.name),
            _ => format!("{}({})", listed.name, arguments.join(", ")),
        }
    }

    fn typed(&mut self, catalog: &Snapshot, ty: Oid, kind: usize, depth: usize) -> String {
        let of = |s: &Sample| catalog.find_type(None, s.2).map_or(0, |t| t.oid);
        let fits = |s: &&Sample| of(s) == ty;
        let exact: Vec<Sample> = SAMPLES.iter().filter(fits).copied().collect();
        // What has no column of its type is polymorphic, or wants a literal.
        let samples = if exact.is_empty() { vec![SAMPLES[kind]] } else { exact };
        let (name, declared, _, values) = *self.random.of(&samples);
        match self.random.below(10) {
            0..=3 => name.to_owned(),
            4 | 5 if std::mem::take(&mut self.parameter) => "$1".into(),
            4 => (*self.random.of(&LITERALS)).to_owned(),
            5 => format!("'{}'", self.random.of(values).replace('\'', "''")),
            6 => format!("'{}'::{declared}", self.random.of(values).replace('\'', "''")),
            7 => format!("coalesce({name}, '{}')", self.random.of(values).replace('\'', "''")),
            _ if depth > 0 => {
                let makers: Vec<Listed> = self.listed.iter().filter(|l| l.result == ty).cloned().collect();
                if makers.is_empty() {
                    return name.to_owned();
                }
                let maker = self.random.of(&makers).clone();
                self.applied(catalog, &maker, depth)
            }
            _ => name.to_owned(),
        }
    }

    pub fn condition(&mut self) -> String {
        match self.random.below(12) {
            0 => format!("{} IS NULL", self.value(2)),
            1 => format!("{} IN ({}, {})", self.value(2), self.value(1), self.value(1)),
            2 => format!("{} BETWEEN {} AND {}", self.value(2), self.value(1), self.value(1)),
            3 => format!("{} = ANY ({})", self.value(1), self.value(1)),
            4 => format!("{} LIKE {}", self.value(2), self.value(1)),
            5 => format!("({}, {}) > ({}, {})", self.value(1), self.value(1), self.value(1), self.value(1)),
            6 => format!("{} IS DISTINCT FROM {}", self.value(2), self.value(1)),
            7 => format!("({} OR NOT {})", self.comparison(), self.comparison()),
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> String {
        let name = match self.random.below(3) {
            0 => (*self.random.of(&["=", "<", ">=", "<>"])).to_owned(),
            _ => self.random.of(&self.operators).clone(),
        };
        format!("({} {name} {})", self.value(2), self.value(2))
    }

    fn value(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.below(2) == 0 {
            return match self.random.below(3) {
                0 if std::mem::take(&mut self.parameter) => "$1".into(),
                0 => (*self.random.of(&LITERALS)).to_owned(),
                1 => {
                    let (_, declared, _, values) = *self.random.of(&SAMPLES);
                    let quoted = self.random.of(values).replace('\'', "''");
                    if self.random.below(2) == 0 {
                        format!("'{quoted}'")
                    } else {
                        format!("'{quoted}'::{declared}")
                    }
                }
                _ => self.random.of(&SAMPLES).0.to_owned(),
            };
        }
        let depth = depth - 1;
        match self.random.below(9) {
            0 => format!("{}::{}", self.value(depth), self.random.of(&CASTS)),
            1 => format!("coalesce({}, {})", self.value(depth), self.value(depth)),
            2 => format!(
                "CASE WHEN {} IS NULL THEN {} ELSE {} END",
                self.value(0),
                self.value(depth),
                self.value(depth)
            ),
            3 => format!("greatest({}, {})", self.value(depth), self.value(depth)),
            4 => format!("({})[{}]", self.value(0), self.value(0)),
            5 | 6 => {
                let count = 1 + self.random.below(3);
                let arguments: Vec<String> = (0..count).map(|_| self.value(depth)).collect();
                format!("\"{}\"({})", self.random.of(&FUNCTIONS), arguments.join(", "))
            }
            7 => format!("nullif({}, {})", self.value(depth), self.value(depth)),
            _ => format!(
                "({} {} {})",
                self.value(depth),
                self.random.of(&self.operators).clone(),
                self.value(depth)
            ),
        }
    }
}
