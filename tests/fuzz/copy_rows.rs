//! Rows of COPY FROM STDIN: whatever the cuts in which they come, the same goes to the server; and read as PostgreSQL reads
//! it, by a reader that shares no code with the transcoder, no row of another tenant is in it.

use pgbulkhead::policy::TenantId;
use pgbulkhead::sql::copy::{Columns, Form, Format, Header, Load, Place, Transcoder};

use crate::copy_reading::{INT4, is_own, tenants};
use crate::source::Source;

const TEXT: u32 = 25;

#[test]
fn any_cut() {
    bolero::check!().with_test_time(crate::patience()).for_each(|bytes: &[u8]| {
        let mut source = Source::new(bytes);
        let load = load(&mut source);
        let stream = match load.form.format {
            Format::Binary => tuples(&mut source, &load),
            Format::Text | Format::Csv => lines(&mut source, &load),
        };
        let pieces = source.cut(&stream);
        let (whole, outcome) = transcoded(&load, &[&stream]);
        let (cut, other) = transcoded(&load, &pieces);
        let shown = String::from_utf8_lossy(&stream);
        // A row that is refused ends the COPY: what stands before it may have gone out already or not.
        assert_eq!(outcome, other, "{load:?} {shown:?} in {pieces:?}");
        assert_eq!(whole, cut, "{load:?} {shown:?} in {pieces:?}");
        if load.inserts.is_none() {
            for tenant in tenants(&load, &whole) {
                assert!(is_own(&load, &tenant), "{tenant:?} of {load:?} {shown:?}");
            }
        }
    });
}

fn load(source: &mut Source<'_>) -> Load {
    let format = source.pick(&[Format::Text, Format::Csv, Format::Csv, Format::Binary]);
    let csv = format == Format::Csv;
    let type_oid = source.pick(&[INT4, INT4, TEXT]);
    let place = match source.below(5) {
        0 => Place::Nowhere,
        1 | 2 => Place::Added { column: "tenant_id".to_owned(), type_oid },
        _ => Place::Given { index: source.below(3), type_oid },
    };
    let columns = match &place {
        Place::Given { index, .. } => {
            let mut columns = vec!["a", "b"];
            columns.insert(*index, "tenant_id");
            columns
        }
        Place::Added { .. } | Place::Nowhere => vec!["a", "b"],
    };
    let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
    let inserts = (place == Place::Nowhere && source.flag()).then(|| vec![TEXT; columns.len()]);
    let mut some = || match source.below(6) {
        0 => Columns::All,
        1 => Columns::Named(vec!["tenant_id".to_owned()]),
        _ => Columns::Named(Vec::new()),
    };
    let (force_null, force_not_null) = (some(), some());
    let form = Form {
        format,
        delimiter: if csv { source.pick(b",,;|\t") } else { source.pick(b"\t\t,;|") },
        quote: if csv { source.pick(b"\"\"'") } else { b'"' },
        escape: if csv { source.pick(b"\"\"'\\") } else { b'"' },
        null: Box::from(if csv {
            source.pick(&[&b""[..], b"N", b"1"])
        } else {
            source.pick(&[&b"\\N"[..], b"N", b""])
        }),
        default: source.pick(&[None, None, Some(&b"D"[..]), Some(&b"\\D"[..])]).map(Box::from),
        header: source.pick(&[Header::No, Header::No, Header::Skip, Header::Match]),
        force_not_null,
        force_null,
        csv_marker: source.flag(),
    };
    Load { form, columns, relation: "t".to_owned(), place, inserts }
}

/// Lines of the form's own signs and of values that mean the tenant, or nearly.
fn lines(source: &mut Source<'_>, load: &Load) -> Vec<u8> {
    const VALUES: [&[u8]; 20] = [
        b"1",
        b"1",
        b"1",
        b"2",
        b"01",
        b" 1",
        b"1 ",
        b"+1",
        b"0x1",
        b"1_0",
        b"\\061",
        b"\\x31",
        b"\\x312",
        b"\\N",
        b"N",
        b"D",
        b"\\D",
        b"a",
        b"",
        b"\xc3\xa9",
    ];
    let (delimiter, quote, escape) = (load.form.delimiter, load.form.quote, load.form.escape);
    let end = source.pick(&[&b"\n"[..], b"\n", b"\r\n", b"\r"]);
    let mut stream = Vec::new();
    for _ in 0..source.below(8) {
        for column in 0..load.columns.len() {
            if column > 0 {
                stream.push(delimiter);
            }
            let value = source.pick(&VALUES);
            match source.below(5) {
                0 if load.form.format == Format::Csv => {
                    stream.push(quote);
                    stream.extend_from_slice(value);
                    stream.push(quote);
                }
                _ => stream.extend_from_slice(value),
            }
        }
        if source.below(3) == 0 {
            let noise = source.pick(&[
                &b"\\."[..],
                b"\\.\n",
                b"\n\\.\n",
                b"\r",
                b"\n",
                b"\r\n",
                b"\\",
                b"\\\n",
                b"\\\r\n",
                b"\"",
                b"\"\"",
                b"'",
                b"\t",
                b",",
            ]);
            let at = source.below(stream.len().min(255) + 1);
            let at = stream.len() - at;
            stream.splice(at..at, noise.iter().copied());
        }
        if source.below(8) == 0 {
            stream.extend_from_slice(&[quote, escape, quote]);
        }
        stream.extend_from_slice(end);
    }
    stream
}

/// Rows in binary, most of them well-formed.
fn tuples(source: &mut Source<'_>, load: &Load) -> Vec<u8> {
    let mut stream = b"PGCOPY\n\xff\r\n\0\0\0\0\0".to_vec();
    let extension = source.pick(&[0u8, 0, 0, 3]);
    stream.extend_from_slice(&u32::from(extension).to_be_bytes());
    stream.extend(std::iter::repeat_n(7, usize::from(extension)));
    for _ in 0..source.below(6) {
        let count = load.columns.len() + usize::from(source.below(12) == 0);
        stream.extend_from_slice(&i16::try_from(count).expect("few columns").to_be_bytes());
        for _ in 0..count {
            let value =
                source.pick(&[&b"\0\0\0\x01"[..], b"\0\0\0\x01", b"\0\0\0\x02", b"1", b"", b"2", b"\0\x01"]);
            let length = i32::try_from(value.len()).expect("a short value");
            match source.below(16) {
                0 => stream.extend_from_slice(&(-1i32).to_be_bytes()),
                1 => {
                    stream.extend_from_slice(&(length + 1).to_be_bytes());
                    stream.extend_from_slice(value);
                }
                _ => {
                    stream.extend_from_slice(&length.to_be_bytes());
                    stream.extend_from_slice(value);
                }
            }
        }
    }
    match source.below(4) {
        0 => {}
        _ => stream.extend_from_slice(&(-1i16).to_be_bytes()),
    }
    if source.below(6) == 0 {
        let at = source.below(stream.len());
        stream[at] = source.byte();
    }
    stream
}

fn transcoded(load: &Load, pieces: &[&[u8]]) -> (Vec<u8>, Result<(), String>) {
    let tenant = TenantId::new("1").expect("a tenant");
    let mut out = Vec::new();
    let told = |refusal: pgbulkhead::policy::Refusal| format!("{} {}", refusal.state, refusal.message);
    let outcome =
        Transcoder::new(load.clone().into(), Some(&tenant)).map_err(told).and_then(|mut transcoder| {
            pieces.iter().try_for_each(|piece| transcoder.data(piece, &mut out)).map_err(told)?;
            transcoder.done(&mut out).map_err(told)
        });
    (out, outcome)
}
