//! The rows of a COPY as PostgreSQL reads them (copyfromparse.c), by a reader that shares no code with the transcoder.

use pgbulkhead::sql::copy::{Form, Format, Header, Load, Place};

/// `int4` of pg_type.
pub const INT4: u32 = 23;

/// A value of the tenant column as the server has it; none: NULL, or what the column's default gives.
pub type Stored = Option<Vec<u8>>;

/// The tenants of the rows that the server reads of a stream, up to the first row that it refuses.
pub fn tenants(load: &Load, stream: &[u8]) -> Vec<Stored> {
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

/// Whether the server reads the tenant 1 in it.
pub fn is_own(load: &Load, stored: &Stored) -> bool {
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
