//! The conditions under which a listed operator or function is total, one by one.

use crate::catalog::Function;

use super::super::resolve::{CastPath, oid};
use super::super::typed::{Expr, ExprType};
use super::constants::{self, TimeKind};
use super::facts::{Facts, LARGEST_BOUND, LONGEST_NUMBER};
use super::total::{Judge, Reason, is_builtin};
use super::{BindRule, Condition, types};

/// The longest text that functions of class S take, all inputs together, in bytes.
const LONGEST_BOUNDED: usize = 64 << 20;
/// The most digits that arithmetic of `numeric(p, s)` may come to.
const MOST_DIGITS: usize = 10_000;
/// Digits that a division adds: its scale is at most NUMERIC_MAX_DISPLAY_SCALE (numeric.h).
const DIGITS_OF_DIVISION: usize = 1_100;
/// The most digits, before and after the point, of a numeric that is cast to double precision.
const MOST_DIGITS_OF_FLOAT: usize = 300;
/// The longest text beside a trigram operator.
const LONGEST_TRIGRAM: usize = 256;

impl Judge<'_> {
    /// Whether a listed operator or function is total over these arguments, and what is known of its result.
    pub fn meets(
        &mut self,
        condition: Condition,
        function: &Function,
        arguments: &[Expr],
        facts: &[Facts],
    ) -> Result<Facts, Reason> {
        let first = facts.first().copied().ok_or("a call without arguments")?;
        let all = facts.iter().copied().reduce(Facts::joined).unwrap_or_default();
        let result = all.without_bounds();
        match condition {
            Condition::Plain => Ok(self.plain(function, first, all)),
            Condition::Equal => self.compares(arguments, facts, false).map(|()| result),
            Condition::Order => self.compares(arguments, facts, true).map(|()| result),
            Condition::Like => self.pattern(arguments.get(1)).map(|()| result),
            Condition::ILike => {
                within(first.bytes)?;
                self.pattern(arguments.get(1)).map(|()| result)
            }
            Condition::TsQuery => self.tsquery(arguments, facts).map(|()| result),
            Condition::JsonbDepth => self.jsonb(arguments).map(|()| result),
            Condition::JsonPath => {
                let path = self.literal(arguments.get(1))?;
                constants::jsonpath(path).then_some(result).ok_or("a path beyond the checked subset")
            }
            Condition::Divisor => self.divisor(arguments.get(1)).map(|()| all),
            Condition::DivisorNotMinusOne => match self.integer(arguments.get(1))? {
                0 | -1 => Err("a division by 0 or -1"),
                _ => Ok(result),
            },
            Condition::NumericFloat => {
                // What the text of the number says is within the exponents of a double precision.
                let few = first.digits.is_some_and(|digits| digits <= MOST_DIGITS_OF_FLOAT);
                few.then_some(result).ok_or("a numeric that may be beyond a double precision")
            }
            Condition::Cut => {
                let length = self.integer(arguments.get(1))?;
                let bytes = usize::try_from(length).ok().and_then(|n| n.checked_mul(4));
                Ok(Facts { bytes: bytes.filter(|b| *b <= LARGEST_BOUND), ..result })
            }
            Condition::Numeric => {
                self.arithmetic(arguments, facts, 1).map(|digits| Facts { digits: Some(digits), ..result })
            }
            Condition::NumericDivide => {
                self.divisor(arguments.get(1))?;
                let digits = self.arithmetic(arguments, facts, DIGITS_OF_DIVISION)?;
                Ok(Facts { digits: Some(digits), ..result })
            }
            Condition::NumericRound | Condition::NumericRoundAny => {
                let places = self.integer(arguments.get(1))?;
                if let Some(rounded) = arguments.first() {
                    self.pin_numbers(rounded);
                }
                let digits = first.digits.and_then(|d| d.checked_add(1));
                match (condition, digits) {
                    _ if places.unsigned_abs() > 1_000 => Err("a rounding to too many digits"),
                    (Condition::NumericRound, None) => Err("a numeric without precision"),
                    _ => Ok(Facts { digits, ..result }),
                }
            }
            Condition::Bounded => bounded(function, arguments, facts).map(|bytes| Facts { bytes, ..result }),
            Condition::Part => {
                self.part(function, arguments).map(|()| Facts { bytes: first.bytes, ..result })
            }
            Condition::Split => match self.integer(arguments.get(2))? {
                0 => Err("a field that is 0"),
                _ => Ok(Facts { bytes: first.bytes, ..result }),
            },
            Condition::Replace => {
                let (from, to) =
                    (self.literal(arguments.get(1))?.len(), self.literal(arguments.get(2))?.len());
                (to <= from).then_some(Facts { bytes: first.bytes, ..result }).ok_or("a text that grows")
            }
            Condition::Field => {
                let of =
                    arguments.get(1).and_then(|a| time_kind(a.ty().oid)).ok_or("a type without fields")?;
                let field = self.literal(arguments.first())?.to_ascii_lowercase();
                constants::field(&field, of).then_some(result).ok_or("a field that the type may not have")
            }
            Condition::Unit => {
                let unit = self.literal(arguments.first())?.to_ascii_lowercase();
                constants::short_unit(&unit).then_some(result).ok_or("a unit that may leave the calendar")
            }
            Condition::Array => self.arrays(arguments).map(|()| result),
            Condition::Range => {
                let is_range =
                    |t| self.catalog.range(t).is_some() || self.catalog.range_of_multirange(t).is_some();
                let of_ranges = arguments.iter().map(|a| a.ty().oid).filter(|t| is_range(*t));
                let listed = of_ranges.map(types::is_listed_range).reduce(|a, b| a && b);
                listed.unwrap_or(false).then_some(result).ok_or("a range over numeric or a type of a user")
            }
            Condition::Trigram => self.trigram(arguments, facts).map(|()| result),
        }
    }

    fn plain(&self, function: &Function, first: Facts, all: Facts) -> Facts {
        const KEEP: [&str; 5] = ["text_reverse", "rtrim1", "numeric_abs", "numeric_sign", "numeric_uminus"];
        const SHORT: [&str; 4] = ["name_text", "char_text", "booltext", "network_show"];
        match function.source.as_str() {
            source if KEEP.contains(&source) => Facts { bytes: first.bytes, digits: first.digits, ..all },
            source if SHORT.contains(&source) => Facts { bytes: Some(256), digits: None, ..all },
            _ => all.without_bounds(),
        }
    }

    fn compares(&self, arguments: &[Expr], facts: &[Facts], order: bool) -> Result<(), Reason> {
        if !arguments.iter().all(|a| types::is_comparable(self.catalog, a.ty().oid, order)) {
            return Err("a comparison of a type that is not known to be total");
        }
        let text = arguments.iter().any(|a| types::is_text(a.ty().oid));
        if order && text && facts.iter().filter(|f| f.is_unbounded()).count() > 1 {
            return Err("two texts without bounds");
        }
        Ok(())
    }

    /// The recursion is no deeper than the shallower side.
    fn jsonb(&mut self, arguments: &[Expr]) -> Result<(), Reason> {
        for side in arguments {
            match side {
                Expr::Const { text: Some(_), .. } if constants::jsonb(self.literal(Some(side))?) => {
                    return Ok(());
                }
                Expr::Param { number, .. } => {
                    self.check(*number, BindRule::Jsonb);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err("a containment without a literal of bounded depth")
    }

    fn part(&mut self, function: &Function, arguments: &[Expr]) -> Result<(), Reason> {
        let length = match arguments {
            [_, length] if function.source != "text_substr_no_len" => self.integer(Some(length))?,
            [_, start] => self.integer(Some(start)).map(|_| 0)?,
            [_, start, length] => {
                self.integer(Some(start))?;
                self.integer(Some(length))?
            }
            _ => return Err("a call without arguments"),
        };
        if length < 0 { Err("a negative length") } else { Ok(()) }
    }

    fn arrays(&mut self, arguments: &[Expr]) -> Result<(), Reason> {
        for argument in arguments.iter().filter(|a| a.ty().oid != oid::INT4) {
            if !types::is_array_of_listed(self.catalog, argument.ty().oid) {
                return Err("an array of a type that is not known to be total");
            }
            let few = match argument {
                Expr::Const { text: Some(_), .. } => constants::array(self.literal(Some(argument))?),
                Expr::Array { elements, .. } => constants::elements(elements.len()),
                _ => true,
            };
            if !few {
                return Err("an array of too many elements");
            }
        }
        Ok(())
    }

    fn trigram(&mut self, arguments: &[Expr], facts: &[Facts]) -> Result<(), Reason> {
        let mut short = false;
        for (argument, facts) in arguments.iter().zip(facts) {
            within(facts.bytes)?;
            match argument {
                Expr::Const { .. } => short |= self.literal(Some(argument))?.len() <= LONGEST_TRIGRAM,
                Expr::Param { number, .. } => {
                    self.check(*number, BindRule::AtMost(LONGEST_TRIGRAM));
                    short = true;
                }
                _ => {}
            }
        }
        short.then_some(()).ok_or("a similarity without a short literal")
    }

    /// Arithmetic and truncation of the present time, or of a literal of our era, that stay within the calendar, and
    /// their form in UTC.
    pub fn is_of_the_present(&mut self, function: &Function, arguments: &[Expr]) -> bool {
        let [left, right] = arguments else { return false };
        if !is_builtin(function) {
            return false;
        }
        match function.source.as_str() {
            "timestamptz_pl_interval"
            | "timestamptz_mi_interval"
            | "timestamp_pl_interval"
            | "timestamp_mi_interval"
            | "date_pl_interval"
            | "date_mi_interval" => {
                self.is_present(left) && self.literal(Some(right)).is_ok_and(constants::short_interval)
            }
            "date_pli" | "date_mii" => {
                let short = |days: i64| days.unsigned_abs() <= 1_000_000;
                self.is_present(left) && self.integer(Some(right)).is_ok_and(short)
            }
            "timestamptz_trunc" | "timestamp_trunc" => {
                self.is_present(right) && self.literal(Some(left)).is_ok_and(constants::unit)
            }
            "timestamptz_zone" => {
                let utc = |zone| matches!(zone, "UTC" | "utc");
                self.is_present(right) && self.literal(Some(left)).is_ok_and(utc)
            }
            _ => false,
        }
    }

    /// Whether an expression is the present time or a literal of our era, as a date, a time stamp or cut to a unit.
    fn is_present(&mut self, expr: &Expr) -> bool {
        let is_time = |ty: &ExprType| matches!(ty.oid, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ);
        match expr {
            Expr::Now(ty) => is_time(ty),
            Expr::Const { ty, .. } => {
                is_time(ty) && self.literal(Some(expr)).is_ok_and(constants::of_our_era)
            }
            Expr::Cast { argument, path: CastPath::Function(_), ty } => {
                is_time(ty) && self.is_present(argument)
            }
            Expr::Call { function, arguments, .. } if is_builtin(function) => {
                matches!(
                    function.source.as_str(),
                    "timestamptz_trunc" | "timestamp_trunc" | "timestamptz_zone"
                ) && arguments.get(1).is_some_and(|time| self.is_present(time))
            }
            _ => false,
        }
    }

    /// A literal's text, which the judgement then holds for.
    pub fn literal<'e>(&mut self, expr: Option<&'e Expr>) -> Result<&'e str, Reason> {
        match expr {
            Some(Expr::Const { text: Some(text), location, .. }) => {
                self.pins.push(*location);
                Ok(text)
            }
            Some(Expr::Cast { argument, path, ty }) if self.keeps_value(argument, path, ty.oid) => {
                self.literal(Some(argument))
            }
            _ => Err("what must be a literal is none"),
        }
    }

    pub fn integer(&mut self, expr: Option<&Expr>) -> Result<i64, Reason> {
        self.literal(expr)?.trim().parse().map_err(|_| "a literal that is no integer")
    }

    /// The digits that arithmetic may come to.
    fn arithmetic(&mut self, arguments: &[Expr], facts: &[Facts], more: usize) -> Result<usize, Reason> {
        for argument in arguments {
            self.pin_numbers(argument);
        }
        let sum = facts.iter().try_fold(more, |sum, f| sum.checked_add(f.digits?));
        sum.filter(|digits| *digits <= MOST_DIGITS).ok_or("a numeric without precision")
    }

    /// Pins the literals that give an expression its digits. Its arithmetic has pinned its own.
    fn pin_numbers(&mut self, expr: &Expr) {
        match expr {
            Expr::Const { location, .. } => self.pins.push(*location),
            Expr::Cast { argument, .. } => self.pin_numbers(argument),
            Expr::Op { arguments, .. }
            | Expr::Call { arguments, .. }
            | Expr::Coalesce { arguments, .. }
            | Expr::MinMax { arguments, .. }
            | Expr::Case { results: arguments, .. } => {
                for argument in arguments {
                    self.pin_numbers(argument);
                }
            }
            _ => {}
        }
    }

    /// Whether a cast gives the very number or text that it takes: an integer to a wider type, a text to another.
    fn keeps_value(&self, argument: &Expr, path: &CastPath, target: u32) -> bool {
        let source = argument.ty().oid;
        match path {
            CastPath::Binary => types::is_varying(source) && types::is_varying(target),
            CastPath::Function(function) => {
                types::is_wider_number(source, target)
                    && self.list.function(*function) == Some(Condition::Plain)
            }
            _ => false,
        }
    }

    /// A literal number that is not 0, in a form that leaves no doubt.
    fn divisor(&mut self, expr: Option<&Expr>) -> Result<(), Reason> {
        let text = self.literal(expr)?.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && digits.bytes().filter(|b| *b == b'.').count() <= 1
            && text.len() <= LONGEST_NUMBER;
        let zero = !digits.bytes().any(|b| (b'1'..=b'9').contains(&b));
        if plain && !zero { Ok(()) } else { Err("a divisor that is no plain number but 0") }
    }
}

fn time_kind(ty: u32) -> Option<TimeKind> {
    Some(match ty {
        oid::TIMESTAMP => TimeKind::Timestamp,
        oid::TIMESTAMPTZ => TimeKind::TimestampTz,
        oid::DATE => TimeKind::Date,
        oid::TIME => TimeKind::Time,
        oid::TIMETZ => TimeKind::TimeTz,
        oid::INTERVAL => TimeKind::Interval,
        _ => return None,
    })
}

fn within(bytes: Option<usize>) -> Result<usize, Reason> {
    bytes.filter(|b| *b <= LONGEST_BOUNDED).ok_or("a text without a bound")
}

/// The bound of what a function over bounded texts gives.
fn bounded(function: &Function, arguments: &[Expr], facts: &[Facts]) -> Result<Option<usize>, Reason> {
    // Case mapping can make three bytes of one.
    const MAPPING: [&str; 3] = ["lower", "upper", "initcap"];
    // concat takes literals as they are.
    let literal = |a: &Expr| matches!(a, Expr::Const { ty, .. } if ty.oid == oid::UNKNOWN);
    if !arguments.iter().all(|a| types::is_text(a.ty().oid) || literal(a)) {
        return Err("a value that is no text");
    }
    let sum = facts.iter().try_fold(0_usize, |sum, f| sum.checked_add(f.bytes?));
    let sum = within(sum)?;
    let factor = if MAPPING.contains(&function.source.as_str()) { 3 } else { 1 };
    Ok(sum.checked_mul(factor))
}
