//! What a stream becomes, in whatever pieces it comes.

use proptest::prelude::*;

use super::*;
use crate::policy::{Refusal, SqlState, TenantId};

fn form(format: Format) -> Form {
    let csv = format == Format::Csv;
    Form {
        format,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { Box::default() } else { Form::text().null },
        ..Form::text()
    }
}

fn load(form: Form, place: Place, inserts: bool) -> Load {
    let given = matches!(place, Place::Given { .. });
    let columns = if given { vec!["a", "tenant_id", "b"] } else { vec!["a", "b"] };
    let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
    let inserts = inserts.then(|| vec![25; columns.len()]);
    Load { form, columns, relation: "t".to_owned(), place, inserts }
}

fn added(form: Form) -> Load {
    load(form, Place::Added { column: "tenant_id".to_owned(), type_oid: 23 }, false)
}

fn given(form: Form) -> Load {
    load(form, Place::Given { index: 1, type_oid: 23 }, false)
}

fn inserted(form: Form) -> Load {
    load(form, Place::Nowhere, true)
}

/// What goes to the server, and how it ended.
fn run(load: &Load, pieces: &[&[u8]]) -> (Vec<u8>, Result<(), Refusal>) {
    let tenant = TenantId::new("1").unwrap();
    let mut transcoder = Transcoder::new(load.clone().into(), Some(&tenant)).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        if let Err(refusal) = transcoder.data(piece, &mut out) {
            return (out, Err(refusal));
        }
    }
    let outcome = transcoder.done(&mut out);
    (out, outcome)
}

fn becomes(load: &Load, data: &str, wanted: &str) {
    let (out, outcome) = run(load, &[data.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&out), wanted, "{data:?}");
    assert_eq!(outcome, Ok(()), "{data:?}");
}

fn refused(load: &Load, data: &[u8], state: SqlState) {
    let (out, outcome) = run(load, &[data]);
    assert_eq!(outcome.unwrap_err().state, state, "{data:?} {:?}", String::from_utf8_lossy(&out));
}

#[test]
fn the_tenant_is_put_before_each_row() {
    let text = added(form(Format::Text));
    becomes(&text, "a\tb\n\\N\tc\n", "1\ta\tb\n1\t\\N\tc\n");
    becomes(&text, "a\tb\r\nc\td", "1\ta\tb\r\n1\tc\td");
    becomes(&text, "a\\\nb\tc\n", "1\ta\\\nb\tc\n");
    becomes(&text, "a\rb\r", "1\ta\r1\tb\r");
    becomes(&text, "\n\n", "1\t\n1\t\n");
    becomes(&text, "", "");
    let csv = added(form(Format::Csv));
    becomes(&csv, "\"a\nb\",c\nd,e\n", "1,\"a\nb\",c\n1,d,e\n");
    becomes(&csv, "\"a\"\"\n\",c\n", "1,\"a\"\"\n\",c\n");
    becomes(&csv, "a,\"b", "1,a,\"b");
}

#[test]
fn what_stands_behind_the_end_marker_is_not_sent() {
    let text = added(form(Format::Text));
    becomes(&text, "a\tb\n\\.\nc\td\n", "1\ta\tb\n\\.\n");
    becomes(&text, "a\tb\\.\nc\td\n", "1\ta\tb\\.\n");
    becomes(&text, "a\\\\.\tb\n", "1\ta\\\\.\tb\n");
    becomes(&text, "\\.x\nc\td\n", "\\.x");
    let csv = added(form(Format::Csv));
    becomes(&csv, "a,b\n\\.\nc,d\n", "1,a,b\n\\.\n");
    becomes(&csv, "\\.a,b\n\\.", "1,\\.a,b\n1,\\.");
    becomes(&csv, "\"\n\\.\n\",b\n", "1,\"\n\\.\n\",b\n");
    let modern = added(Form { csv_marker: false, ..form(Format::Csv) });
    becomes(&modern, "\\.\nc,d\n", "1,\\.\n1,c,d\n");
}

#[test]
fn a_given_tenant_is_checked_as_the_server_reads_it() {
    let text = given(form(Format::Text));
    becomes(&text, "a\t1\tb\n", "a\t1\tb\n");
    becomes(&text, "a\t\\x31\tb\n", "a\t\\x31\tb\n");
    becomes(&text, "a\t 01\tb\n", "a\t1\tb\n");
    becomes(&text, "a\tone\tb\n", "a\tone\tb\n");
    for foreign in ["2", "\\x32", "\\62", "\\N", "", "1\\\n2", "1_0", "11"] {
        refused(&text, format!("a\t{foreign}\tb\n").as_bytes(), SqlState::DENIED);
    }
    let csv = given(form(Format::Csv));
    becomes(&csv, "a,\"1\",b\n", "a,\"1\",b\n");
    becomes(&csv, "\"a,2,\",1,b\n", "\"a,2,\",1,b\n");
    for foreign in ["2", "\"2\"", "", "\"\"", "1\"2\"", "\"1\"2"] {
        refused(&csv, format!("a,{foreign},b\n").as_bytes(), SqlState::DENIED);
    }
}

#[test]
fn rows_before_a_foreign_one_have_gone_out() {
    let (out, outcome) = run(&given(form(Format::Text)), &[b"a\t1\tb\na\t2\tb\na\t1\tb\n"]);
    assert_eq!(out, b"a\t1\tb\n");
    assert_eq!(outcome.unwrap_err().state, SqlState::DENIED);
}

#[test]
fn malformed_rows_are_the_servers_to_refuse() {
    let text = given(form(Format::Text));
    let (out, outcome) = run(&text, &[b"a\nb\t2\tc\n"]);
    assert_eq!(out, b"a\n", "what follows would be read by nobody");
    assert_eq!(outcome.unwrap_err().state, SqlState("22P04"));
    let (out, _) = run(&added(form(Format::Text)), &[b"a\tb\nc\rd\n"]);
    assert_eq!(out, b"1\ta\tb\nc\r");
}

#[test]
fn markers_that_are_the_tenants_value_are_not_mistaken() {
    let tenant = TenantId::new("1").unwrap();
    let null = |format| Form { null: Box::from(&b"1"[..]), ..form(format) };
    assert!(Transcoder::new(added(null(Format::Text)).into(), Some(&tenant)).is_err());
    becomes(&added(null(Format::Csv)), "a,b\n", "\"1\",a,b\n");
    let all = Form { force_null: Columns::All, ..null(Format::Csv) };
    assert!(Transcoder::new(added(all).into(), Some(&tenant)).is_err());
    refused(&given(null(Format::Csv)), b"a,1,b\n", SqlState::DENIED);
    let kept = Form { force_not_null: Columns::All, ..null(Format::Csv) };
    becomes(&given(kept), "a,1,b\n", "a,1,b\n");
    let default = Form { default: Some(Box::from(&b"\\D"[..])), ..form(Format::Text) };
    becomes(&given(default), "a\t\\D\tb\n", "a\t1\tb\n");
    assert!(Transcoder::new(added(form(Format::Text)).into(), None).is_err());
}

#[test]
fn a_header_is_no_row() {
    let skipped = Form { header: Header::Skip, ..form(Format::Csv) };
    becomes(&added(skipped.clone()), "x\na,b\n", "x\n1,a,b\n");
    becomes(&given(skipped), "x,2,y\na,1,b\n", "x,2,y\na,1,b\n");
    let named = Form { header: Header::Match, ..form(Format::Csv) };
    becomes(&added(named.clone()), "a,b\nc,d\n", "\"tenant_id\",a,b\n1,c,d\n");
    refused(&inserted(named), b"b,a\nc,d\n", SqlState("22P04"));
}

fn binary(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut out = [binary::SIGNATURE, &[0; 8]].concat();
    for row in rows {
        out.extend_from_slice(&(row.len() as i16).to_be_bytes());
        for field in *row {
            out.extend_from_slice(&field.map_or(-1, |f| f.len() as i32).to_be_bytes());
            out.extend_from_slice(field.unwrap_or_default());
        }
    }
    out.extend_from_slice(&[0xff, 0xff]);
    out
}

#[test]
fn binary_rows_get_or_have_their_tenant() {
    let (one, two) = (Some(&[0, 0, 0, 1][..]), Some(&[0, 0, 0, 2][..]));
    let (x, none) = (Some(&b"x"[..]), None);
    let (out, outcome) = run(&added(form(Format::Binary)), &[&binary(&[&[x, none], &[none, x]])]);
    assert_eq!(out, binary(&[&[one, x, none], &[one, none, x]]));
    assert_eq!(outcome, Ok(()));
    let checked = given(form(Format::Binary));
    let own = binary(&[&[x, one, none]]);
    assert_eq!(run(&checked, &[&own]), (own.clone(), Ok(())));
    refused(&checked, &binary(&[&[x, one, x], &[x, two, x]]), SqlState::DENIED);
    refused(&checked, &binary(&[&[x, none, x]]), SqlState::DENIED);
    // A length of -2, another width, another signature: passed on for the server to refuse, and nothing behind.
    let mut lying = own.clone();
    lying[21..25].copy_from_slice(&(-2i32).to_be_bytes());
    for bad in [lying, binary(&[&[x, one]]), b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec()] {
        let (out, outcome) = run(&checked, &[&bad, b"more"]);
        assert!(bad.starts_with(&out), "{out:?}");
        assert!(outcome.is_err());
    }
    let (out, outcome) = run(&inserted(form(Format::Binary)), &[&binary(&[&[x, none]])]);
    assert_eq!((out, outcome), (b"\0\x02\0\0\0\x01x\xff\xff\xff\xff".to_vec(), Ok(())));
}

#[test]
fn long_binary_rows_may_come_in_any_pieces() {
    let one = Some(&[0, 0, 0, 1][..]);
    let (long, longer, x) = (vec![b'l'; 700], vec![b'm'; 5000], b"x");
    let values: [&[u8]; 6] = [&long, x, &longer, x, x, &long];
    let given_rows: Vec<Vec<Option<&[u8]>>> =
        values.iter().map(|value| vec![Some(*value), one, None]).collect();
    let added_rows: Vec<Vec<Option<&[u8]>>> = values.iter().map(|value| vec![Some(*value), None]).collect();
    let rows_of = |rows: &[Vec<Option<&[u8]>>]| binary(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for (load, rows) in [(given(form(Format::Binary)), given_rows), (added(form(Format::Binary)), added_rows)]
    {
        let stream = rows_of(&rows);
        let whole = run(&load, &[&stream]);
        assert_eq!(whole.1, Ok(()));
        for length in [1, 3, 511, 512, 513, 700, 1024, 1500, 4096, 6000] {
            let pieces: Vec<&[u8]> = stream.chunks(length).collect();
            assert_eq!(run(&load, &pieces), whole, "{length}");
        }
    }
}

#[test]
fn inserted_rows_are_read_whole() {
    let text = inserted(form(Format::Text));
    let (out, outcome) = run(&text, &[b"a\\tb\t\\N\n"]);
    assert_eq!((out, outcome), (b"\0\x02\0\0\0\x03a\tb\xff\xff\xff\xff".to_vec(), Ok(())));
    assert_eq!(row_length(b"\0\x02\0\0\0\x03a\tb\xff\xff\xff\xffrest"), Some(13));
    let csv = inserted(form(Format::Csv));
    let (out, _) = run(&csv, &[b"\"a\"\"\",\n"]);
    assert_eq!(out, b"\0\x02\0\0\0\x02a\"\xff\xff\xff\xff");
    for bad in ["a\n", "a,b,c\n", "\"a,b\n", "a,b\r\nc,d\n"] {
        refused(&csv, bad.as_bytes(), SqlState("22P04"));
    }
    refused(&text, b"\\.x", SqlState("22P04"));
    assert_eq!(run(&text, &[b"\\.\na"]), (Vec::new(), Ok(())));
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\\"),
        Just("."),
        Just("\\."),
        Just("\\.\n"),
        Just("\""),
        Just(","),
        Just("\t"),
        Just("1"),
        Just("2"),
        Just("a"),
        Just("\\N"),
        Just("'"),
        Just("\t1\t"),
        Just(",1,"),
        Just("a\t1\tb\n"),
        Just("a,1,b\r\n"),
        Just("a,1,b\n"),
    ];
    proptest::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat().into_bytes())
}

fn any_load() -> impl Strategy<Value = Load> {
    let forms = prop_oneof![
        Just(form(Format::Text)),
        Just(form(Format::Csv)),
        Just(Form { csv_marker: false, ..form(Format::Csv) }),
        Just(Form { escape: b'\\', ..form(Format::Csv) }),
        Just(Form { quote: b'\'', header: Header::Skip, ..form(Format::Csv) }),
        Just(form(Format::Binary)),
    ];
    (forms, 0..3).prop_map(|(form, way)| match way {
        0 => added(form),
        1 => given(form),
        _ => inserted(form),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_pieces_of_a_stream_do_not_matter(load in any_load(), data in stream(), cuts in proptest::collection::vec(0usize..90, 0..6)) {
        let data = match load.form.format {
            Format::Binary => binary(&[&[Some(&data), Some(&[0, 0, 0, 1]), None], &[Some(b"x"), None]]),
            _ => data,
        };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(data.len())).collect();
        cuts.extend([0, data.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &data[cut[0]..cut[1]]).collect();
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        let whole = run(&load, &[&data]);
        prop_assert_eq!(&run(&load, &pieces), &whole);
        prop_assert_eq!(&run(&load, &bytes), &whole);
    }

    /// No row that the server could read is without its tenant: what goes out is read again as the server would.
    #[test]
    fn every_row_that_goes_out_begins_with_the_tenant(data in stream()) {
        let load = added(form(Format::Text));
        let (out, _) = run(&load, &[&data]);
        let again = load_again(&load);
        let (_, outcome) = run(&again, &[&out]);
        prop_assert!(!matches!(outcome, Err(refusal) if refusal.state == SqlState::DENIED));
    }
}

/// The statement as the server has it: the tenant column is given first.
fn load_again(load: &Load) -> Load {
    let mut columns = vec!["tenant_id".to_owned()];
    columns.extend(load.columns.iter().cloned());
    Load { columns, place: Place::Given { index: 0, type_oid: 23 }, ..load.clone() }
}
