//! Settings that a client begins with are tried before its session is ready.

use super::super::outgoing::SettingText;
use super::super::*;
use super::handshake::{log_in, startup};
use super::harness::*;
use crate::policy::{Rule, SqlState};

const ZONE: &str = "Q[SET timezone TO 'europe/berlin';.]";

/// A login that asks for a time zone; what the client has heard.
fn begin(rig: &mut Rig) -> String {
    rig.say(&startup(&[("user", "one"), ("database", "db"), ("TimeZone", "europe/berlin")]));
    log_in(rig, b"secret")
}

/// The lease that is wanted; what the server is asked.
fn grant(rig: &mut Rig, server: Box<Server>) -> String {
    assert_eq!(*rig.session.want(), Want::Lease);
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.lease_granted(&mut rig.host, &mut io, server);
    rig.sent()
}

fn server() -> Box<Server> {
    Box::new(Server::new(vec![("TimeZone".into(), "UTC".into())]))
}

#[test]
fn client_is_told_how_the_server_spells_what_it_begins_with() {
    let mut rig = Rig::opening();
    assert!(!begin(&mut rig).contains("Z["), "it is not ready yet");
    assert_eq!(grant(&mut rig, server()), ZONE);
    assert_eq!(rig.answer(&complete("SET")), "");
    assert_eq!(rig.answer(&m('S', b"TimeZone\0Europe/Berlin\0")), "");
    assert_eq!(rig.answer(&ready('I')), "R[....] S[TimeZone.Europe/Berlin.] K[........] Z[I]");
    assert!(rig.comes_back());
    // The worker knows it from now on.
    let mut next = Rig::opening();
    std::mem::swap(&mut next.host, &mut rig.host);
    assert!(begin(&mut next).ends_with("S[TimeZone.Europe/Berlin.] K[........] Z[I]"));
}

#[test]
fn connection_that_has_the_settings_already_is_asked_nothing() {
    let mut rig = Rig::opening();
    begin(&mut rig);
    let mut asked = server();
    asked.reports("TimeZone", "Europe/Berlin");
    asked.settings.insert("timezone".into(), SettingText::new("timezone", "europe/berlin"));
    assert_eq!(grant(&mut rig, asked), "");
    assert_eq!(rig.heard(), "R[....] S[TimeZone.Europe/Berlin.] K[........] Z[I]");
    assert!(rig.comes_back());
}

#[test]
fn what_the_server_does_not_take_is_refused_and_costs_no_connection() {
    let mut rig = Rig::opening();
    begin(&mut rig);
    let mut asked = server();
    asked.settings.insert("jit".into(), SettingText::new("jit", "off"));
    let before = asked.settings.clone();
    assert_eq!(grant(&mut rig, asked), "Q[RESET jit;SET timezone TO 'europe/berlin';.]");
    assert_eq!(rig.answer(&m('E', b"SERROR\0VERROR\0C22023\0Mno such zone\0\0")), "");
    assert_eq!(*rig.session.want(), Want::Drain, "the server is not ready yet");
    let heard = rig.answer(&ready('I'));
    assert!(heard.starts_with("E[") && heard.contains("C22023") && heard.contains("no such zone"), "{heard}");
    assert_eq!(*rig.session.want(), Want::End);
    assert!(rig.comes_back());
    assert_eq!(rig.host.idle.take().map(|server| server.settings), Some(before));
}

#[test]
fn without_a_connection_to_ask_there_is_no_session() {
    let mut rig = Rig::opening();
    begin(&mut rig);
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    let refusal = Refusal::new(SqlState::TOO_MANY, Rule("pool"), "no connection");
    rig.session.lease_refused(&mut rig.host, &mut io, refusal);
    assert!(rig.heard().contains("C53300"));
    assert_eq!(*rig.session.want(), Want::End);
}
