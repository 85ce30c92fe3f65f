//! Finding another tenant's data in what a client got.
//!
//! Tenant 1 is A ('CANARY_A', numbers from 1111000), 2 is B (2222000), 3 is C (3333000).

use crate::support::wire::Message;

/// Every canary of another tenant in `heard` that is not in what the client `sent` itself.
pub fn foreign(heard: &[Message], tenant: u8, sent: &str) -> Vec<String> {
    let sent = sent.to_lowercase();
    let mut found: Vec<String> = Vec::new();
    for message in heard {
        // A row, an error or a notice is text here; what is binary holds its texts as they are.
        let text = String::from_utf8_lossy(&message.body).to_lowercase();
        for canary in words(&text, tenant).chain(numbers(&text, tenant)) {
            if !sent.contains(&canary) && !found.iter().any(|f| f.starts_with(&canary)) {
                let tag = char::from(message.tag);
                found.push(format!("{canary} in {tag}: {}", excerpt(&text, &canary)));
            }
        }
    }
    found
}

fn others(tenant: u8) -> impl Iterator<Item = u8> {
    (1..=3).filter(move |other| *other != tenant)
}

fn words(text: &str, tenant: u8) -> impl Iterator<Item = String> {
    let words = others(tenant).map(|other| format!("canary_{}", char::from(b'a' + other - 1)));
    words.filter(|word| text.contains(word.as_str()))
}

/// Numbers of seven digits from n111000 times the tenant, as a word of their own. Sums of one's own numbers
/// can look so: three of A's make 3333xxx. Whoever calls with a sum in the statement must know.
fn numbers(text: &str, tenant: u8) -> impl Iterator<Item = String> {
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.filter(move |n| n.len() == 7 && others(tenant).any(|o| is_number_of(n, o))).map(str::to_owned)
}

fn is_number_of(number: &str, tenant: u8) -> bool {
    let first = u32::from(tenant) * 1_111_000;
    number.parse::<u32>().is_ok_and(|n| (first..first + 100).contains(&n))
}

fn excerpt(text: &str, canary: &str) -> String {
    let at = text.find(canary).unwrap_or(0);
    let start = text[..at].char_indices().rev().nth(30).map_or(0, |(i, _)| i);
    let shown = text[start..].chars().take(90);
    shown.map(|c| if c.is_control() { '·' } else { c }).collect()
}
