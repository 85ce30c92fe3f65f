//! Settings of the server that change how it evaluates: another set each round.

use super::rng::Rng;

/// What makes early sorts and parallel plans show on small tables, and what makes the planner choose otherwise.
const SETS: [&[(&str, &str)]; 14] = [
    &[],
    &[
        ("min_parallel_table_scan_size", "0"),
        ("min_parallel_index_scan_size", "0"),
        ("parallel_setup_cost", "0"),
        ("parallel_tuple_cost", "0"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ],
    &[("enable_hashjoin", "off")],
    &[("enable_nestloop", "off")],
    &[("enable_nestloop", "off"), ("enable_hashjoin", "off")],
    &[("enable_seqscan", "off")],
    &[("enable_seqscan", "off"), ("enable_indexscan", "off")],
    &[("enable_hashagg", "off"), ("enable_sort", "off")],
    &[("join_collapse_limit", "1"), ("from_collapse_limit", "1")],
    &[("enable_material", "off"), ("enable_memoize", "off")],
    &[
        ("enable_partitionwise_join", "on"),
        ("enable_partitionwise_aggregate", "on"),
        ("constraint_exclusion", "on"),
    ],
    &[
        ("min_parallel_table_scan_size", "0"),
        ("parallel_setup_cost", "0"),
        ("parallel_tuple_cost", "0"),
        ("parallel_leader_participation", "off"),
        ("enable_nestloop", "off"),
    ],
    &[("geqo_threshold", "2"), ("random_page_cost", "1")],
    &[("random_page_cost", "0.1"), ("seq_page_cost", "100"), ("cpu_operator_cost", "10")],
];

/// The settings of a round.
#[derive(Debug, Clone)]
pub struct Settings {
    pub server: Vec<(&'static str, &'static str)>,
    /// How the leaking function is declared: what the planner may do with it depends on that.
    pub volatility: &'static str,
}

pub fn of(round: u64) -> Settings {
    let mut rng = Rng::new(round);
    let mut server = rng.pick(&SETS).to_vec();
    // A plan that is switched off costs so much that PostgreSQL would compile it.
    server.push(("jit", "off"));
    if let Some(mode) = [None, None, Some("force_generic_plan"), Some("force_custom_plan")][rng.below(4)] {
        server.push(("plan_cache_mode", mode));
    }
    let volatility = ["immutable", "stable", "volatile"][rng.below(3)];
    Settings { server, volatility }
}
