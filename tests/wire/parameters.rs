//! The tenant is the parameter behind the client's own, and nothing that the client says gets into its place.

use crate::messages::{bind, bind_as, count, execute, message, parse, query, sync, target};
use crate::stage::Stage;
use crate::support::wire::{Connection, Extended};

const INT8: u32 = 20;
const INT4: u32 = 23;
const BY_ID: &str = "select title from documents where id = $1";

/// W24, R2: more types declared than the statement uses: the tenant stands behind the declared ones.
/// Fails when its number is the highest used one plus one: B's row comes back.
pub fn tenant_stands_behind_every_declared_parameter(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let ask = |client: &mut Connection, values: &[&str]| {
        client.ask(
            &[parse("", BY_ID, &[INT8, INT4, INT4]), bind("", "", values), execute("", 0), sync()].concat(),
        )
    };
    assert_eq!(ask(&mut client, &["2222001", "2", "2"]), "1 2 C[SELECT 0] Z[I]");
    assert_eq!(ask(&mut client, &["1111001", "2", "2"]), "1 2 D[CANARY_A title 1] C[SELECT 1] Z[I]");
    // One type too many makes the client's own number larger, for Bind and for Describe.
    for values in [&["2222001"][..], &["2222001", "2"], &["2222001", "2", "2", "2"]] {
        assert_eq!(ask(&mut client, values), "1 E[08P01] Z[I]", "{values:?}");
    }
}

/// W25, R2: the number of values is compared with the client's own number before the tenant is appended.
pub fn one_value_too_many_or_too_few_is_refused(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    for (sql, values) in [
        (BY_ID, &["2222001", "2"][..]),
        (BY_ID, &[]),
        ("select count(*) from documents", &["2"]),
        ("select 1 where $2 = 'x'", &["a"]),
        ("select 1 where $2 = 'x'", &["a", "x", "2"]),
        ("insert into tags (id, label) values ($1, 'x')", &["900", "2"]),
    ] {
        let types = if sql.starts_with("select 1") { vec![25, 25] } else { Vec::new() };
        let bytes = [parse("", sql, &types), bind("", "", values), execute("", 0), sync()].concat();
        client.say(&bytes);
        let answer = client.answer().expect("an answer");
        let error = answer.error().expect("a refusal");
        assert_eq!(error[&'C'], "08P01", "{sql}");
        let text = format!("supplies {} parameters, but prepared statement requires", values.len());
        assert!(error[&'M'].contains(&text), "{error:?}");
        assert_eq!(answer.status, b'I');
    }
    client.is_usable();
}

/// W24: a `$n` beyond the client's own is a parameter of the client's, which Bind must supply.
pub fn a_parameter_beyond_the_clients_own_is_not_the_tenants(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    for sql in [
        "select title from documents where id = $1 and tenant_id = $2",
        "select title from documents where id = $1 or tenant_id = $2",
        "select $2::int, title from documents where id = $1",
    ] {
        let bytes = [parse("", sql, &[INT8]), bind("", "", &["2222001"]), execute("", 0), sync()].concat();
        assert_eq!(client.ask(&bytes), "1 E[08P01] Z[I]", "{sql}");
        let bytes =
            [parse("", sql, &[INT8]), bind("", "", &["2222001", "2"]), execute("", 0), sync()].concat();
        let answer = client.ask(&bytes);
        assert!(!answer.contains("CANARY_B"), "{sql}: {answer}");
    }
    // `$0`, and numbers that no parameter has.
    for sql in ["select $0", "select $65536", "select $99999999999"] {
        let answer = client.ask(&[parse("", sql, &[]), sync()].concat());
        assert!(answer.starts_with("E["), "{sql}: {answer}");
    }
    client.is_usable();
}

/// W26, R2: format codes are written out for the client's values, and the tenant has its own.
pub fn format_codes_are_the_clients_own(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let sql = "select title from documents where id = $1 and length(title) > $2";
    let (id, least) = (1_111_001_i64.to_be_bytes(), 3_i32.to_be_bytes());
    let ask = |client: &mut Connection, formats: &[u16], values: &[&[u8]]| {
        client.ask(
            &[parse("", sql, &[INT8, INT4]), bind_as("", "", formats, values), execute("", 0), sync()]
                .concat(),
        )
    };
    let found = "1 2 D[CANARY_A title 1] C[SELECT 1] Z[I]";
    assert_eq!(ask(&mut client, &[1], &[&id, &least]), found);
    assert_eq!(ask(&mut client, &[1, 1], &[&id, &least]), found);
    assert_eq!(ask(&mut client, &[0, 1], &[b"1111001", &least]), found);
    assert_eq!(ask(&mut client, &[], &[b"1111001", b"3"]), found);
    assert_eq!(ask(&mut client, &[0], &[b"1111001", b"3"]), found);
    // As many codes as there would be with the tenant, and other wrong numbers.
    for formats in [&[1_u16, 1, 1][..], &[0, 0, 0, 0]] {
        assert_eq!(ask(&mut client, formats, &[&id, &least]), "1 E[08P01] Z[I]", "{formats:?}");
    }
    let four =
        [parse("", "select $1::int, $2::int, $3::int", &[]), bind_as("", "", &[1, 1], &[&least[..]; 3])];
    assert_eq!(client.ask(&[&four.concat()[..], &sync()].concat()), "1 E[08P01] Z[I]");
    let bytes = [parse("", sql, &[INT8, INT4]), bind_as("", "", &[2], &[&id, &least]), sync()].concat();
    assert!(client.ask(&bytes).contains("E[08P01]"));
    client.is_usable();
}

/// W27, R2: 65 535 parameters leave no room for the tenant.
pub fn without_room_for_the_tenant_a_statement_is_refused(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let most = vec![INT4; 65_535];
    assert_eq!(client.ask(&[parse("", BY_ID, &most), sync()].concat()), "E[54000] Z[I]");
    let last = "select title from documents where id = $65535";
    assert_eq!(client.ask(&[parse("", last, &[]), sync()].concat()), "E[54000] Z[I]");
    // One below the limit the tenant fits.
    let values = vec![&b"1111001"[..]; 65_534];
    let bytes =
        [parse("", BY_ID, &vec![INT8; 65_534]), bind_as("", "", &[], &values), execute("", 0), sync()];
    assert_eq!(client.ask(&bytes.concat()), "1 2 D[CANARY_A title 1] C[SELECT 1] Z[I]");
}

/// W28: Describe tells the client's own parameters.
pub fn describe_hides_the_tenant(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    for (sql, types, told) in [
        (BY_ID, vec![], vec![INT8]),
        (BY_ID, vec![INT8, INT4, INT4], vec![INT8, INT4, INT4]),
        ("select count(*) from documents", vec![], vec![]),
        ("insert into tags (id, label) values ($1, $2)", vec![], vec![INT4, 25]),
        ("select 1", vec![], vec![]),
    ] {
        let request = Extended { sql: sql.into(), parameter_types: types, ..Extended::default() };
        let answer = client.describe(&request).expect("an answer");
        assert_eq!(answer.parameter_types(), Some(told), "{sql}");
    }
    // The same at a Flush.
    let bytes =
        [parse("", "select count(*) from documents", &[]), target(b'D', b'S', ""), message(b'H', b"")];
    client.say(&bytes.concat());
    client.hear_only(3);
    let last = &client.heard[client.heard.len() - 2];
    assert_eq!((last.tag, &last.body[..]), (b't', &count(0)[..]));
    assert_eq!(client.ask(&sync()), "Z[I]");
}

/// Binary parameters and results of many types come back as PostgreSQL gives them.
pub fn binary_values_pass_unchanged(stage: &Stage) {
    let login = stage.server.direct("app_backend", "wire");
    let mut server = Connection::open(&login).expect("the server");
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    server.run("set search_path = app, ext");
    for (expression, value) in [
        ("$1::int8", &1_111_001_i64.to_be_bytes()[..]),
        ("$1::int2", &7_i16.to_be_bytes()),
        ("$1::float8", &1.5_f64.to_be_bytes()),
        ("$1::bool", &[1]),
        ("$1::bytea", b"\0\xff\x01"),
        ("$1::text", "é €".as_bytes()),
        ("$1::timestamptz", &86_400_000_000_i64.to_be_bytes()),
        ("$1::date", &42_i32.to_be_bytes()),
        ("$1::uuid", b"0123456789abcdef"),
        ("$1::numeric", b"\0\x01\0\0\0\0\0\x01\0\x2a"),
        ("$1::jsonb", b"\x01{\"a\": 1}"),
        ("$1::int4[]", b"\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07"),
    ] {
        let request = Extended {
            sql: format!("select {expression}, count(*) from countries group by 1"),
            parse: true,
            parameters: vec![Some(value.to_vec())],
            parameter_formats: vec![1],
            result_formats: vec![1],
            ..Extended::default()
        };
        let own = client.extended(&request).expect("an answer").outcomes();
        assert_eq!(own, server.extended(&request).expect("an answer").outcomes(), "{expression}");
        assert_eq!(own[0].state(), None, "{expression}: {own:?}");
        assert_eq!(own[0].rows[0][0].as_deref(), Some(value), "{expression}");
    }
    assert_eq!(client.ask(&query("select 1")), "T D[1] C[SELECT 1] Z[I]");
}
