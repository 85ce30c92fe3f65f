//! Lengths that lie, messages that do not belong, and bytes that are no text.

use std::io::Write;
use std::time::Duration;

use crate::messages::{bind_as, execute, lying, message, parse, query, startup, sync, target};
use crate::stage::Stage;
use crate::support::wire::Connection;

/// W7: the length in a SASLInitialResponse is checked against what is there; nothing is allocated by it.
pub fn a_sasl_response_cannot_lie_about_its_length(stage: &Stage) {
    let before = stage.proxy.peak_memory();
    for length in [0x7fff_ffff_u32, 0x8000_0000, 0xffff_fffb, 0xffff_ffff] {
        let body = [&b"SCRAM-SHA-256\0"[..], &length.to_be_bytes(), b"n,,n=,r=abcdefgh"].concat();
        assert_eq!(answer_to_sasl(stage, &message(b'p', &body)), "E[08P01]", "{length:#x}");
    }
    // No initial response: SCRAM has nothing to go on.
    let empty = [&b"SCRAM-SHA-256\0"[..], &[0xff; 4]].concat();
    assert!(answer_to_sasl(stage, &message(b'p', &empty)).starts_with("E["));
    assert_eq!(answer_to_sasl(stage, &message(b'p', b"")), "E[08P01]");
    for length in [0x7fff_ffff_u32, 0x8000_0000, 0xffff_ffff, 3, 0] {
        assert_eq!(answer_to_sasl(stage, &lying(b'p', length, b"x")), "E[08P01]", "{length:#x}");
    }
    assert!(stage.proxy.peak_memory() < before + 64 * 1024);
}

fn answer_to_sasl(stage: &Stage, response: &[u8]) -> String {
    let mut client = Connection::to(&stage.proxy);
    client.say(&startup(&[("user", "tenant_a"), ("database", "ccm")]));
    assert_eq!(client.hear_only(1), "R");
    client.say(response);
    client.until_closed()
}

/// W8: a length beyond the cap of its message ends the connection before anything is allocated for it.
pub fn lying_lengths_close_the_connection(stage: &Stage) {
    let before = stage.proxy.peak_memory();
    for tag in *b"QPBdDECSHXcf" {
        for length in [3_u32, 0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let mut client = Connection::of(&stage.proxy, "tenant_a");
            client.say(&lying(tag, length, b"select 1\0"));
            assert_eq!(client.until_closed(), "E[08P01]", "{} of {length:#x}", char::from(tag));
        }
    }
    for length in [3_u32, 0, 10_005, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut client = Connection::to(&stage.proxy);
        client.say(&[&length.to_be_bytes()[..], &[0, 3, 0, 0]].concat());
        let end = client.until_closed();
        assert!(end == "E[08P01]" || end.is_empty(), "startup of {length:#x}: {end}");
    }
    // A type that nobody sends.
    for tag in *b"zR\0\x01\xff" {
        let mut client = Connection::of(&stage.proxy, "tenant_a");
        client.say(&message(tag, b""));
        assert_eq!(client.until_closed(), "E[08P01]", "type {tag}");
    }
    assert!(stage.proxy.peak_memory() < before + 64 * 1024);
}

/// W8: messages may be cut anywhere.
pub fn a_header_may_come_byte_by_byte(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let bytes = [
        query("select 1"),
        parse("", "select title from documents where id = $1", &[]),
        bind_as("", "", &[], &[b"1111001"]),
        target(b'D', b'P', ""),
        execute("", 0),
        sync(),
    ];
    for byte in bytes.concat() {
        client.stream.get_mut().write_all(&[byte]).expect("a byte");
    }
    assert_eq!(client.hear(), "T D[1] C[SELECT 1] Z[I]");
    assert_eq!(client.hear(), "1 2 T D[CANARY_A title 1] C[SELECT 1] Z[I]");
}

/// W9: a value's length is what is there, and a long one arrives whole behind the predicate's own.
pub fn value_lengths_are_checked(stage: &Stage) {
    let count = "select count(*) from documents where title <> $1";
    for length in [-2_i32, i32::MAX, i32::MIN] {
        let mut client = Connection::of(&stage.proxy, "tenant_a");
        let body = [&b"\0\0\0\0\0\x01"[..], &length.to_be_bytes(), b"xx\0\0"].concat();
        client.say(&[parse("", count, &[]), message(b'B', &body), execute("", 0), sync()].concat());
        let answer = client.hear();
        assert_eq!(answer, "1 E[08P01] Z[I]", "{length}");
        client.is_usable();
    }
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let long = vec![b'x'; 70_000];
    let answer =
        client.ask(&[parse("", count, &[]), bind_as("", "", &[], &[&long]), execute("", 0), sync()].concat());
    assert_eq!(answer, "1 2 D[40] C[SELECT 1] Z[I]");
    // A text over the cap is skipped, and the session goes on.
    let long = format!("select '{}'", "x".repeat(1 << 20));
    assert_eq!(client.ask(&query(&long)), "E[54000] Z[I]");
    let long = format!("{long}{}", " ".repeat(400_000));
    assert_eq!(client.ask(&[parse("", &long, &[]), sync()].concat()), "E[54000] Z[I]");
    client.is_usable();
}

/// W45: FunctionCall goes around every statement, and is refused.
pub fn function_calls_are_refused(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    // lo_get, query_to_xml, none, and wrong counts.
    for (function, arguments) in [(3458_u32, 1_u16), (2923, 4), (0, 0), (1598, 0xffff)] {
        let body = [&function.to_be_bytes()[..], &[0, 0], &arguments.to_be_bytes(), &[0, 0]].concat();
        assert_eq!(client.ask(&message(b'F', &body)), "E[0A000] Z[I]", "function {function}");
    }
    client.say(&message(b'F', &[0; 10]));
    let refused = client.answer().expect("an answer").outcomes();
    assert_eq!(refused[0].refused_by(), Some("fast-path"));
    client.is_usable();
}

/// W46: bytes that are no UTF-8 reach neither parser nor server, and are never replaced by others.
pub fn bytes_that_are_no_utf8_are_refused(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let title = "select count(*) from documents where title = $1::text";
    for bad in [&b"\xc0\x27"[..], b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xbf", b"\xc1\x81", b"\xe0\x80\x80"]
    {
        let text = [b"select 1 as x, '", bad, b"'\0"].concat();
        assert_eq!(client.ask(&message(b'Q', &text)), "E[22021] Z[I]", "{bad:x?} in Query");
        let text = [b"\0select '", bad, b"'\0\0\0"].concat();
        assert_eq!(
            client.ask(&[message(b'P', &text), sync()].concat()),
            "E[22021] Z[I]",
            "{bad:x?} in Parse"
        );
        let name = [bad, b"\0select 1\0\0\0"].concat();
        assert_eq!(
            client.ask(&[message(b'P', &name), sync()].concat()),
            "E[22021] Z[I]",
            "{bad:x?} in a name"
        );
        for format in [0, 1] {
            let bytes = [parse("", title, &[]), bind_as("", "", &[format], &[bad]), execute("", 0), sync()];
            let answer = client.ask(&bytes.concat());
            assert_eq!(answer, "1 E[22021] Z[I]", "{bad:x?} in a value of format {format}");
        }
    }
    // A NUL: in text it ends the message early, in a value the server refuses it.
    for format in [0, 1] {
        let bytes = [parse("", title, &[]), bind_as("", "", &[format], &[b"a\0b"]), execute("", 0), sync()];
        assert_eq!(client.ask(&bytes.concat()), "1 E[22021] Z[I]", "NUL in format {format}");
    }
    client.is_usable();
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    client.say(&message(b'Q', b"select 1\0; select 2\0"));
    let end = client.hear_only(2);
    assert!(end.starts_with("E[08P01]"), "{end}");
    for (user, database) in [(&b"tenant_\xc0\x27"[..], &b"ccm"[..]), (b"tenant_a", b"\xed\xa0\x80")] {
        let body = [b"user\0", user, b"\0database\0", database, b"\0\0"].concat();
        let mut client = Connection::to(&stage.proxy);
        client.say(&crate::messages::packet(3 << 16, &body));
        let end = client.until_closed();
        assert!(end == "E[22021]" || end == "E[08P01]", "{end}");
    }
    // The name of an application is shown with what it may have.
    let named = [("user", "tenant_a"), ("database", "ccm"), ("application_name", "a\u{e9}\u{1b}[1m")];
    let client = Connection::start(&stage.proxy, &named).expect("a name that is shown cleaned");
    client.patience(Duration::from_secs(5));
}
