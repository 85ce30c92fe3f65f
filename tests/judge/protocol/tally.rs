//! How the sequences came out.

use std::collections::BTreeMap;

/// The count.
#[derive(Debug, Default)]
pub struct Tally {
    sequences: usize,
    messages: usize,
    /// How many answers of each kind were compared.
    answers: BTreeMap<String, usize>,
    /// How often what differed.
    faults: BTreeMap<String, usize>,
}

/// So many kinds of faults are enough to look at.
const MOST_FAULTS: usize = 12;

impl Tally {
    /// A sequence whose answers are the same.
    pub fn same(&mut self, messages: usize, answers: &[String]) {
        self.sequences += 1;
        self.messages += messages;
        for answer in answers {
            let kind = if answer.starts_with('E') { answer.get(..13) } else { answer.get(..1) };
            *self.answers.entry(kind.unwrap_or(answer).to_owned()).or_default() += 1;
        }
    }

    /// A sequence that differs; whether none before it did so in this way.
    pub fn is_new(&mut self, how: &str) -> bool {
        self.sequences += 1;
        let count = self.faults.entry(kind(how)).or_default();
        *count += 1;
        *count == 1
    }

    /// Whether nothing more has to be found.
    pub fn is_full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }

    pub fn finish(&self) -> Result<(), String> {
        let (sequences, messages) = (self.sequences, self.messages);
        let faults: usize = self.faults.values().sum();
        println!("protocol: {sequences} sequences of {messages} messages, {faults} differ");
        println!("  answers: {:?}", self.answers);
        for (kind, count) in &self.faults {
            println!("  FAULT {count}: {kind}");
        }
        if faults == 0 { Ok(()) } else { Err(format!("{faults} sequences differ")) }
    }
}

/// A difference without its numbers and names.
pub fn kind(how: &str) -> String {
    let mut out = String::new();
    for word in how.split_inclusive([' ', ',']) {
        let is_name = word.len() > 1 && word.contains(|c: char| c.is_ascii_digit() || c == '"' || c == '\\');
        let is_code = word.trim().len() == 5
            && word.trim().chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
        out.push_str(if is_name && !is_code { "#" } else { word });
    }
    out.chars().take(120).collect()
}
