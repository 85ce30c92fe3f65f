//! A batch, or an answer, that comes in one read comes to the same as one that comes byte by byte.

use proptest::prelude::*;

use super::super::active::Active;
use super::super::reply::Expect;
use super::harness::*;

const DESCRIBE: &[u8] = b"D\0\0\0\x06P\0";
const COLUMN: &[u8] = b"\0\x01c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
const ROW: &[u8] = b"\0\x01\0\0\0\x05hello";

fn one_statement(parse: Option<Vec<u8>>, described: bool, statement: &str, values: &[&str]) -> Vec<u8> {
    let describe = if described { DESCRIBE } else { b"" };
    let bind = bind("", statement, values);
    [parse.unwrap_or_default(), bind, describe.to_vec(), execute(""), sync()].concat()
}

fn waits_for_a_whole_answer(rig: &Rig) -> bool {
    let queue = |active: &Active| matches!(active.queue.front(), Some(Expect::Lone(_)));
    rig.session.active().is_some_and(queue)
}

fn row_and_end() -> Vec<u8> {
    [m('D', ROW), complete("SELECT 1"), ready('I')].concat()
}

#[test]
fn known_statement_goes_straight() {
    let mut rig = Rig::fixed();
    let text = "select $1 where x = tenant()";
    let batch = one_statement(Some(parse("", text, &[23])), true, "", &["7"]);
    let first = rig.say(&batch);
    assert!(first.starts_with("P[pgb_s1.select $1 where x = $2"), "{first}");
    assert!(!waits_for_a_whole_answer(&rig));
    let described = [m('2', b""), m('T', COLUMN), row_and_end()].concat();
    rig.answer(&[m('1', b""), described.clone()].concat());
    assert!(rig.comes_back());
    assert_eq!(rig.say(&batch), "B[.pgb_s1.........7....1..] D[P.] E[.....] S");
    assert!(waits_for_a_whole_answer(&rig));
    assert_eq!(rig.answer(&described), format!("1 {}", shown(&described)));
    assert!(rig.comes_back());
    assert_eq!(rig.host.accounts, ["1 ran 1 ", "1 ran 1 "]);
    assert_eq!(rig.host.audit_room, 100);
}

#[test]
fn named_statement_goes_straight_and_its_portal_stays_for_its_transaction() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    assert!(rig.comes_back());
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&one_statement(None, false, "s", &[]));
    assert!(waits_for_a_whole_answer(&rig));
    let answer = [m('2', b""), m('D', ROW), m('s', b""), ready('T')].concat();
    assert_eq!(rig.answer(&answer), shown(&answer));
    assert_eq!(rig.say(&[execute(""), sync()].concat()), "E[.....] S");
    rig.answer(&[complete("SELECT 0"), ready('T')].concat());
    rig.say(&q("commit"));
    rig.answer(&[complete("COMMIT"), ready('I')].concat());
    rig.say(&[execute(""), sync()].concat());
    assert_eq!(rig.heard(), "E[34000] Z[I]");
}

#[test]
fn what_is_sent_behind_a_batch_waits_behind_its_answers() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    assert!(rig.comes_back());
    let batch = one_statement(None, true, "s", &[]);
    let answer = [m('2', b""), m('T', COLUMN), row_and_end()].concat();
    rig.say(&batch.repeat(2));
    assert!(!waits_for_a_whole_answer(&rig));
    assert_eq!(rig.answer(&answer), shown(&answer));
    assert!(!rig.comes_back());
    assert_eq!(rig.answer(&answer), shown(&answer));
    assert!(rig.comes_back());
}

/// What a client says, as messages.
fn batch() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        4 => Just("select 1"),
        4 => Just("select $1, tenant()"),
        1 => Just("refuse !"),
        1 => Just("begin"),
        1 => Just("commit"),
        1 => Just("set timezone to 'y'"),
        1 => Just("set local pgbulkhead.tenant_token = 'for 7'"),
        1 => Just("execute p"),
        1 => Just(""),
    ];
    let name = prop_oneof![5 => Just(""), 1 => Just("a")];
    let values = prop_oneof![3 => Just(&["1"][..]), 3 => Just(&[][..])];
    let ends = prop_oneof![8 => Just(sync()), 1 => Just(m('H', b"")), 1 => Just(Vec::new())];
    let parsed = prop_oneof![3 => (name.clone(), text.clone()).prop_map(Some), 1 => Just(None)];
    let batch = (parsed, name.clone(), name, values, any::<bool>(), 0..2_u8, ends);
    let extended = batch.prop_map(|(parsed, statement, portal, values, described, limit, end)| {
        let mut messages = Vec::new();
        messages.extend(parsed.map(|(name, text)| parse(name, text, &[])));
        messages.push(bind(portal, statement, values));
        messages.extend(described.then(|| DESCRIBE.to_vec()));
        messages.push(m('E', &[portal.as_bytes(), b"\0\0\0\0", &[limit]].concat()));
        messages.push(end);
        messages
    });
    prop_oneof![8 => extended, 1 => text.prop_map(|text| vec![q(text)]), 1 => Just(vec![sync()])]
}

/// What a server answers.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        1 => Just(Vec::new()),
        4 => Just(m('2', b"")),
        1 => Just([m('1', b""), m('2', b"")].concat()),
    ];
    let columns = prop_oneof![3 => Just(Vec::new()), 3 => Just(m('T', COLUMN)), 1 => Just(m('n', b""))];
    let rows = prop_oneof![
        4 => (0..3_usize).prop_map(|count| m('D', ROW).repeat(count)),
        1 => Just(m('D', b"\0\x02\0\0\0\0\0\0\0\0")),
        1 => Just(m('N', b"SNOTICE\0C00000\0Mno\0\0")),
    ];
    let end = prop_oneof![
        6 => Just(complete("SELECT 1")),
        1 => Just(complete("BEGIN")),
        1 => Just(complete("COMMIT")),
        1 => Just(m('s', b"")),
        1 => Just(error("22012")),
        1 => Just(Vec::new()),
    ];
    let ready = prop_oneof![6 => Just(ready('I')), 2 => Just(ready('T')), 1 => Just(ready('E'))];
    (first, columns, rows, end, ready)
        .prop_map(|(first, columns, rows, end, ready)| [first, columns, rows, end, ready].concat())
}

/// The answer that a server gives to the batch, where it can be told from it.
fn fitting(sent: &str, status: char) -> Vec<u8> {
    let answers = sent.split(' ').map(|message| match message.get(..1) {
        Some("P") => m('1', b""),
        Some("B") => m('2', b""),
        Some("D") => m('T', COLUMN),
        Some("E") => [m('D', ROW), complete("SELECT 1")].concat(),
        Some("Q") => [m('T', COLUMN), m('D', ROW), complete("SELECT 1"), ready(status)].concat(),
        Some("S") => ready(status),
        _ => Vec::new(),
    });
    answers.collect::<Vec<_>>().concat()
}

/// Sends a stream in pieces; what came out of it, up to where the server is lost.
fn in_pieces(rig: &mut Rig, bytes: &[u8], length: usize) -> Result<String, String> {
    for piece in bytes.chunks(length.max(1)) {
        let mut io = super::super::Io { client: &mut rig.client, server: &mut rig.server };
        rig.session.server_bytes(&mut rig.host, &mut io, piece).map_err(|lost| lost.to_string())?;
    }
    Ok(rig.heard())
}

fn say_in_pieces(rig: &mut Rig, bytes: &[u8], length: usize) -> String {
    let said: Vec<String> = bytes.chunks(length.max(1)).map(|piece| rig.say(piece)).collect();
    said.into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_whole_comes_to_the_same(
        steps in proptest::collection::vec((batch(), proptest::option::weighted(0.3, answer()), 1..9_usize), 1..20),
        by_token in any::<bool>(),
    ) {
        let rig = || if by_token { Rig::by_token() } else { Rig::fixed() };
        let (mut whole, mut cut) = (rig(), rig());
        for (messages, odd, length) in steps {
            let bytes = messages.concat();
            let sent = whole.say(&bytes);
            prop_assert_eq!(&sent, &say_in_pieces(&mut cut, &bytes, length));
            prop_assert_eq!(whole.heard(), cut.heard());
            if whole.session.active().is_some_and(|active| active.has_lease()) {
                let status = if sent.contains("begin") { 'T' } else { 'I' };
                let answer = odd.unwrap_or_else(|| fitting(&sent, status));
                let heard = in_pieces(&mut whole, &answer, answer.len());
                prop_assert_eq!(&heard, &in_pieces(&mut cut, &answer, length));
                if heard.is_err() {
                    break;
                }
                prop_assert_eq!(whole.sent(), cut.sent());
            }
            prop_assert_eq!(whole.comes_back(), cut.comes_back());
            prop_assert_eq!(&whole.host.accounts, &cut.host.accounts);
            prop_assert_eq!(whole.host.audit_room, cut.host.audit_room);
            prop_assert_eq!(whole.session.want(), cut.session.want());
        }
    }
}
