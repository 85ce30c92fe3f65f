//! A client's stream: whatever the cuts in which it comes, the same messages are read of it, and no more is kept than the
//! caps of the messages allow. What a server says is read without a panic, too.

use pgbulkhead::wire::frame::{self, Frame, FrameLimits, FramePhase};
use pgbulkhead::wire::passing::Passing;
use pgbulkhead::wire::request::{self, TenantParameter};
use pgbulkhead::wire::{WireError, backend, frontend, startup};

use crate::source::Source;

const LIMITS: FrameLimits = FrameLimits { statement: 40, value: 60 };
/// The longest body that is kept: a Parse with its types.
const KEPT: usize = 40 + 300_000 + frame::HEADER;

#[test]
fn any_cut() {
    bolero::check!().with_test_time(crate::patience()).for_each(|bytes: &[u8]| {
        let mut source = Source::new(bytes);
        let phase = if source.below(8) == 0 { FramePhase::Login } else { FramePhase::Session };
        let stream = stream(&mut source);
        let pieces = source.cut(&stream);
        assert_eq!(messages(&[&stream], phase), messages(&pieces, phase), "{stream:?} in {pieces:?}");
        assert_eq!(greeting(&[&stream]), greeting(&pieces), "{stream:?} in {pieces:?}");
        from_server(&stream);
    });
}

/// A Bind that passes as it comes becomes what it would have become whole, and one that lies is found out.
#[test]
fn bind_in_any_cut() {
    bolero::check!().with_test_time(crate::patience()).for_each(|bytes: &[u8]| {
        let mut source = Source::new(bytes);
        let body = bind_body(&mut source);
        let tenant = source.flag().then_some(TenantParameter { value: "42" });
        let begun = source.below(body.len().max(1)).min(body.len().saturating_sub(1));
        let (beginning, rest) = body.split_at(begun);
        let pieces = source.cut(rest);
        let whole = frontend::Bind::read(&body).and_then(|message| {
            let mut out = Vec::new();
            request::bind(&mut out, b"portal", b"s1", &message, tenant).map(|()| out)
        });
        match (whole, passed(beginning, &pieces, body.len(), tenant)) {
            (Ok(whole), Ok(Some(passed))) => assert_eq!(whole, passed, "{body:?} in {pieces:?}"),
            (Ok(_), Err(error)) => panic!("{body:?} in {pieces:?}: {error}"),
            (Err(error), Ok(Some(_))) => panic!("{body:?} in {pieces:?} passes: {error}"),
            (_, Ok(None)) | (Err(_), Err(_)) => {}
        }
    });
}

fn bind_body(source: &mut Source<'_>) -> Vec<u8> {
    let mut body = source.pick(&[&b"\0\0"[..], b"p\0s\0", b"\0s\0"]).to_vec();
    let count = source.below(5);
    let formats = source.pick(&[0, 0, 1, count]);
    body.extend_from_slice(&u16::try_from(formats).expect("few").to_be_bytes());
    (0..formats).for_each(|_| body.extend_from_slice(&source.pick(&[[0, 0], [0, 1]])));
    body.extend_from_slice(&u16::try_from(count).expect("few").to_be_bytes());
    for _ in 0..count {
        let length = source.below(30);
        match source.below(4) {
            0 => body.extend_from_slice(&[0xff; 4]),
            _ => body.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes()),
        }
        if body.ends_with(&[0xff; 4]) {
            continue;
        }
        (0..length).for_each(|_| body.push(source.pick(b"\0\xffx")));
    }
    let results = source.below(3);
    body.extend_from_slice(&u16::try_from(results).expect("few").to_be_bytes());
    (0..results).for_each(|_| body.extend_from_slice(&source.pick(&[[0, 0], [0, 1]])));
    if source.flag() {
        let at = source.below(body.len());
        body[at] = source.pick(&[0, 1, 2, 4, 0x7f, 0xff]);
    }
    if source.below(8) == 0 {
        body.truncate(source.below(body.len()));
    }
    body
}

/// What a Bind becomes whose end comes in pieces; none where its beginning is not enough.
fn passed(
    beginning: &[u8],
    pieces: &[&[u8]],
    length: usize,
    tenant: Option<TenantParameter<'_>>,
) -> Result<Option<Vec<u8>>, WireError> {
    let Some(message) = frontend::Bind::begin(beginning, length)? else { return Ok(None) };
    let mut out = Vec::new();
    request::begin_bind(&mut out, b"portal", b"s1", &message, tenant)?;
    let mut passing = Passing::new(&message, tenant)?;
    let mut kept = beginning[length - message.missing.bytes..].to_vec();
    for piece in pieces {
        kept.extend_from_slice(piece);
        let taken = passing.pass(&kept, &mut out)?;
        kept.drain(..taken);
    }
    assert_eq!((passing.left(), kept.len()), (0, 0), "all of it came");
    Ok(Some(out))
}

/// Messages: most as they should be, some with a lying length, some of them noise.
fn stream(source: &mut Source<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    if source.below(4) == 0 {
        let code = source.pick(&[80_877_103u32, 80_877_104, 80_877_102, 196_608, 196_610, 131_072]);
        let mut body = code.to_be_bytes().to_vec();
        fields(source, &mut body);
        framed(source, &mut stream, None, &body);
    }
    for _ in 0..source.below(12) {
        let tag = match source.below(12) {
            0 => source.byte(),
            _ => source.pick(b"QPBDECHSXdcfFp"),
        };
        let mut body = Vec::new();
        fields(source, &mut body);
        framed(source, &mut stream, Some(tag), &body);
    }
    stream
}

fn fields(source: &mut Source<'_>, body: &mut Vec<u8>) {
    for _ in 0..source.below(8) {
        match source.below(8) {
            0 => body.extend_from_slice(source.pick(&[
                &b"select 1\0"[..],
                b"\0",
                b"a\0",
                b"user\0",
                b"S\xff\0",
            ])),
            1 => body.extend_from_slice(&source.pick(&[0i16, 1, 2, -1, i16::MAX]).to_be_bytes()),
            2 => {
                body.extend_from_slice(&source.pick(&[0i32, 1, 4, -1, -2, i32::MAX, i32::MIN]).to_be_bytes())
            }
            3 => body.push(source.pick(b"SP\0IET")),
            4 => body.extend(std::iter::repeat_n(b'x', source.below(80))),
            _ => body.push(source.byte()),
        }
    }
}

fn framed(source: &mut Source<'_>, stream: &mut Vec<u8>, tag: Option<u8>, body: &[u8]) {
    let length = u32::try_from(body.len() + 4).expect("a short body");
    let length = match source.below(16) {
        0 => source.pick(&[0u32, 3, 4, 5, 10_004, 0x3fff_ffff, 0x4000_0003, u32::MAX]),
        1 => length.wrapping_add(source.pick(&[1, 2, u32::MAX, u32::MAX - 1])),
        _ => length,
    };
    stream.extend(tag);
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(body);
}

/// Every message of a stream, as it is told.
fn messages(pieces: &[&[u8]], phase: FramePhase) -> Vec<String> {
    let (mut kept, mut skip, mut told) = (Vec::new(), 0usize, Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let skipped = skip.min(kept.len());
            kept.drain(..skipped);
            skip -= skipped;
            if skip > 0 {
                break;
            }
            match frame::split(&kept, phase, LIMITS) {
                Ok(Frame::Incomplete) => break,
                Ok(Frame::Whole { tag, body }) => {
                    let announced = kept.get(1..frame::HEADER).expect("a header");
                    assert_eq!(announced, u32::try_from(body.len() + 4).expect("short").to_be_bytes());
                    told.push(message(tag, body));
                    let length = frame::HEADER + body.len();
                    kept.drain(..length);
                }
                Ok(Frame::Oversize { tag, length }) => {
                    told.push(format!("{tag} of {length} bytes is skipped"));
                    skip = length;
                }
                Err(error) => {
                    told.push(format!("{error:?}"));
                    return told;
                }
            }
        }
        assert!(kept.len() <= KEPT, "{} bytes are kept", kept.len());
    }
    told
}

fn message(tag: u8, body: &[u8]) -> String {
    match tag {
        b'Q' => format!("{:?}", frontend::query(body)),
        b'P' => format!(
            "{:?}",
            frontend::Parse::read(body)
                .map(|parse| (parse.types().collect::<Vec<_>>(), format!("{parse:?}")))
        ),
        b'B' => format!("{:?}", frontend::Bind::read(body).map(|bind| bound(&bind))),
        b'D' | b'C' => format!("{:?}", frontend::target(body)),
        b'E' => format!("{:?}", frontend::execute(body)),
        b'f' => format!("{:?}", frontend::copy_fail(body)),
        b'p' => format!("{:?} {:?}", frontend::password(body), frontend::sasl_initial(body)),
        b'H' | b'S' | b'X' | b'c' => format!("{:?}", frontend::empty(body)),
        _ => format!("{tag} {body:?}"),
    }
}

/// A Bind with each of its values: none lies outside of the message.
fn bound(bind: &frontend::Bind<'_>) -> String {
    let values = (0..usize::from(bind.values.count()) + 1).map(|index| bind.values.get(index));
    let formats = (0..bind.formats.len() + 1).map(|index| bind.formats.of(index));
    format!("{bind:?} {:?} {:?}", values.collect::<Vec<_>>(), formats.collect::<Vec<_>>())
}

/// The packet without a type byte at the front.
fn greeting(pieces: &[&[u8]]) -> String {
    let mut kept = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(piece);
        match startup::split(&kept) {
            Ok(None) => {}
            Ok(Some((packet, length))) => return format!("{packet:?} of {length} bytes"),
            Err(error) => return format!("{error:?}"),
        }
    }
    "incomplete".to_owned()
}

fn from_server(body: &[u8]) {
    let _ = (backend::ready_for_query(body), backend::parameter_status(body), backend::row_description(body));
    let _ = (backend::parameter_description(body), backend::copy_response(body), backend::command_tag(body));
    let _ = (backend::key_data(body), backend::notification(body), backend::tag_rows(body));
    for left_out in [0, 1, u16::MAX] {
        let _ = backend::fewer_columns(&mut Vec::new(), body, left_out);
    }
    if let Ok(fields) = backend::ErrorFields::read(body) {
        assert!(fields.iter().all(|(kind, _)| fields.field(kind).is_some()));
    }
}
