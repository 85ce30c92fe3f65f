//! Statements without end: megabytes of operators, parentheses and lists, names of 64 KB, bytes that are no text.
//! Each is served or refused with a code, the proxy lives on, and its memory stays bounded.

use std::time::Duration;

use crate::lanes::{Lane, Target};
use crate::support::fixture::{Proxy, Server};
use crate::support::wire::{Answer, Connection, frame};

/// What a refusal may say: too complex, too large, not UTF-8; and syntax, names and forms, for what PostgreSQL
/// itself has no meaning for.
const CODES: [&str; 8] = ["54001", "54000", "22021", "42601", "42703", "42P01", "0A000", "54023"];
/// Resident bytes that the proxy may hold after all of it.
const MEMORY: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// Deep and long statements by name.
fn statements() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, inner: &str, close: &str, times: usize| {
        format!("select {}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let list = |times: usize| vec!["1"; times].join(",");
    let texts: Vec<(&'static str, String)> = vec![
        ("one megabyte of additions", format!("select 1{}", "+1".repeat(500_000))),
        ("a hundred thousand parentheses", deep("(", "1", ")", 100_000)),
        ("a hundred thousand open parentheses", format!("select {}", "(".repeat(100_000))),
        (
            "an IN list of a hundred thousand",
            format!("select id from documents where id in ({})", list(100_000)),
        ),
        ("an array of a hundred thousand", format!("select array[{}]", list(100_000))),
        ("a name of 64 KB", format!("select \"{}\" from documents", "n".repeat(65_536))),
        ("a relation's name of 64 KB", format!("select 1 from {}", "n".repeat(65_536))),
        ("deep CASE", deep("case when true then ", "1", " end", 20_000)),
        ("deep sub-selects", deep("(select ", "1", ")", 20_000)),
        (
            "deep derived tables",
            format!("select 1 from {}documents{}", "(select 1 from ".repeat(5_000), ") x".repeat(5_000)),
        ),
    ];
    // PostgreSQL 14 would plan this for minutes, whatever cancels it.
    let hundreds = format!("select 1 from {}documents{}", "(select 1 from ".repeat(300), ") x".repeat(300));
    let texts = texts.into_iter().chain([("three hundred derived tables", hundreds)]);
    let mut all: Vec<(&'static str, Vec<u8>)> = texts.map(|(n, t)| (n, t.into_bytes())).collect();
    all.push(("bytes that are no UTF-8", b"select '\xff\xfe'".to_vec()));
    all.push(("a cut character", b"select '\xe2\x82'".to_vec()));
    all.push(("a surrogate", b"select '\xed\xa0\x80'".to_vec()));
    all
}

pub fn judge(server: &Server) -> Result<(), String> {
    let lane = Lane::open(server);
    if lane.target != Target::Proxy {
        return Ok(());
    }
    let proxy = lane.proxy.as_ref().ok_or("no proxy")?;
    let mut faults = Vec::new();
    for (name, bytes) in statements() {
        for extended in [false, true] {
            let said = lane.subject(1).open().and_then(|mut client| ask(&mut client, &bytes, extended));
            let how = match said {
                Ok(None) => "served".to_owned(),
                Ok(Some(code)) if CODES.contains(&code.as_str()) => code,
                Ok(Some(code)) => {
                    faults.push(format!("{name} (extended: {extended}): {code}"));
                    code
                }
                Err(error) => {
                    faults.push(format!("{name} (extended: {extended}): {error}"));
                    error.to_string()
                }
            };
            println!("  {name} (extended: {extended}): {how}");
        }
        if let Err(error) = lane.subject(2).open().and_then(|mut client| client.simple("select 1")) {
            return Err(format!("the proxy is gone after {name}: {error}"));
        }
    }
    let resident = resident_bytes(proxy);
    println!("endless: {} MiB resident afterwards", resident >> 20);
    if resident > MEMORY {
        faults.push(format!("{} MiB of memory", resident >> 20));
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?}")) }
}

/// Sends a statement and gives the code of its error, if it has one. The session must go on after it.
fn ask(client: &mut Connection, sql: &[u8], extended: bool) -> std::io::Result<Option<String>> {
    client.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
    client.stream.get_ref().set_write_timeout(Some(PATIENCE))?;
    let answer = say(client, sql, extended)?;
    let code = answer.error().and_then(|e| e.get(&'C').cloned());
    let after = client.simple("select 1")?;
    match after.error() {
        None => Ok(code),
        Some(error) => Err(std::io::Error::other(format!("the session is lost: {error:?}"))),
    }
}

/// Sends a statement that need not be text, and reads to ReadyForQuery.
fn say(client: &mut Connection, sql: &[u8], extended: bool) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    if extended {
        frame(&mut bytes, b'P', &[b"\0", sql, b"\0\0\0"].concat());
        frame(&mut bytes, b'B', b"\0\0\0\0\0\0\0\0");
        frame(&mut bytes, b'E', b"\0\0\0\0\0");
        frame(&mut bytes, b'S', b"");
    } else {
        frame(&mut bytes, b'Q', &[sql, b"\0"].concat());
    }
    client.write(&bytes)?;
    client.answer()
}

/// The memory that the proxy's process holds; the proxy is a child of the shell that watches it.
fn resident_bytes(proxy: &Proxy) -> u64 {
    let shell = proxy.watch.id();
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let children = read(format!("/proc/{shell}/task/{shell}/children"));
    let is_proxy = |pid: &&str| read(format!("/proc/{pid}/comm")).starts_with("pgbulkhead");
    let pid = children.split_whitespace().find(is_proxy).expect("the proxy runs");
    let status = read(format!("/proc/{pid}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}
