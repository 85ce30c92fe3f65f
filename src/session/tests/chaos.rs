//! Whatever comes from either side, a session neither panics nor gives back a connection with something
//! outstanding on it.

use proptest::prelude::*;

use super::harness::*;

fn message() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        Just("select 1"),
        Just("select $1, tenant()"),
        Just("refuse !"),
        Just("begin"),
        Just("BEGIN"),
        Just("START TRANSACTION"),
        Just("rollback"),
        Just("commit; select 'a'"),
        Just("set timezone to 'y'"),
        Just("prepare p as select 1"),
        Just("execute p"),
        Just("deallocate p"),
        Just("discard all"),
        Just("savepoint s"),
        Just("rollback to s"),
        Just("copy t from stdin"),
        Just("set local pgbulkhead.tenant_token = 'for 7'"),
        Just("set pgbulkhead.tenant_token = 'for 8'"),
        Just(""),
    ];
    let name = prop_oneof![Just(""), Just("a")];
    prop_oneof![
        text.clone().prop_map(q),
        (name.clone(), text).prop_map(|(name, text)| parse(name, text, &[])),
        (name.clone(), name.clone()).prop_map(|(portal, statement)| bind(portal, statement, &["1"])),
        (name.clone(), name.clone()).prop_map(|(portal, statement)| bind(portal, statement, &[])),
        name.clone().prop_map(execute),
        name.clone().prop_map(|name| m('D', format!("S{name}\0").as_bytes())),
        name.clone().prop_map(|name| m('D', format!("P{name}\0").as_bytes())),
        name.prop_map(|name| m('C', format!("P{name}\0").as_bytes())),
        Just(sync()),
        Just(m('H', b"")),
        Just(m('d', b"1\n")),
        Just(m('c', b"")),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(tag, body)| m(char::from(tag % 128), &body)),
        proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(m('1', b"")),
        Just(m('2', b"")),
        Just(m('3', b"")),
        Just(m('n', b"")),
        Just(m('t', b"\0\x02\0\0\0\x17\0\0\0\x17")),
        Just(m('T', b"\0\0")),
        Just(m('D', b"\0\0")),
        Just(complete("SELECT 1")),
        Just(complete("COMMIT")),
        Just(complete("BEGIN")),
        Just(m('G', b"\0\0\0")),
        Just(error("42703")),
        Just(ready('I')),
        Just(ready('T')),
        Just(ready('E')),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(tag, body)| m(char::from(tag % 128), &body)),
    ]
}

/// What the messages sent to the server ask for: answers to Sync and Query.
fn asks(sent: &str) -> usize {
    sent.split(' ').filter(|message| *message == "S" || message.starts_with("Q[")).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_messages_is_survived(
        steps in proptest::collection::vec(prop_oneof![message().prop_map(Ok), answer().prop_map(Err)], 1..40),
        by_token in any::<bool>(),
    ) {
        let mut rig = if by_token { Rig::by_token() } else { Rig::fixed() };
        let (mut asked, mut answered) = (0, 0);
        for step in steps {
            match step {
                Ok(bytes) => asked += asks(&rig.say(&bytes)),
                Err(bytes) => {
                    if !rig.session.active().is_some_and(|active| active.has_lease()) {
                        continue;
                    }
                    let Ok(_) = rig.try_answer(&bytes) else { break };
                    answered += usize::from(bytes.first() == Some(&b'Z'));
                    asked += asks(&rig.sent());
                }
            }
            if rig.released() {
                prop_assert_eq!(asked, answered, "every Sync and Query of the lease is answered");
                (asked, answered) = (0, 0);
            }
        }
    }
}
