//! The count of what was found, and the verdict on the whole run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::exceptions::Exceptions;

use super::compared::Found;
use super::settings::Settings;
use super::write::Made;

/// Of a hundred statements at most so many may be refused where row-level security answers.
const REFUSED_PERCENT: f64 = 2.0;
/// What may be refused or differ, with the reason.
const ALLOWED: &str = "tests/generated/allowed.txt";

#[derive(Debug, Default)]
pub struct Tally {
    same: usize,
    failed: BTreeMap<String, usize>,
    oracle_leaks: usize,
    untold: BTreeMap<String, usize>,
    refused: BTreeMap<String, (usize, String)>,
    refused_otherwise: BTreeMap<String, (usize, String)>,
    faults: BTreeMap<String, (usize, String)>,
    slowest: Vec<(Duration, String)>,
}

impl Tally {
    pub fn add(&mut self, seed: u64, settings: &Settings, made: &Made, took: Duration, found: Found) {
        let told = || {
            let parameters: Vec<_> =
                made.parameters.iter().map(|p| (p.type_oid, p.value.as_deref().unwrap_or("NULL"))).collect();
            let how = if made.extended { format!("extended {parameters:?}") } else { "simple".into() };
            format!("{seed} ({how}, {:?} {}): {}", settings.server, settings.volatility, made.sql)
        };
        if took > Duration::from_millis(500) {
            self.slowest.push((took, told()));
        }
        match found {
            Found::Same => self.same += 1,
            Found::BothFailed(state) => *self.failed.entry(state).or_default() += 1,
            Found::OracleLeaks => self.oracle_leaks += 1,
            Found::Untold(why) => *self.untold.entry(why).or_default() += 1,
            Found::Refused { rule, message, oracle_failed } => {
                let list = if oracle_failed { &mut self.refused_otherwise } else { &mut self.refused };
                count(list, class(&rule, &message), told());
            }
            Found::Leaks(how) => {
                count(&mut self.faults, class("LEAKS", &how), format!("{how}\n      {}", told()))
            }
            Found::Differs(how) => {
                count(&mut self.faults, class("DIFFERS", &how), format!("{how}\n      {}", told()))
            }
        }
    }

    pub fn note(&mut self, fault: String) {
        count(&mut self.faults, class("NOTE", &fault), fault);
    }

    /// `major` is the server's, which may have exceptions.
    pub fn finish(&self, major: u32) -> Result<(), String> {
        let failed: usize = self.failed.values().sum();
        let refused: usize = self.refused.values().map(|(n, _)| n).sum();
        let otherwise: usize = self.refused_otherwise.values().map(|(n, _)| n).sum();
        let faults: usize = self.faults.values().map(|(n, _)| n).sum();
        let untold: usize = self.untold.values().sum();
        let total = self.same + failed + refused + otherwise + untold + self.oracle_leaks + faults;
        println!(
            "generated: {total} statements: {} the same, {failed} fail alike, {refused} refused, {otherwise} refused where the oracle fails otherwise, \
             {} where row-level security itself sees others' rows, {untold} untold, {} faults",
            self.same, self.oracle_leaks, faults
        );
        println!("  fail alike: {:?}", self.failed);
        println!("  untold: {:?}", self.untold);
        let slowest = self.slowest.iter().max();
        println!("  {} took longer than half a second: {slowest:?}", self.slowest.len());
        let lists = [
            (&self.refused, "refused"),
            (&self.refused_otherwise, "refused, oracle fails otherwise"),
            (&self.faults, "FAULT"),
        ];
        for (list, what) in lists {
            for (class, (count, example)) in list {
                println!("  {what} {count}: {class}\n      {example}");
            }
        }
        let (allowed, exceptions) = (allowed(), Exceptions::of("generated", major));
        let fine = |class: &&String| {
            allowed.iter().any(|part| class.contains(part.as_str())) || exceptions.excuse("", class)
        };
        let unknown: Vec<&String> = self.refused.keys().filter(|class| !fine(class)).collect();
        let faults: usize = self.faults.iter().filter(|(class, _)| !fine(class)).map(|(_, (n, _))| n).sum();
        let excused: usize = self.faults.iter().filter(|(class, _)| fine(class)).map(|(_, (n, _))| n).sum();
        let share = percent(refused + excused, total);
        println!("  refused or excused: {share:.2} %");
        if !unknown.is_empty() {
            return Err(format!("refused for a reason that {ALLOWED} does not have: {unknown:?}"));
        }
        if faults > 0 {
            return Err(format!("{faults} statements leak or differ"));
        }
        if share > REFUSED_PERCENT {
            return Err(format!("{share:.2} % of the statements are refused"));
        }
        Ok(())
    }
}

/// The parts of classes that may be, without their reasons.
fn allowed() -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(ALLOWED);
    let text = std::fs::read_to_string(path).expect("the file of what may be");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once(" -- ")?.0.to_owned())).collect()
}

/// Counts one more of a class, and keeps its shortest example.
fn count(list: &mut BTreeMap<String, (usize, String)>, class: String, example: String) {
    let entry = list.entry(class).or_insert_with(|| (0, example.clone()));
    entry.0 += 1;
    if example.len() < entry.1.len() {
        entry.1 = example;
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    number(part) / number(whole.max(1)) * 100.0
}

/// A refusal without the names and numbers of its statement.
fn class(rule: &str, message: &str) -> String {
    let mut out = format!("[{rule}] ");
    let mut quoted = false;
    for c in message.chars() {
        if out.len() > 160 {
            break;
        }
        match c {
            '"' => {
                quoted = !quoted;
                out.push(c);
            }
            _ if quoted => {}
            c if c.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            c => out.push(c),
        }
    }
    out
}
