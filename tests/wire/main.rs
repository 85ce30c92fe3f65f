//! The wire-level procedures W1 to W52: raw bytes against the real proxy in front of a real PostgreSQL, or of a
//! server that lies. `PROCEDURES` says which test shows which procedure; `cargo test --test wire W31` runs the
//! tests of one.
//!
//! Not here, because the features are not there: W21 (client certificates), W49 (console).
//!
//! After each test the proxy must live, serve others, and give A exactly its own rows.

mod begun;
mod cache;
mod cancel;
mod copy;
mod frames;
mod handshake;
mod hostile;
mod messages;
mod order;
mod parameters;
mod passing;
mod raw;
mod records;
mod relay;
mod reload;
mod reports;
#[path = "../judge/generated/rng.rs"]
mod rng;
mod secure;
mod stage;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod vanish;

use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};

use stage::{Stage, probe};

type Procedure = fn(&Stage);

macro_rules! procedures {
    ($($number:literal $file:ident :: $test:ident)*) => {
        &[$((concat!($number, " ", stringify!($file), "::", stringify!($test)), $file::$test as Procedure)),*]
    };
}

/// Which test shows which procedure.
const PROCEDURES: &[(&str, Procedure)] = procedures! {
    "W1" handshake::second_startup_during_scram_is_a_protocol_violation
    "W2" handshake::nothing_runs_before_authentication
    "W3" handshake::each_negotiation_is_answered_once
    "W4" secure::bytes_stuffed_before_tls_are_not_read
    "W5" hostile::nothing_before_tls_is_believed
    "W6" secure::a_cancel_goes_under_the_same_tls
    "W7" frames::a_sasl_response_cannot_lie_about_its_length
    "W8" frames::lying_lengths_close_the_connection
    "W8" frames::a_header_may_come_byte_by_byte
    "W9" frames::value_lengths_are_checked
    "W9" passing::a_long_bind_that_lies_costs_its_session_alone
    "W10" handshake::startup_keys_off_the_list_are_refused_by_name
    "W10" handshake::a_session_begins_with_settings_of_the_list
    "W10" reports::a_client_is_told_of_its_settings_as_by_postgresql
    "W10" reports::a_setting_that_the_server_does_not_take_is_refused_at_login
    "W10" reports::a_known_setting_needs_no_connection_at_login
    "W11" handshake::a_key_that_comes_twice_and_bytes_after_the_end_are_refused
    "W12" handshake::names_are_only_compared
    "W13" handshake::every_failed_login_looks_the_same
    "W14" handshake::nothing_runs_after_a_failed_login
    "W15" tokens::an_expired_token_ends_its_session
    "W15" reload::a_reload_ends_the_sessions_of_who_is_removed
    "W15+W36" reload::a_reload_empties_the_plans
    "W15" reload::a_change_of_the_schema_is_noticed
    "W36" reload::a_dropped_index_is_no_proof_any_more
    "W16" hostile::a_server_that_lies_in_scram_is_refused
    "W17" hostile::a_server_that_asks_for_another_method_is_refused
    "W18+W47" hostile::a_malformed_answer_costs_its_connection_alone
    "W19" tokens::tokens_that_are_not_in_order_are_refused
    "W20" tokens::the_tenant_of_a_transaction_is_the_one_at_its_start
    "W22" secure::a_broken_handshake_ends_its_connection
    "W23" handshake::a_proxy_preamble_is_no_startup
    "W24" parameters::tenant_stands_behind_every_declared_parameter
    "W24" parameters::a_parameter_beyond_the_clients_own_is_not_the_tenants
    "W25" parameters::one_value_too_many_or_too_few_is_refused
    "W25+W44" passing::a_long_bind_writes_the_tenants_own_rows
    "W26" parameters::format_codes_are_the_clients_own
    "W26" parameters::binary_values_pass_unchanged
    "W27" parameters::without_room_for_the_tenant_a_statement_is_refused
    "W28" parameters::describe_hides_the_tenant
    "W29" order::a_lease_lasts_until_sync_is_answered
    "W29" begun::a_transaction_that_has_done_nothing_keeps_no_connection
    "W29" begun::a_transaction_begins_with_its_first_statement
    "W29" begun::what_fails_before_the_first_statement_fails_the_transaction
    "W30+W32" begun::nothing_runs_outside_of_a_transaction_whose_begin_fails
    "W29+W30" begun::any_order_of_statements_is_answered_as_postgresql_answers_it
    "W30" order::an_error_skips_to_its_own_sync
    "W30" order::an_error_of_the_proxys_own_parse_is_the_clients_bind
    "W30" order::flush_and_every_sync_are_answered
    "W30" hostile::an_error_of_the_proxys_own_set_ends_the_connection
    "W30" hostile::an_error_of_the_proxys_own_set_before_a_pipeline_is_nobodys_answer
    "W31" vanish::a_vanished_clients_answer_reaches_nobody
    "W31" passing::a_client_that_vanishes_within_a_long_bind_leaves_nothing
    "W32" vanish::a_server_cut_at_any_byte_costs_its_connection_alone
    "W32" vanish::a_statement_timeout_leaves_the_session_usable
    "W32" vanish::a_killed_backend_is_told_and_replaced
    "W32" passing::a_server_that_ends_within_a_long_bind_is_replaced
    "W32+W33" passing::a_cancel_and_a_timeout_within_a_long_bind_are_survived
    "W32+W44" vanish::a_client_that_does_not_read_is_closed
    "W33" cancel::a_cancel_ends_what_runs_and_nothing_else
    "W33" cancel::a_cancel_ends_the_wait_for_a_lease
    "W33" cancel::a_late_cancel_cancels_no_other_clients_statement
    "W33" cancel::a_cancel_that_is_lost_on_its_way_costs_the_connection
    "W33+W34" cancel::wrong_keys_end_without_a_word
    "W34" cancel::keys_are_unguessable
    "W34" cancel::the_protocol_version_is_negotiated
    "W35" cache::the_same_bytes_of_two_tenants_give_each_its_own
    "W36" cache::evicted_and_outdated_plans_are_made_anew
    "W37" order::names_are_the_sessions_own
    "W38" order::names_end_as_postgresql_ends_them
    "W39" order::a_portal_is_its_transactions
    "W40" order::a_row_description_is_never_stale
    "W41" order::a_query_within_a_batch_does_not_mix_answers_up
    "W42" copy::copy_data_outside_copy_is_dropped
    "W43" copy::no_stream_writes_another_tenants_row
    "W44" copy::two_copies_in_one_text_are_both_checked
    "W44" stream::a_large_value_passes_in_bounded_memory
    "W44" passing::a_long_bind_passes_in_bounded_memory
    "W44" passing::a_long_bind_waits_for_a_slow_server
    "W45" frames::function_calls_are_refused
    "W46" frames::bytes_that_are_no_utf8_are_refused
    "W47" hostile::bytes_on_an_idle_connection_reach_nobody
    "W48" vanish::nothing_of_a_session_is_left_for_the_next
    "W48" vanish::discard_all_gives_locks_and_channels_back
    "W50" records::the_audit_log_holds_one_line_an_event
    "W51" records::metrics_are_bounded_and_name_nobody
    "W52" records::unfinished_logins_end_and_disturb_nobody
};

fn main() {
    let mut arguments = Arguments::from_args();
    // One server for all, and several look at what the whole process does.
    arguments.test_threads = Some(1);
    let stage: Arc<Mutex<Option<Stage>>> = Arc::default();
    let trials = PROCEDURES.iter().map(|(name, procedure)| {
        let stage = stage.clone();
        Trial::test(*name, move || {
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            let stage = stage.get_or_insert_with(Stage::new);
            procedure(stage);
            probe(&stage.proxy);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(stage);
    conclusion.exit();
}
