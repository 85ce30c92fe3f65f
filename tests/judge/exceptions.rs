//! What may come out otherwise on one major, with the reason: `tests/corpus/exceptions_<major>.txt`, a line
//! `judge id: part of the fault -- reason` each. A judge without ids has `judge: part -- reason`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

/// The exceptions of one judge on one major.
#[derive(Debug)]
pub struct Exceptions {
    lines: Vec<Line>,
    used: RefCell<BTreeSet<String>>,
}

#[derive(Debug)]
struct Line {
    id: String,
    part: String,
}

impl Exceptions {
    /// Those of the major's file, if it has one.
    ///
    /// # Panics
    /// On a line that is not of that form: an exception has a reason.
    pub fn of(judge: &str, major: u32) -> Self {
        let name = format!("tests/corpus/exceptions_{major}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let lines = lines.filter_map(|line| {
            let (of, line) = read(line).unwrap_or_else(|| panic!("{name}: {line}"));
            (of == judge).then_some(line)
        });
        Self { lines: lines.collect(), used: RefCell::default() }
    }

    /// Whether this fault of a case has a reason on this major.
    pub fn excuse(&self, id: &str, fault: &str) -> bool {
        let line = self.lines.iter().find(|line| line.id == id && fault.contains(&line.part));
        if line.is_some() {
            self.used.borrow_mut().insert(id.to_owned());
        }
        line.is_some()
    }

    /// Says which cases were excused, and which of those that ran need it no more.
    pub fn report(&self, ran: impl Fn(&str) -> bool) {
        let used = self.used.borrow();
        if !used.is_empty() {
            println!("  excused on this major, with a reason: {used:?}");
        }
        let spare: BTreeSet<_> =
            self.lines.iter().map(|l| &l.id).filter(|id| ran(id) && !used.contains(*id)).collect();
        if !spare.is_empty() {
            println!("  no longer an exception of this major: {spare:?}");
        }
    }
}

/// The judge of a line, and the rest.
fn read(line: &str) -> Option<(&str, Line)> {
    let (fault, reason) = line.split_once(" -- ")?;
    let (head, part) = fault.split_once(": ")?;
    let (judge, id) = head.split_once(' ').unwrap_or((head, ""));
    let is_whole = !part.is_empty() && !reason.trim().is_empty();
    is_whole.then(|| (judge, Line { id: id.into(), part: part.into() }))
}
