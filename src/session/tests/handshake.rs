//! Logins: what may come first, and only once.

use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;

use super::super::*;
use super::harness::*;

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frontend::startup_message(parameters.iter().copied(), &mut out).unwrap();
    out.to_vec()
}

fn request(code: u32) -> Vec<u8> {
    [8u32.to_be_bytes(), code.to_be_bytes()].concat()
}

const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

pub fn log_in(rig: &mut Rig, password: &[u8]) -> String {
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut out).unwrap();
    rig.client.clear();
    rig.say(&out);
    scram.update(&rig.client[9..]).unwrap();
    rig.client.clear();
    out.clear();
    frontend::sasl_response(scram.message(), &mut out).unwrap();
    rig.say(&out);
    rig.heard()
}

#[test]
fn right_password_gets_in() {
    let mut rig = Rig::opening();
    rig.say(&startup(&[("user", "one"), ("database", "db")]));
    let heard = log_in(&mut rig, b"secret");
    assert!(
        heard.starts_with("R[....v=") && heard.ends_with("R[....] S[TimeZone.UTC.] K[........] Z[I]"),
        "{heard}"
    );
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
    assert_eq!(rig.host.accounts, ["one logged in"]);
}

#[test]
fn wrong_password_and_unknown_user_look_the_same() {
    let mut answers = Vec::new();
    for (user, database) in [("one", "db"), ("two", "db"), ("one", "nosuch")] {
        let mut rig = Rig::opening();
        rig.say(&startup(&[("user", user), ("database", database)]));
        answers.push(log_in(&mut rig, b"wrong").replace(user, "?"));
        assert_eq!(rig.host.accounts, [format!("{user} turned away 28P01")]);
        assert_eq!(*rig.session.want(), Want::End);
        assert_eq!(rig.say(&q("select 1")), "", "nothing runs after a failed login");
    }
    assert!(answers.iter().all(|answer| answer.contains("28P01") && *answer == answers[0]), "{answers:?}");
}

#[test]
fn second_startup_is_a_protocol_violation() {
    let mut rig = Rig::opening();
    rig.say(&startup(&[("user", "one"), ("database", "db")]));
    rig.client.clear();
    rig.say(&startup(&[("user", "two"), ("database", "db")]));
    assert!(rig.heard().contains("08P01"));
    assert_eq!(*rig.session.want(), Want::End);
}

#[test]
fn each_negotiation_is_answered_once() {
    let mut rig = Rig::opening();
    rig.say(&request(GSS));
    assert_eq!(rig.client, b"N");
    rig.say(&request(GSS));
    assert_eq!(rig.client, b"N");
    assert_eq!(*rig.session.want(), Want::End);
}

#[test]
fn bytes_stuffed_behind_the_request_for_tls_end_the_session_unread() {
    let mut rig = Rig::opening();
    rig.say(&[request(SSL), startup(&[("user", "one"), ("database", "db")])].concat());
    assert_eq!((rig.session.want(), rig.client.len()), (&Want::End, 0));
    let mut rig = Rig::opening();
    rig.say(&request(SSL));
    assert_eq!((rig.session.want(), &rig.client[..]), (&Want::Tls, &b"S"[..]));
    rig.say(b"x");
    assert_eq!((rig.session.want(), rig.client.len()), (&Want::End, 0));
}

#[test]
fn query_before_the_login_is_a_protocol_violation() {
    for first in [q("select 1"), m('p', b"secret\0")] {
        let mut rig = Rig::opening();
        rig.say(&first);
        assert_eq!(*rig.session.want(), Want::End);
    }
    let mut rig = Rig::opening();
    rig.say(&[startup(&[("user", "one"), ("database", "db")]), q("select 1")].concat());
    assert!(rig.heard().contains("08P01"));
    assert_eq!(rig.sent(), "");
}

#[test]
fn cancel_is_wanted_and_nothing_is_said() {
    let mut rig = Rig::opening();
    let mut packet = 16u32.to_be_bytes().to_vec();
    packet.extend_from_slice(&80_877_102u32.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
    rig.say(&packet);
    assert_eq!(
        (rig.session.want(), rig.client.len()),
        (&Want::Cancel { pid: 1, secret: Box::new([0, 0, 0, 2]) }, 0)
    );
}

#[test]
fn tls_is_demanded_where_it_is_required() {
    let mut rig = Rig::opening();
    rig.session = Session::new(Terms { tls: TlsOffer::Required, ..TERMS });
    rig.say(&startup(&[("user", "one"), ("database", "db")]));
    assert!(rig.heard().contains("08004"));
}
