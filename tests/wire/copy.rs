//! COPY messages in their place and out of it.

use crate::messages::{flush, message, once, parse, query, sync};
use crate::stage::Stage;
use crate::support::wire::{Connection, CopyIn, Extended};

/// W42: what a client sends behind a COPY that was refused is no statement: CopyData, CopyDone and CopyFail
/// outside COPY are dropped without a word.
pub fn copy_data_outside_copy_is_dropped(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let data = [
        message(b'd', b"drop table documents;\nselect 1;\n"),
        message(b'd', b""),
        message(b'c', b""),
        message(b'f', b"no\0"),
    ]
    .concat();
    for refused in
        ["copy countries from stdin", "copy documents from '/etc/passwd'", "copy documents from program 'id'"]
    {
        let answer = client.ask(&[query(refused), data.clone(), query("select 7")].concat());
        assert!(answer.starts_with("E["), "{refused}: {answer}");
        assert_eq!(client.hear(), "T D[7] C[SELECT 1] Z[I]", "{refused}");
        let bytes = [once(refused, &[]), data.clone(), sync(), query("select 7")].concat();
        let answer = client.ask(&bytes);
        assert!(answer.contains("E["), "{refused}: {answer}");
        assert_eq!(client.hear(), "T D[7] C[SELECT 1] Z[I]", "{refused}");
    }
    // Between the messages of a batch, and before anything.
    let answer = client.ask(&[data.clone(), parse("", "select 1", &[]), data.clone(), sync(), data].concat());
    assert_eq!(answer, "1 Z[I]");
    client.is_usable();
}

/// W44: two COPY FROM in one text: each is checked, or both are refused; the data of one is not a statement.
pub fn two_copies_in_one_text_are_both_checked(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let text =
        "copy settings (tenant_id, key, value) from stdin; copy settings (tenant_id, key, value) from stdin";
    client.say(&query(text));
    let first = client.read_message().expect("an answer");
    if first.tag == b'G' {
        client.say(&[message(b'd', b"1\tw44\tCANARY_A x\n"), message(b'c', b"")].concat());
        client.say(&[message(b'd', b"2\tw44\tCANARY_A x\n"), message(b'c', b"")].concat());
    }
    let mut tags = vec![first.tag];
    while tags.last() != Some(&b'Z') {
        tags.push(client.read_message().expect("an answer").tag);
    }
    assert!(tags.contains(&b'E'), "{tags:?}");
    let left = stage.superuser().values("select count(*) from app.settings where key = 'w44'");
    assert_eq!(left, [["0"]]);
    client.is_usable();
}

/// W43: whatever a stream makes of the tenant's column, by COPY's escapes, quotes, formats or frames, no row of
/// another tenant is written, and the session goes on.
pub fn no_stream_writes_another_tenants_row(stage: &Stage) {
    let others = "select count(*), max(label) from app.tags where tenant_id <> 1";
    let mut superuser = stage.superuser();
    let before = superuser.values(others);
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    for (options, stream) in streams() {
        let sql = format!("begin; copy tags (tenant_id, id, label) from stdin{options}");
        client.set_copy_in(Some(CopyIn::Data(vec![stream.clone()])));
        client.simple(&sql).expect("an answer");
        client.ask(&query("commit"));
        assert_eq!(superuser.values(others), before, "{sql} of {stream:x?}");
        client.ask(&query("delete from tags where id between 990 and 1000"));
    }
    let sql = "copy tags (tenant_id, id, label) from stdin";
    client.set_copy_in(Some(CopyIn::Fail(b"2\t990\tx\n".to_vec(), "no".into())));
    client.extended(&Extended { sql: sql.into(), parse: true, ..Extended::default() }).expect("an answer");
    assert_eq!(superuser.values(others), before);
    client.is_usable();
    // Frames of one byte, empty ones, and Sync and Flush among them.
    client.say(&query(sql));
    if client.read_message().expect("an answer").tag == b'G' {
        for byte in b"1\t995\tCANARY_A x\n" {
            client.say(&[message(b'd', &[*byte]), message(b'd', b""), flush(), sync()].concat());
        }
        assert_eq!(client.ask(&message(b'c', b"")), "C[COPY 1] Z[I]");
        assert_eq!(client.ask(&query("delete from tags where id = 995")), "C[DELETE 1] Z[I]");
    } else {
        client.hear();
    }
    client.is_usable();
}

/// COPY options, and data that would write a row of tenant 2 if it were read in the wrong way.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let binary =
        |rows: &[&[u8]]| [&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..], &rows.concat(), b"\xff\xff"].concat();
    let row = |tenant: &[u8]| {
        let length = u32::try_from(tenant.len()).expect("short").to_be_bytes();
        [b"\0\x03", &length[..], tenant, b"\0\0\0\x04\0\0\x03\xe7\0\0\0\x01x"].concat()
    };
    let (own, foreign) = (row(&[0, 0, 0, 1]), row(&[0, 0, 0, 2]));
    let more = [&b"\0\x04"[..], &foreign[2..], b"\0\0\0\x01x"].concat();
    let unsigned = [&b"PGCOPY\n\0\r\n\0\0\0\0\0\0\0\0\0"[..], &foreign, b"\xff\xff"].concat();
    vec![
        ("", b"2\t990\tx\n".to_vec()),
        ("", b"1\t990\tx\n2\t991\tx\n".to_vec()),
        ("", b"\\x32\t990\tx\n".to_vec()),
        ("", b"\\062\t990\tx\n".to_vec()),
        ("", b"1\\\n\t990\tx\n".to_vec()),
        ("", b"1\\\t\t990\tx\n".to_vec()),
        ("", b"\\N\t990\tx\n".to_vec()),
        ("", b"1\t990\tx\n\\.\n2\t991\tx\n".to_vec()),
        ("", b"1\t990\tx\r\n2\t991\tx\n".to_vec()),
        ("", b"1\t990\tx\r2\t991\tx\r".to_vec()),
        ("", b"1\t990\tx\t2\n".to_vec()),
        ("", b"1\t990\n2\t991\tx\n".to_vec()),
        (" (format csv)", b"\"2\",990,x\n".to_vec()),
        (" (format csv)", b"1,990,\"x\n2,991,y\"\n\"2\",992,z\n".to_vec()),
        (" (format csv, quote '''')", b"'2',990,x\n".to_vec()),
        (" (format csv, escape '\\')", b"\"1\\\"2\",990,x\n".to_vec()),
        (" (format csv, header)", b"2,990,x\n2,991,x\n".to_vec()),
        (" (format csv, null '1')", b"1,990,x\n".to_vec()),
        (" (delimiter '2')", b"121\t2x\n".to_vec()),
        (" (format binary)", binary(&[&foreign])),
        (" (format binary)", binary(&[&own, &foreign])),
        (" (format binary)", binary(&[&row(&[0, 0, 0, 0, 0, 0, 0, 2])])),
        (" (format binary)", binary(&[b"\0\x03\xff\xff\xff\xfe"])),
        (" (format binary)", binary(&[&more])),
        (" (format binary)", binary(&[b"\xff\xff", &foreign])),
        (" (format binary)", unsigned),
        (" (format binary)", foreign),
    ]
}
