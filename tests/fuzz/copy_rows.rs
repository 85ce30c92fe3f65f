//! Rows of COPY FROM STDIN: whatever the cuts in which they come, the same goes to the server; and read as PostgreSQL reads
//! it, by a reader that shares no code with the transcoder, no row of another tenant is in it.

use pgbulkhead::policy::TenantId;
use pgbulkhead::sql::copy::{Columns, Form, Format, Header, Load, Place, Transcoder};

use crate::source::Source;

const INT4: u32 = 23;
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

// === the independent reading ===

/// A value of the tenant column as the server has it; none: NULL, or what the column's default gives.
type Stored = Option<Vec<u8>>;

/// The tenants of the rows that the server reads of a stream, up to the first row that it refuses.
fn tenants(load: &Load, stream: &[u8]) -> Vec<Stored> {
    let place = match &load.place {
        Place::Nowhere => return Vec::new(),
        Place::Added { .. } => 0,
        Place::Given { index, .. } => *index,
    };
    let width = load.columns.len() + usize::from(matches!(load.place, Place::Added { .. }));
    match load.form.format {
        Format::Binary => tenants_of_tuples(stream, place, width),
        Format::Text => tenants_of_lines(load, stream, place, width, text_fields),
        Format::Csv => tenants_of_lines(load, stream, place, width, csv_fields),
    }
}

fn is_own(load: &Load, stored: &Stored) -> bool {
    let (Place::Added { type_oid, .. } | Place::Given { type_oid, .. }) = &load.place else { return true };
    let Some(value) = stored else { return false };
    match (load.form.format, *type_oid) {
        // int4recv takes four bytes.
        (Format::Binary, INT4) => value.len() != 4 || value == b"\0\0\0\x01",
        (_, INT4) => integer(value).is_none_or(|number| number == 1),
        _ => value == b"1",
    }
}

/// int4in: none for what it refuses.
fn integer(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (sign, digits) = match text.split_at_checked(1)? {
        ("-", digits) => (-1, digits),
        ("+", digits) => (1, digits),
        _ => (1, text),
    };
    let radix = |prefix: &str, radix| {
        let head = digits.get(..2)?.to_ascii_lowercase();
        (head == prefix).then(|| i64::from_str_radix(&digits[2..].replace('_', ""), radix).ok())
    };
    let number = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    number.unwrap_or_else(|| digits.replace('_', "").parse().ok()).map(|number| sign * number)
}

fn tenants_of_tuples(stream: &[u8], place: usize, width: usize) -> Vec<Stored> {
    let mut tenants = Vec::new();
    let number = |at: usize| stream.get(at..at + 4).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    if !stream.starts_with(b"PGCOPY\n\xff\r\n\0") {
        return tenants;
    }
    let Some(Ok(extension)) = number(15).map(usize::try_from) else { return tenants };
    let mut at = 19 + extension;
    while let Some(count) = stream.get(at..at + 2) {
        if i16::from_be_bytes([count[0], count[1]]) != i16::try_from(width).expect("few columns") {
            return tenants;
        }
        at += 2;
        let mut row = Vec::new();
        for _ in 0..width {
            let Some(length) = number(at) else { return tenants };
            at += 4;
            if length == -1 {
                row.push(None);
                continue;
            }
            let Some(value) = usize::try_from(length).ok().and_then(|length| stream.get(at..at + length))
            else {
                return tenants;
            };
            at += value.len();
            row.push(Some(value.to_vec()));
        }
        tenants.push(row.swap_remove(place));
    }
    tenants
}

/// A field: its bytes as they stand, whether quotes were among them, and its value.
struct Field {
    raw: Vec<u8>,
    quoted: bool,
    value: Vec<u8>,
}

fn tenants_of_lines(
    load: &Load,
    stream: &[u8],
    place: usize,
    width: usize,
    fields: fn(&Form, &[u8]) -> Option<Vec<Field>>,
) -> Vec<Stored> {
    let form = &load.form;
    let mut tenants = Vec::new();
    for (number, line) in lines_of(form, stream).into_iter().enumerate() {
        if number == 0 && form.header != Header::No {
            continue;
        }
        let Some(fields) = fields(form, &line).filter(|fields| fields.len() == width) else { return tenants };
        let Field { raw, quoted, value } = &fields[place];
        let (csv, null) = (form.format == Format::Csv, &*form.null);
        let is_null = match (csv, quoted) {
            (false, _) => **raw == *null,
            (true, false) => **raw == *null && !form.force_not_null.has("tenant_id"),
            (true, true) => **value == *null && form.force_null.has("tenant_id"),
        };
        let default = !quoted && form.default.as_deref() == Some(&**raw);
        tenants.push((!is_null && !default).then(|| value.clone()));
    }
    tenants
}

/// CopyReadLineText: the lines without their ends, up to what the server refuses or takes for the end of the data.
fn lines_of(form: &Form, stream: &[u8]) -> Vec<Vec<u8>> {
    let csv = form.format == Format::Csv;
    let escape = if form.escape == form.quote { None } else { Some(form.escape) };
    let (mut lines, mut line, mut ending) = (Vec::new(), Vec::new(), None);
    let (mut in_quote, mut escaped) = (false, false);
    let mut at = 0;
    while let Some(&byte) = stream.get(at) {
        if csv {
            if in_quote && Some(byte) == escape {
                escaped = !escaped;
            }
            if byte == form.quote && !escaped {
                in_quote = !in_quote;
            }
            if Some(byte) != escape {
                escaped = false;
            }
        }
        let end: &[u8] = match byte {
            b'\r' if !in_quote => {
                if stream.get(at + 1) == Some(&b'\n') {
                    b"\r\n"
                } else {
                    b"\r"
                }
            }
            b'\n' if !in_quote => b"\n",
            _ => b"",
        };
        if !end.is_empty() {
            let first = *ending.get_or_insert(end);
            // A style that came first is the only one; a lone CR in a stream of CRNL, too, is refused.
            if first != end {
                // With CR alone, the NL behind it is a line's end of another style.
                if !(first == b"\r" && end == b"\r\n") {
                    return lines;
                }
                lines.push(std::mem::take(&mut line));
                return lines;
            }
            at += end.len();
            lines.push(std::mem::take(&mut line));
            continue;
        }
        if byte == b'\\' && !csv {
            if stream.get(at + 1) == Some(&b'.') {
                // What stands before the marker on its line is a row for some majors.
                if !line.is_empty() {
                    lines.push(line);
                }
                return lines;
            }
            line.push(byte);
            line.extend(stream.get(at + 1));
            at += 2;
            continue;
        }
        let alone = csv && line.is_empty() && !in_quote && stream.get(at..at + 2) == Some(b"\\.");
        if alone && form.csv_marker && matches!(stream.get(at + 2), None | Some(b'\r' | b'\n')) {
            return lines;
        }
        line.push(byte);
        at += 1;
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// CopyReadAttributesText.
fn text_fields(form: &Form, line: &[u8]) -> Option<Vec<Field>> {
    let mut fields = vec![Field { raw: Vec::new(), quoted: false, value: Vec::new() }];
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        at += 1;
        if byte == form.delimiter {
            fields.push(Field { raw: Vec::new(), quoted: false, value: Vec::new() });
            continue;
        }
        let field = fields.last_mut()?;
        field.raw.push(byte);
        if byte != b'\\' {
            field.value.push(byte);
            continue;
        }
        let Some(&after) = line.get(at) else {
            field.value.push(byte);
            continue;
        };
        let digits = |from: usize, most: usize, radix: u32| {
            let is_digit = |b: &&u8| char::from(**b).is_digit(radix);
            line.get(from..).unwrap_or_default().iter().take(most).take_while(is_digit).count()
        };
        let (length, value) = match after {
            b'0'..=b'7' => {
                let length = digits(at, 3, 8);
                let octal = line[at..at + length].iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0'));
                (length, (octal & 0xff) as u8)
            }
            b'x' if digits(at + 1, 2, 16) > 0 => {
                let length = digits(at + 1, 2, 16);
                let text = std::str::from_utf8(&line[at + 1..at + 1 + length]).ok()?;
                (1 + length, u8::from_str_radix(text, 16).ok()?)
            }
            b'b' => (1, 8),
            b'f' => (1, 12),
            b'n' => (1, b'\n'),
            b'r' => (1, b'\r'),
            b't' => (1, b'\t'),
            b'v' => (1, 11),
            other => (1, other),
        };
        field.raw.extend_from_slice(&line[at..at + length]);
        field.value.push(value);
        at += length;
    }
    Some(fields)
}

/// CopyReadAttributesCSV.
fn csv_fields(form: &Form, line: &[u8]) -> Option<Vec<Field>> {
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        let mut field = Field { raw: Vec::new(), quoted: false, value: Vec::new() };
        let mut in_quote = false;
        let more = loop {
            let Some(&byte) = line.get(at) else { break false };
            at += 1;
            match byte {
                _ if !in_quote && byte == form.delimiter => break true,
                _ if !in_quote && byte == form.quote => {
                    field.quoted = true;
                    in_quote = true;
                }
                _ if in_quote
                    && byte == form.escape
                    && matches!(line.get(at), Some(b) if *b == form.escape || *b == form.quote) =>
                {
                    field.value.push(line[at]);
                    field.raw.push(byte);
                    at += 1;
                    field.raw.push(line[at - 1]);
                    continue;
                }
                _ if in_quote && byte == form.quote => in_quote = false,
                _ => field.value.push(byte),
            }
            field.raw.push(byte);
        };
        if in_quote {
            return None;
        }
        fields.push(field);
        if !more {
            return Some(fields);
        }
    }
}
