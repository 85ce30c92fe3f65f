//! What literals, and parameters at Bind, must look like.

/// A rule that a parameter's value is checked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindRule {
    /// At most so many bytes.
    AtMost(usize),
    /// A LIKE pattern whose escape character is a backslash.
    LikePattern,
    /// A jsonb of bounded size and depth.
    Jsonb,
    /// The name of a setting that may be shown.
    ShownSetting,
}

/// The longest LIKE pattern, in bytes: time grows with pattern times value.
pub(super) const LONGEST_PATTERN: usize = 256;
/// The largest jsonb literal of a containment, in bytes.
const LARGEST_JSONB: usize = 8 * 1024;
/// How deep such a jsonb may be nested.
const DEEPEST_JSONB: usize = 64;
/// The largest text of a query, in bytes, and how many operators it may have.
pub const LARGEST_QUERY: usize = 4096;
const MOST_QUERY_OPERATORS: usize = 64;
/// How many elements a literal array may have.
const MOST_ELEMENTS: usize = 1_000;

impl BindRule {
    /// Whether a value satisfies the rule. NULL always does.
    pub fn holds(self, value: &str) -> bool {
        match self {
            Self::AtMost(bytes) => value.len() <= bytes,
            Self::LikePattern => pattern(value, Some('\\')),
            Self::Jsonb => jsonb(value),
            Self::ShownSetting => crate::sql::settings::may_show(value),
        }
    }
}

/// A LIKE pattern: short, and its end is not escaped (that raises 22025 on the first row that gets there).
pub(super) fn pattern(text: &str, escape: Option<char>) -> bool {
    let run = escape.map_or(0, |escape| text.chars().rev().take_while(|c| *c == escape).count());
    text.len() <= LONGEST_PATTERN && run.is_multiple_of(2)
}

/// A jsonb literal: small and not deep.
pub(super) fn jsonb(text: &str) -> bool {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut bytes = text.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => drop(bytes.next()),
            b'{' | b'[' if !in_string => depth = depth.saturating_add(1),
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    text.len() <= LARGEST_JSONB && deepest <= DEEPEST_JSONB
}

/// A tsquery literal, or the text that a query is made of.
pub(super) fn tsquery(text: &str) -> bool {
    let operators = text.bytes().filter(|b| matches!(b, b'&' | b'|' | b'!' | b'<' | b' ' | b'-')).count();
    text.len() <= LARGEST_QUERY && operators <= MOST_QUERY_OPERATORS
}

/// An array literal for a containment.
pub(super) fn array(text: &str) -> bool {
    text.bytes().filter(|b| *b == b',').count() < MOST_ELEMENTS
}

/// A number of elements for a containment.
pub(super) fn elements(count: usize) -> bool {
    count <= MOST_ELEMENTS
}

/// Fields that EXTRACT takes of a type without raising.
pub(super) fn field(name: &str, of: TimeKind) -> bool {
    const TIME: [&str; 6] = ["microseconds", "milliseconds", "second", "minute", "hour", "epoch"];
    const DATE: [&str; 12] = [
        "day",
        "month",
        "quarter",
        "week",
        "year",
        "decade",
        "century",
        "millennium",
        "isoyear",
        "dow",
        "isodow",
        "doy",
    ];
    const INTERVAL: [&str; 7] = ["day", "month", "quarter", "year", "decade", "century", "millennium"];
    const ZONE: [&str; 3] = ["timezone", "timezone_hour", "timezone_minute"];
    let is_in = |fields: &[&str]| fields.contains(&name);
    match of {
        TimeKind::Timestamp => is_in(&TIME) || is_in(&DATE),
        TimeKind::TimestampTz => is_in(&TIME) || is_in(&DATE) || is_in(&ZONE),
        TimeKind::Date => is_in(&DATE) || name == "epoch",
        TimeKind::Time => is_in(&TIME),
        TimeKind::TimeTz => is_in(&TIME) || is_in(&ZONE),
        TimeKind::Interval => is_in(&TIME) || is_in(&INTERVAL),
    }
}

/// Types that have fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeKind {
    Timestamp,
    TimestampTz,
    Date,
    Time,
    TimeTz,
    Interval,
}

/// Units that date_trunc takes of a timestamp without reaching below the calendar: its day 0 is a Monday.
pub(super) fn short_unit(name: &str) -> bool {
    ["microseconds", "milliseconds", "second", "minute", "hour", "day", "week"].contains(&name)
}

/// Units that date_trunc takes of the present time.
pub(super) fn unit(name: &str) -> bool {
    short_unit(name) || ["month", "quarter", "year", "decade", "century", "millennium"].contains(&name)
}

/// An interval literal of less than 5 000 years: the present time plus or minus it is in the calendar.
pub(super) fn short_interval(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    let mut any = false;
    while let Some(word) = words.next() {
        let unit_at = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (number, glued) = word.split_at_checked(unit_at).unwrap_or((word, ""));
        let unit = if glued.is_empty() {
            words.next_if(|w| !w.contains(|c: char| c.is_ascii_digit()))
        } else {
            Some(glued)
        };
        let clock =
            number.contains(':') && number.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.');
        any = true;
        if clock && unit.is_none() && number.len() <= 15 {
            continue;
        }
        let Ok(number) = number.parse::<f64>() else { return false };
        let limit = match unit.map(|u| u.trim_end_matches('s')) {
            Some("year" | "y") => 1_000.0,
            Some("month" | "mon") => 10_000.0,
            Some("week" | "w" | "day" | "d" | "hour" | "h" | "minute" | "min" | "m" | "second" | "sec") => {
                100_000.0
            }
            _ => return false,
        };
        if number.abs() > limit {
            return false;
        }
    }
    any && text.len() <= 100
}

/// A date or time stamp that begins with a year of four digits: thousands of years from either end of the calendar.
pub(super) fn of_our_era(text: &str) -> bool {
    let text = text.trim();
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = |b: u8| b.is_ascii_digit() || b"-:.+ TZ".contains(&b);
    year == 4 && text.as_bytes().get(4) == Some(&b'-') && text.bytes().all(rest) && text.len() <= 40
}

/// A jsonpath of accessors, filters, comparisons and logic alone. Read as tokens; what is not on the list refuses.
pub(super) fn jsonpath(text: &str) -> bool {
    const WORDS: [&str; 12] =
        ["lax", "strict", "to", "last", "exists", "starts", "with", "is", "unknown", "true", "false", "null"];
    const MARKS: [&str; 16] =
        ["==", "!=", "<>", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", "?"];
    let mut rest = text.trim_start();
    let mut previous = "";
    while !rest.is_empty() {
        let length = match rest.as_bytes() {
            [b'"', ..] => string_length(rest),
            [b'$', next, ..] if next.is_ascii_alphanumeric() || matches!(next, b'_' | b'"') => None,
            [b'$' | b'@', ..] => Some(1),
            [b'.', b'*', b'*', ..] => None,
            [b'.', b'*', ..] => Some(2),
            [b'*', ..] => (previous == "[").then_some(1),
            [b'.', ..] => key_length(rest),
            [first, ..] if first.is_ascii_digit() => Some(run(rest, |b| b.is_ascii_digit() || b == b'.')),
            [first, ..] if first.is_ascii_alphabetic() => {
                let length = run(rest, |b| b.is_ascii_alphanumeric() || b == b'_');
                rest.get(..length).is_some_and(|word| WORDS.contains(&word)).then_some(length)
            }
            _ => MARKS.iter().find(|mark| rest.starts_with(**mark)).map(|mark| mark.len()),
        };
        let Some((token, after)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return false;
        };
        previous = token;
        rest = after.trim_start();
    }
    text.len() <= LARGEST_QUERY && text.bytes().filter(|b| matches!(b, b'(' | b'[')).count() <= DEEPEST_JSONB
}

/// `.key` or `."key"`, unless it is a method's name with its parentheses.
fn key_length(text: &str) -> Option<usize> {
    let key = text.get(1..)?;
    let length = match key.as_bytes() {
        [b'"', ..] => string_length(key)?,
        [first, ..] if first.is_ascii_alphabetic() || *first == b'_' => {
            run(key, |b| b.is_ascii_alphanumeric() || b == b'_')
        }
        _ => return None,
    };
    let is_call = key.get(length..)?.trim_start().starts_with('(');
    if is_call { None } else { length.checked_add(1) }
}

/// The length of a string without escapes.
fn string_length(text: &str) -> Option<usize> {
    let end = text.get(1..)?.find(['"', '\\'])?.checked_add(1)?;
    text.get(end..)?.starts_with('"').then(|| end.saturating_add(1))
}

fn run(text: &str, of: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|b| of(*b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(of(text), "{text:?} is good");
        }
        for text in bad {
            assert!(!of(text), "{text:?} is bad");
        }
    }

    #[test]
    fn a_pattern_that_ends_in_an_escape_is_refused() {
        let long = "a".repeat(257);
        check(|t| pattern(t, Some('\\')), &["", "%x%", "a\\\\", "a\\%"], &["\\", "x\\", "x\\\\\\", &long]);
        check(|t| pattern(t, Some('!')), &["x\\", "!!"], &["x!"]);
    }

    #[test]
    fn a_deep_jsonb_is_refused() {
        let (deep, hidden) = ("[".repeat(65), format!("{}1", "[\"]\",".repeat(65)));
        check(jsonb, &["{\"k\": [1, {}]}", "1"], &[&deep, &hidden, &" ".repeat(9000)]);
    }

    #[test]
    fn an_interval_beyond_the_calendar_is_refused() {
        check(
            short_interval,
            &["7 days", "1 year 2 mons", "-30 minutes", "01:30:00", "1 day 02:00", "90d", "1 week"],
            &[
                "",
                "6000 years",
                "1e9 days",
                "1 fortnight",
                "P1Y",
                "infinity",
                "10",
                "1 day ago",
                "9999999999999:00:00.0",
            ],
        );
    }

    #[test]
    fn a_time_far_from_ours_is_refused() {
        check(
            of_our_era,
            &["2024-01-01", " 2024-02-29T12:00:00.5+00:00 ", "1999-12-31 23:59:59Z"],
            &["", "infinity", "4714-11-24 BC", "294276-12-31", "now", "20240101", "01-02-2024"],
        );
    }

    #[test]
    fn a_jsonpath_beyond_the_subset_is_refused() {
        check(
            jsonpath,
            &[
                "$.a",
                "strict $.a[*].\"b c\"",
                "$.a[0 to last] ? (@.x >= 1.5 && !(@.y == \"z\"))",
                "$.* ? (exists(@.k))",
                "$[*] ? (@ starts with \"a\")",
                "($.a == 1) is unknown",
            ],
            &[
                "$.a.size()",
                "$.**",
                "$.a + 1",
                "$.a * 2",
                "$x",
                "$.a ? (@ like_regex \"(((\")",
                "$.a.datetime() < \"2024-01-01\".datetime()",
                "-$.a",
                "$.\"a\\u0000\"",
                "$.a ? (@ == $\"v\")",
                "$.a ? (@ / 0 == 1)",
            ],
        );
    }

    #[test]
    fn fields_are_those_of_the_type() {
        assert!(field("dow", TimeKind::Timestamp) && !field("timezone", TimeKind::Timestamp));
        assert!(field("timezone", TimeKind::TimestampTz));
        assert!(field("year", TimeKind::Date) && !field("hour", TimeKind::Date));
        assert!(!field("dow", TimeKind::Interval) && !field("year", TimeKind::Time));
        assert!(short_unit("week") && !short_unit("month") && unit("month") && !unit("fortnight"));
    }
}
