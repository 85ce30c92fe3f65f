//! A long Bind that passes as it comes, byte by byte.

use super::harness::*;
use super::*;

const TEXT: &str = "select $1, $2, tenant()";

/// A session that has prepared `s` and takes messages of 16 MiB.
fn prepared(text: &str) -> Rig {
    let mut rig = Rig::fixed();
    rig.session.terms.limits.value = 16 << 20;
    let parameters = if text.contains("$3") { 3 } else { 2 };
    rig.say(&[parse("s", text, &[25; 3][..parameters]), sync()].concat());
    if rig.session.active().unwrap().has_lease() {
        rig.answer(&[m('1', b""), ready('I')].concat());
        assert!(rig.released());
    }
    rig.heard();
    rig.sent();
    rig
}

/// A value of so many bytes, no two neighbours of which are alike.
fn value(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

/// The client says this in pieces of so many bytes; what the server has got of it.
fn say_in(rig: &mut Rig, bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut io = Io { client: &mut rig.client, server: &mut rig.server };
        rig.session.client_bytes(&mut rig.host, &mut io, piece);
        assert!(rig.session.backlog() <= frame::LONG + piece.len() + 5, "{} are kept", rig.session.backlog());
        sent.append(&mut rig.server);
    }
    sent
}

fn ends_within_a_message(mut sent: &[u8]) -> bool {
    while let [_, a, b, c, d, ..] = sent {
        match sent.get(1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize..) {
            Some(rest) => sent = rest,
            None => return true,
        }
    }
    !sent.is_empty()
}

fn is_over(rig: &Rig) -> bool {
    *rig.session.want() == Want::End
}

#[test]
fn long_bind_becomes_the_same_whether_it_passes_or_is_kept() {
    let long = value(300_000);
    let batch = [bind("", "s", &[&long, "short"]), execute(""), sync()].concat();
    let mut rig = prepared(TEXT);
    let kept = say_in(&mut rig, &batch, batch.len());
    assert!(kept.ends_with(&[&b"short\0\0\0\x011\0\0"[..], &execute(""), &sync()].concat()));
    for piece in [1000, 16_384, 65_541, 100_000] {
        let mut rig = prepared(TEXT);
        assert_eq!(say_in(&mut rig, &batch, piece), kept, "pieces of {piece}");
        // The Parse before it is the proxy's own.
        let answers = [m('1', b""), m('2', b""), complete("SELECT 1"), ready('I')];
        assert_eq!(rig.answer(&answers.concat()), "2 C[SELECT 1.] Z[I]");
        assert!(rig.released());
        assert_eq!(rig.host.accounts, ["1 ran 1 "]);
    }
}

#[test]
fn long_bind_may_be_cut_at_every_byte_of_its_fields() {
    let long = value(70_000);
    let message = bind("portal", "s", &[&long, "0123456789"]);
    let kept = say_in(&mut prepared(TEXT), &message, message.len());
    let ends = message.len() - 30..message.len();
    for at in (1..40).chain(frame::LONG - 5..frame::LONG + 20).chain(ends) {
        let mut rig = prepared(TEXT);
        let (first, second) = message.split_at(at);
        let sent = [say_in(&mut rig, first, first.len()), say_in(&mut rig, second, second.len())].concat();
        assert_eq!(sent, kept, "cut at {at}");
        assert!(rig.session.active().unwrap().passing.is_none());
    }
    let mut rig = prepared(TEXT);
    let beginning = say_in(&mut rig, &message[..70_000], 10_000);
    let rest = message[70_000..].chunks(1).flat_map(|byte| say_in(&mut rig, byte, 1)).collect();
    assert_eq!([beginning, rest].concat(), kept, "byte by byte");
}

#[test]
fn nothing_of_a_bind_that_is_refused_is_sent() {
    let long = value(200_000);
    let mut formats = bind("", "s", &[&long, "x"]);
    formats[8..10].copy_from_slice(&[0, 3]);
    let mut lying = bind("", "s", &[&long, "x"]);
    lying[12..16].copy_from_slice(&300_000u32.to_be_bytes());
    for (message, state) in [
        (bind("", "s", &[&long, "x", "1"]), "08P01"),
        (bind("", "s", &[&long]), "08P01"),
        (bind("", "nowhere", &[&long, "x"]), "26000"),
        (formats, "08P01"),
        (lying, "08P01"),
    ] {
        let mut rig = prepared(TEXT);
        let sent = say_in(&mut rig, &[message, execute(""), sync()].concat(), 16_384);
        assert_eq!((shown(&sent), rig.heard()), (String::new(), format!("E[{state}] Z[I]")));
        // The rest of it was skipped, and the session goes on.
        assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
    }
}

#[test]
fn lengths_that_lie_behind_the_beginning_cost_the_connection() {
    let long = value(200_000);
    let message = bind("", "s", &[&long, "x"]);
    let second = 16 + long.len();
    for (at, field) in [
        (second, &(-2i32).to_be_bytes()[..]),
        (second, &4i32.to_be_bytes()),
        (second, &i32::MAX.to_be_bytes()),
        (second, &0i32.to_be_bytes()),
        (message.len() - 2, &[0, 1]),
        (message.len() - 2, &[0xff, 0xff]),
    ] {
        let mut lying = message.clone();
        lying[at..at + field.len()].copy_from_slice(field);
        let mut rig = prepared(TEXT);
        let sent = say_in(&mut rig, &[lying, execute(""), sync()].concat(), 16_384);
        assert!(ends_within_a_message(&sent), "it must not be completed");
        let heard = rig.heard();
        assert!(heard.starts_with("E[SFATAL.VFATAL.C08P01"), "{heard} after {field:?} at {at}");
        assert!(is_over(&rig) && rig.session.client_gone(&mut rig.host).is_none() && !rig.released());
    }
}

#[test]
fn client_that_goes_in_the_middle_costs_the_connection() {
    let mut rig = prepared(TEXT);
    let message = bind("", "s", &[&value(200_000), "x"]);
    assert!(ends_within_a_message(&say_in(&mut rig, &message[..150_000], 16_384)));
    assert!(rig.session.client_gone(&mut rig.host).is_none() && !rig.released());
}

#[test]
fn error_before_a_bind_that_passes_does_not_cut_it() {
    let mut rig = prepared(TEXT);
    let message = bind("", "s", &[&value(200_000), "x"]);
    let (first, second) = message.split_at(100_000);
    let begun = say_in(&mut rig, &[&parse("", "select 'nothing'", &[]), first].concat(), 16_384);
    assert_eq!(rig.answer(&error("42703")), "E[42703]");
    assert!(!rig.released() && rig.sent().is_empty());
    let rest = say_in(&mut rig, second, 16_384);
    let whole = [begun, rest].concat();
    assert!(shown(&whole).ends_with("x....1..]"), "the server gets whole messages");
    assert_eq!(rig.say(&[execute(""), sync()].concat()), "S");
    assert_eq!(rig.answer(&ready('I')), "Z[I]");
    assert!(rig.released());
}

#[test]
fn bind_that_follows_an_error_is_skipped() {
    let mut rig = prepared(TEXT);
    let message = bind("", "s", &[&value(200_000), "x"]);
    let sent = say_in(&mut rig, &[parse("", "refuse !", &[]), message, sync()].concat(), 16_384);
    assert_eq!((sent, rig.heard()), (Vec::new(), "E[42501] Z[I]".to_owned()));
}

#[test]
fn long_bind_waits_for_its_connection() {
    let mut rig = prepared(TEXT);
    rig.host.free = 0;
    let message = [bind("", "s", &[&value(200_000), "x"]), sync()].concat();
    let (first, second) = message.split_at(70_000);
    assert_eq!(say_in(&mut rig, first, 10_000), b"");
    assert_eq!(*rig.session.want(), Want::Lease);
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    let server = Server::new(vec![("TimeZone".into(), "UTC".into())]);
    rig.session.lease_granted(&mut rig.host, &mut io, Box::new(server));
    let begun = std::mem::take(&mut rig.server);
    let whole = [begun, say_in(&mut rig, second, 10_000)].concat();
    assert!(shown(&whole).starts_with("P[pgb_s1.") && shown(&whole).ends_with("x....1..] S"));
}

#[test]
fn batch_with_a_bind_that_passed_is_not_sent_again() {
    let mut rig = prepared(TEXT);
    let batch = [bind("", "s", &[&value(200_000), "x"]), m('D', b"P\0"), execute(""), sync()].concat();
    say_in(&mut rig, &batch, 16_384);
    let stale = b"SERROR\0VERROR\0C0A000\0Mchanged\0RRevalidateCachedQuery\0\0";
    // The Parse before it was the proxy's own.
    assert_eq!(rig.answer(&[m('1', b""), m('E', stale), ready('I')].concat()), "E[0A000] Z[I]");
    assert_eq!(rig.sent(), "");
    assert!(rig.released());
}

#[test]
fn bind_whose_values_are_looked_at_is_kept_up_to_a_bound() {
    for text in ["set timezone to 'x'", "execute p", "", "copy t to stdout"] {
        let mut rig = prepared(text);
        rig.say(&[parse("p", "select 1", &[]), sync()].concat());
        rig.answer(&[m('1', b""), ready('I')].concat());
        assert!(rig.released());
        let message = bind("", "s", &[&value(300_000), "x"]);
        let sent = say_kept(&mut rig, &message);
        assert!(text.is_empty() || shown(&sent).contains("B["), "{text}: {}", shown(&sent));
        let mut rig = prepared(text);
        let long = [bind("", "s", &[&value(2_000_000), "x"]), sync()].concat();
        let sent = say_in(&mut rig, &long, 16_384);
        assert_eq!((sent, rig.heard()), (Vec::new(), "E[54000] Z[I]".to_owned()), "{text}");
    }
}

#[test]
fn conditions_that_rely_on_values_are_decided_before_anything_is_sent() {
    let (short, fit, medium, long) = (value(10), value(90_000), value(200_000), value(2_000_000));
    // Which statement is sent, whether the Bind passed as it came, and what the client heard.
    let said = |text: &str, values: &[&str]| {
        let mut rig = prepared(text);
        let message = bind("", "s", values);
        let (most, last) = message.split_at(message.len() - 4_000);
        let mut early = Vec::new();
        for piece in most.chunks(16_384) {
            rig.session.client_bytes(
                &mut rig.host,
                &mut Io { client: &mut rig.client, server: &mut early },
                piece,
            );
        }
        let passed = ends_within_a_message(&early);
        let sent = shown(&[early, say_in(&mut rig, &[last, &sync()].concat(), 16_384)].concat());
        let sent = ["careful", "short"].into_iter().find(|kind| sent.contains(kind));
        (sent.unwrap_or("nothing"), passed, rig.heard())
    };
    let passes = |sent| (sent, true, String::new());
    let refused = |state| ("nothing", false, format!("E[{state}] Z[I]"));
    let (bare, guarded) = ("select $1, $2 short", "select $1, $2 short guarded");
    for text in [bare, guarded] {
        // Its length is here, or it cannot be too long.
        for values in [[&short, &fit], [&fit, &short], [&long, &short], [&medium, &fit]] {
            assert_eq!(said(text, &values.map(|value| &**value)), passes("short"));
        }
    }
    // Its length shows that it is too long.
    assert_eq!(said(guarded, &[&short, &medium]), passes("careful"));
    assert_eq!(said(bare, &[&short, &medium]), refused("0A000"));
    // Nothing is known of it: what is before it is kept, or it is too much for that.
    let (bare, guarded) = ("select $1, $2, $3 short", "select $1, $2, $3 short guarded");
    assert_eq!(said(guarded, &[&medium, &short, &medium]), passes("short"));
    assert_eq!(said(guarded, &[&medium, &short, &long]), passes("careful"));
    assert_eq!(said(bare, &[&medium, &short, &long]), refused("54000"));
}

/// The client says this, and it is kept until its end.
fn say_kept(rig: &mut Rig, bytes: &[u8]) -> Vec<u8> {
    let (most, last) = bytes.split_at(bytes.len() - 1);
    let mut sent = Vec::new();
    for piece in most.chunks(16_384).chain([last]) {
        assert!(sent.is_empty(), "nothing passes before it is whole");
        let mut io = Io { client: &mut rig.client, server: &mut rig.server };
        rig.session.client_bytes(&mut rig.host, &mut io, piece);
        sent.append(&mut rig.server);
    }
    sent
}
