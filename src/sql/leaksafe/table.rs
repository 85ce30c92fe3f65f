//! The list of total operators and functions, checked against the catalog.

use foldhash::{HashMap, HashSet};

use crate::catalog::{Function, Oid, Snapshot};

use super::proof::{self, Proof};

/// Under which condition an operator or function is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Always.
    Plain,
    /// `=` and `<>`: of arrays and enums by their element types, of ranges the built-in ones.
    Equal,
    /// `<`, `<=`, `>`, `>=`: the same, not of ranges over numeric, and not of two texts without bounds.
    Order,
    /// LIKE: a literal pattern, or one that is checked at Bind.
    Like,
    /// ILIKE: the same, over a bounded text.
    ILike,
    /// `@@` with a literal query.
    TsQuery,
    /// `@>` and `<@` of jsonb: one side a literal of bounded depth.
    JsonbDepth,
    /// `@?` and `@@` of jsonb: a literal path without methods, arithmetic, `**`, variables and like_regex.
    JsonPath,
    /// A literal divisor that is not 0.
    Divisor,
    /// A literal divisor that is neither 0 nor -1: the smallest integer overflows.
    DivisorNotMinusOne,
    /// Arithmetic of `numeric(p, s)`.
    Numeric,
    /// Division of it by a literal that is not 0.
    NumericDivide,
    /// Rounding of it to a literal number of digits.
    NumericRound,
    /// Truncation of any numeric to a literal number of digits.
    NumericRoundAny,
    /// Texts of bounded length.
    Bounded,
    /// `left`, `right`, `substr`: literal positions, no negative length.
    Part,
    /// `split_part`: a literal field that is not 0.
    Split,
    /// `replace` of a literal by one that is not longer.
    Replace,
    /// EXTRACT of a field that the type has.
    Field,
    /// `date_trunc` to a unit up to the week.
    Unit,
    /// Arrays of listed element types.
    Array,
    /// `numeric(p, s)` to double precision.
    NumericFloat,
    /// A text cut to a literal length, as an explicit cast does.
    Cut,
    /// Built-in ranges and multiranges, not over numeric.
    Range,
    /// pg_trgm's `%` and its kin: over bounded texts.
    Trigram,
}

/// The list as far as the catalog has just these objects.
#[derive(Debug, Clone, Default)]
pub struct LeakSafe {
    operators: HashMap<Oid, Condition>,
    functions: HashMap<Oid, Condition>,
    /// Total where an index has evaluated them.
    indexed: HashSet<Oid>,
    /// What indexes have evaluated, by relation.
    pub(super) proofs: HashMap<Oid, Vec<Proof>>,
    dropped: usize,
}

/// The highest major whose sources were read and fuzzed.
const HIGHEST_MAJOR: u32 = 18;
/// Oids below this one are the server's own (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL_OID: Oid = 16384;
/// Operators of pg_trgm.
const TRIGRAM_OPERATORS: [&str; 5] = ["%", "<%", "%>", "<<%", "%>>"];

/// One line of `leaksafe.tsv`.
struct Entry<'a> {
    kind: &'a str,
    oid: Oid,
    function: Oid,
    source: &'a str,
    volatility: char,
    strict: bool,
    condition: Condition,
    leakproof: bool,
}

impl LeakSafe {
    /// Keeps each entry whose object in the catalog is the one that was read and fuzzed: the same oid, in
    /// `pg_catalog`, internal, the same C symbol, volatility, strictness and leak-proofness, its owner the bootstrap
    /// superuser, and built-in estimators. On a major that
    /// nobody looked at the list is empty.
    pub fn load(catalog: &Snapshot) -> Self {
        let mut list = Self::default();
        if catalog.server_version_num / 10_000 > HIGHEST_MAJOR {
            return list;
        }
        let entries = include_str!("../data/leaksafe.tsv").lines().filter(|l| !l.starts_with('#'));
        let mut trigram = Vec::new();
        for entry in entries.filter_map(Entry::parse) {
            match entry.kind {
                "trigram" => trigram.push(entry.source),
                "operator" if entry.is_operator_of(catalog) => {
                    list.operators.insert(entry.oid, entry.condition);
                }
                "function" if entry.is_function_of(catalog) => {
                    list.functions.insert(entry.oid, entry.condition);
                }
                "proved" if entry.is_function_of(catalog) => {
                    list.indexed.insert(entry.oid);
                }
                _ => list.dropped = list.dropped.saturating_add(1),
            }
        }
        list.add_trigram_operators(catalog, &trigram);
        list.proofs = proof::proofs(&list, catalog);
        list
    }

    /// The condition under which an operator is total, if it may be.
    pub fn operator(&self, oid: Oid) -> Option<Condition> {
        self.operators.get(&oid).copied()
    }

    /// The condition under which a function is total, if it may be. Casts by a function are among them.
    pub fn function(&self, oid: Oid) -> Option<Condition> {
        self.functions.get(&oid).copied()
    }

    /// Whether a function is total where an index has evaluated it on every row.
    pub(super) fn is_proved_by_index(&self, function: Oid) -> bool {
        self.indexed.contains(&function)
    }

    /// How many entries the catalog does not have as they were read, for a metric.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    fn add_trigram_operators(&mut self, catalog: &Snapshot, sources: &[&str]) {
        for operator in TRIGRAM_OPERATORS.iter().flat_map(|name| catalog.operators_named(name)) {
            let of_extension = |extension: &Option<String>| extension.as_deref() == Some("pg_trgm");
            let known = |f: &Function| of_extension(&f.extension) && sources.contains(&f.source.as_str());
            let function = catalog.function_by_oid(operator.function);
            // Its estimators are the server's own: matchingsel and matchingjoinsel.
            if of_extension(&operator.extension)
                && operator.builtin_estimators
                && function.is_some_and(|f| known(f))
            {
                self.operators.insert(operator.oid, Condition::Trigram);
            }
        }
    }
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, oid, _, function, source, volatility, strict, condition, leakproof] = *fields else {
            return None;
        };
        Some(Self {
            kind,
            oid: oid.parse().ok()?,
            function: function.parse().ok()?,
            source,
            volatility: volatility.chars().next()?,
            strict: strict == "t",
            condition: condition_named(condition)?,
            leakproof: leakproof == "t",
        })
    }

    fn is_operator_of(&self, catalog: &Snapshot) -> bool {
        catalog.operator_by_oid(self.oid).is_some_and(|o| {
            o.schema == "pg_catalog"
                && o.extension.is_none()
                && o.builtin_estimators
                && o.function == self.function
                && self.oid < FIRST_NORMAL_OID
        }) && self.is_function_of(catalog)
    }

    fn is_function_of(&self, catalog: &Snapshot) -> bool {
        catalog.function_by_oid(self.function).is_some_and(|f| {
            f.schema == "pg_catalog"
                && f.internal
                && f.extension.is_none()
                && f.source == self.source
                && f.volatility == self.volatility
                && f.strict == self.strict
                && f.leakproof == self.leakproof
                && f.pristine
                && self.function < FIRST_NORMAL_OID
        })
    }
}

fn condition_named(name: &str) -> Option<Condition> {
    Some(match name {
        "plain" => Condition::Plain,
        "equal" => Condition::Equal,
        "order" => Condition::Order,
        "like" => Condition::Like,
        "ilike" => Condition::ILike,
        "tsquery" => Condition::TsQuery,
        "jsonb-depth" => Condition::JsonbDepth,
        "jsonpath" => Condition::JsonPath,
        "divisor" => Condition::Divisor,
        "divisor-not-minus-one" => Condition::DivisorNotMinusOne,
        "numeric" => Condition::Numeric,
        "numeric-divide" => Condition::NumericDivide,
        "numeric-round" => Condition::NumericRound,
        "numeric-round-any" => Condition::NumericRoundAny,
        "bounded" => Condition::Bounded,
        "part" => Condition::Part,
        "split" => Condition::Split,
        "replace" => Condition::Replace,
        "field" => Condition::Field,
        "unit" => Condition::Unit,
        "array" => Condition::Array,
        "numeric-float" => Condition::NumericFloat,
        "cut" => Condition::Cut,
        "range" => Condition::Range,
        "trigram" => Condition::Trigram,
        _ => return None,
    })
}
