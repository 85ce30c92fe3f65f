use std::io::Write;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::*;
use crate::audit::event::Verdict;
use crate::audit::ring::Full;
use crate::audit::verify::verify;
use crate::policy::{Rule, SqlState};

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("pgbulkhead-audit-{}", uuid::Uuid::now_v7()))
}

fn audit(sink: AuditSink, queue: usize) -> Audit {
    // An hour: what is written before it is written because of a stop or of a half full ring.
    Audit { sink, flush_interval: Duration::from_secs(3600), queue }
}

fn event(number: u64) -> Event {
    Event {
        time: 0,
        session: number,
        user: "u".into(),
        role: "r".into(),
        database: "d".into(),
        tenant: None,
        verdict: Verdict::Refused {
            state: SqlState::DENIED,
            rule: Rule("access"),
            reason: "no".into(),
            statement: "select ?".into(),
        },
    }
}

/// Takes what it is given, unless it is told to fail.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        if disk.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Never more than a piece, so that a line is written in parts.
        let piece = bytes.get(..bytes.len().min(100)).unwrap_or_default();
        disk.0.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn until(what: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it does not come to pass");
}

#[test]
fn every_event_of_every_worker_is_in_a_sound_log() {
    let path = scratch();
    let (mut rings, writer) = start(&audit(AuditSink::File(path.clone()), 64), 2).unwrap();
    for (worker, ring) in (0..).zip(&mut rings) {
        for number in 0..20 {
            ring.push(event(worker * 100 + number)).unwrap();
        }
    }
    writer.stop().unwrap();
    let report = verify(&path).unwrap();
    assert!(report.is_sound() && report.closed, "{report:?}");
    assert_eq!(report.lines, 42);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!((0..20).all(|n| text.contains(&format!("\"session\":{n},"))
        && text.contains(&format!("\"session\":{},", 100 + n))));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_second_run_continues_the_chain() {
    let path = scratch();
    for number in 0..3 {
        let (mut rings, writer) = start(&audit(AuditSink::File(path.clone()), 64), 1).unwrap();
        rings[0].push(event(number)).unwrap();
        writer.stop().unwrap();
    }
    let report = verify(&path).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.lines, report.last.map(|(seq, _)| seq)), (9, Some(9)));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_line_torn_by_a_crash_is_left_and_the_chain_goes_on() {
    let path = scratch();
    let run = || start(&audit(AuditSink::File(path.clone()), 64), 1).unwrap().1.stop().unwrap();
    run();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":3,\"ti").unwrap();
    run();
    let report = verify(&path).unwrap();
    assert_eq!((report.lines, report.fault_count), (5, 1), "{report:?}");
    assert_eq!(report.faults[0].line, 3);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn nobody_else_writes_the_log_and_nothing_else_is_taken_for_one() {
    let path = scratch();
    let audit = audit(AuditSink::File(path.clone()), 64);
    let first = start(&audit, 1).unwrap();
    assert!(matches!(start(&audit, 1), Err(SinkError::Locked { .. })));
    drop(first);
    std::fs::write(&path, "my diary\n").unwrap();
    assert!(matches!(start(&audit, 1), Err(SinkError::NotALog { .. })));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_full_ring_refuses_and_reserved_room_is_kept() {
    let disk = Disk::default();
    disk.0.lock().1 = true;
    let (mut rings, writer) =
        start_with(Sink::stream(disk.clone()), Chain::default(), &audit(AuditSink::Stdout, 8), 1).unwrap();
    until(|| writer.status().is_broken());
    assert_eq!(rings[0].push(event(0)), Err(Full));
    disk.0.lock().1 = false;
    writer.thread.as_ref().unwrap().thread().unpark();
    until(|| !writer.status().is_broken());
    assert!((0..8).all(|_| rings[0].reserve()));
    assert!(!rings[0].reserve());
    rings[0].release();
    assert!(rings[0].reserve());
    (0..8).for_each(|number| rings[0].settle(event(number)));
    assert_eq!((writer.status().lost(), writer.status().refused()), (0, 2));
    drop(rings);
    writer.stop().unwrap();
    let text = String::from_utf8(disk.0.lock().0.clone()).unwrap();
    assert_eq!(text.lines().count(), 10);
}

#[test]
fn a_half_full_ring_wakes_the_writer_early() {
    let disk = Disk::default();
    let sink = Sink::stream(disk.clone());
    let (mut rings, writer) = start_with(sink, Chain::default(), &audit(AuditSink::Stdout, 16), 1).unwrap();
    until(|| !disk.0.lock().0.is_empty());
    (0..9).for_each(|number| rings[0].push(event(number)).unwrap());
    until(|| writer.status().written() >= 8);
    assert!(!writer.status().is_broken());
}

#[test]
fn without_a_sink_everything_has_room() {
    let (mut rings, writer) = start(&audit(AuditSink::None, 64), 1).unwrap();
    for number in 0..1000 {
        rings[0].push(event(number)).unwrap();
    }
    writer.stop().unwrap();
}

/// Panics in its second write, and takes everything after that.
struct Mine(Disk, bool);

impl Write for Mine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // In the middle of a line.
        let due = !self.1 && !self.0.0.lock().0.is_empty();
        self.1 |= due;
        assert!(!due, "injected into the writer");
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writer_that_panics_goes_on_and_says_so_in_a_sound_log() {
    let (path, disk) = (scratch(), Disk::default());
    let audit = audit(AuditSink::None, 64);
    let (mut rings, writer) =
        start_with(Sink::stream(Mine(disk.clone(), false)), Chain::default(), &audit, 1).unwrap();
    for number in 0..5 {
        rings[0].push(event(number)).unwrap();
    }
    writer.stop().unwrap();
    std::fs::write(&path, &disk.0.lock().0).unwrap();
    let report = verify(&path).unwrap();
    assert!(report.is_sound() && report.closed, "{report:?}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"event\":\"panic\""), "{text}");
    assert!((0..5).all(|n| text.contains(&format!("\"session\":{n},"))), "{text}");
    std::fs::remove_file(path).unwrap();
}
