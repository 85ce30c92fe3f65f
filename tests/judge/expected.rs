//! What may be refused for now. The file shrinks as the engine grows; nothing may join it unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use crate::exceptions::Exceptions;
use crate::support::fixture::corpus;

const PATH: &str = "expected_refused.txt";
/// Two judges of one process may not write the file at once.
static WRITING: Mutex<()> = Mutex::new(());

/// How one case came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As the oracle says.
    Passed,
    /// Refused by the proxy: rule, message.
    Refused(String, String),
    /// Otherwise than the oracle says.
    Differs(String),
}

/// What a judge found, case by case.
#[derive(Debug)]
pub struct Report {
    judge: &'static str,
    exceptions: Exceptions,
    verdicts: Vec<(String, String, Verdict)>,
}

impl Report {
    /// `major` is the server's, which may have exceptions.
    pub fn new(judge: &'static str, major: u32) -> Self {
        Self { judge, exceptions: Exceptions::of(judge, major), verdicts: Vec::new() }
    }

    /// Adds one way to run a case.
    pub fn add(&mut self, id: &str, variant: &str, verdict: Verdict) {
        self.verdicts.push((id.into(), variant.into(), verdict));
    }

    /// Prints the counts and lists, and fails on what differs or is refused without being expected.
    pub fn finish(&self) -> Result<(), String> {
        let expected = expected(self.judge);
        let (mut passed, mut refused, mut differs) = (0, BTreeMap::new(), Vec::new());
        for (id, variant, verdict) in &self.verdicts {
            match verdict {
                Verdict::Passed => passed += 1,
                Verdict::Refused(_, fault) | Verdict::Differs(fault) if self.exceptions.excuse(id, fault) => {
                }
                Verdict::Refused(rule, message) => {
                    let list: &mut Vec<_> = refused.entry(id.clone()).or_default();
                    list.push((variant.clone(), rule.clone(), message.clone()));
                }
                Verdict::Differs(how) => differs.push(format!("{id} ({variant}): {how}")),
            }
        }
        let ids: BTreeSet<&String> = self.verdicts.iter().map(|(id, _, _)| id).collect();
        let runs_refused: usize = refused.values().map(Vec::len).sum();
        println!(
            "{}: {} cases, {} runs: {passed} passed, {runs_refused} refused ({} cases), {} differ",
            self.judge,
            ids.len(),
            self.verdicts.len(),
            refused.len(),
            differs.len()
        );
        let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, runs) in &refused {
            for (_, rule, _) in runs {
                *by_rule.entry(rule).or_default() += 1;
            }
            let (variant, _, message) = &runs[0];
            println!("  refused {id} ({variant}): {message}");
        }
        for (rule, count) in by_rule {
            println!("  refused by [{rule}]: {count}");
        }
        for line in &differs {
            println!("  DIFFERS {line}");
        }
        self.exceptions.report(|id| self.verdicts.iter().any(|(ran, _, _)| ran == id));
        let unexpected: Vec<&String> = refused.keys().filter(|id| !expected.contains(*id)).collect();
        let now_pass: Vec<&String> =
            expected.iter().filter(|id| ids.contains(id) && !refused.contains_key(*id)).collect();
        if !now_pass.is_empty() {
            println!("  no longer refused, take out of {PATH}: {now_pass:?}");
        }
        if std::env::var_os("PGBULKHEAD_JUDGE_BLESS").is_some() {
            bless(self.judge, refused.keys());
        } else if !unexpected.is_empty() {
            return Err(format!("{} refused and not in {PATH}: {unexpected:?}", unexpected.len()));
        }
        if differs.is_empty() { Ok(()) } else { Err(format!("{} differ from the oracle", differs.len())) }
    }
}

/// The ids of a judge in the file: `judge id -- why` a line.
fn expected(judge: &str) -> BTreeSet<String> {
    let text = corpus(PATH);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(of, _)| *of == judge).map(|(_, id)| without_why(id).to_owned()).collect()
}

fn without_why(line: &str) -> &str {
    line.split_once(" --").map_or(line, |(id, _)| id)
}

fn bless<'a>(judge: &str, refused: impl Iterator<Item = &'a String>) {
    let _writing = WRITING.lock();
    let text = corpus(PATH);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.split_once(' ').is_none_or(|(of, _)| of != judge))
        .map(Into::into)
        .collect();
    let known = |line: &str| text.lines().find(|of| without_why(of) == line).map(Into::into);
    lines.extend(refused.map(|id| format!("{judge} {id}")).map(|line| known(&line).unwrap_or(line)));
    lines.sort();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(PATH);
    std::fs::write(path, lines.join("\n") + "\n").expect("the file of expected refusals");
}
