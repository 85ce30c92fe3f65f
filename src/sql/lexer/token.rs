//! What the lexer tells tokens by, and what it calls them.

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space and comments, as many as follow one another.
    Space,
    /// An identifier or a keyword.
    Word,
    /// `"…"`
    QuotedName,
    /// A literal that can be lifted.
    Literal(LiteralClass),
    /// A literal that is left in its place: bit strings, `N'…'`, a string continued on another line, a number
    /// in a form that not every major reads alike.
    Constant,
    /// `U&'…'` or `U&"…"`: its meaning can depend on a later UESCAPE.
    UnicodeEscape,
    /// `$n`
    Parameter(u32),
    /// `;`
    Semicolon,
    /// `(` or `[`
    Open,
    /// `)` or `]`
    Close,
    /// A run of operator characters.
    Operator,
    /// Any other character.
    Other,
}

/// The classes of literal tokens. Two tokens of one class parse to the same kind of node and get the same type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiteralClass {
    /// `'…'`
    String,
    /// `E'…'`
    EscapeString,
    /// `$tag$…$tag$`
    DollarString,
    /// Digits whose value fits an int4 (PostgreSQL's lexer makes an Integer of it).
    Integer,
    /// Digits beyond int4 that fit an int8 (a Float node, whose type is bigint).
    Bigint,
    /// Digits beyond int8, a decimal point or an exponent (a Float node, whose type is numeric).
    Numeric,
}

impl LiteralClass {
    /// A string of some notation.
    pub const fn is_string(self) -> bool {
        matches!(self, Self::String | Self::EscapeString | Self::DollarString)
    }
}

/// What PostgreSQL's lexer refuses too, or what this one does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexError {
    /// What is wrong.
    pub fault: Fault,
    /// Where the token begins.
    pub position: usize,
}

/// Faults of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `'…` without its end.
    UnterminatedString,
    /// `"…` without its end.
    UnterminatedName,
    /// `$tag$…` without its end.
    UnterminatedDollarString,
    /// `/*…` without its end.
    UnterminatedComment,
    /// Block comments nested too deeply.
    CommentNesting,
    /// Too many operator characters in a row.
    OperatorRun,
    /// `$n` beyond 65535.
    ParameterNumber,
    /// Vertical tab or U+FEFF outside of a string and a comment: the majors read them differently.
    BadCharacter,
}

/// Classes of bytes. The first three are what an identifier goes on with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Class {
    Letter,
    Digit,
    Dollar,
    Space,
    Quote,
    DoubleQuote,
    Operator,
    Semicolon,
    Open,
    Close,
    Dot,
    VerticalTab,
    Other,
}

/// The classes of all bytes.
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut rest: &mut [Class] = &mut classes;
    let mut byte = 0_u8;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = classify(byte);
        byte = byte.wrapping_add(1);
        rest = others;
    }
    classes
};

const fn classify(byte: u8) -> Class {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => Class::Space,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b'\'' => Class::Quote,
        b'"' => Class::DoubleQuote,
        b'$' => Class::Dollar,
        b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/' | b'%'
        | b'<' | b'>' | b'=' => Class::Operator,
        b';' => Class::Semicolon,
        b'(' | b'[' => Class::Open,
        b')' | b']' => Class::Close,
        b'.' => Class::Dot,
        0x0b => Class::VerticalTab,
        _ => Class::Other,
    }
}

/// The class of a byte.
#[inline(always)]
pub(super) fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Other)
}

/// Whether an identifier goes on with a byte.
#[inline(always)]
pub(super) fn continues_name(byte: u8) -> bool {
    class(byte) <= Class::Dollar
}

/// Whether a single blank before this byte is all the space there: neither more space nor a comment follows.
#[inline(always)]
pub(super) fn begins_plain(byte: u8) -> bool {
    class(byte) != Class::Space && byte != b'-' && byte != b'/'
}

/// Whether a word that begins so may be the prefix of a string.
#[inline(always)]
pub(super) fn begins_string(byte: u8) -> bool {
    matches!(byte | 0x20, b'e' | b'b' | b'x' | b'n' | b'u')
}

/// Whether a token that ends with this byte ends there whatever literal follows it.
pub fn ends_before_literal(byte: u8) -> bool {
    matches!(class(byte), Class::Space | Class::Open | Class::Operator) || byte == b','
}

/// Notations of strings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    Standard,
    Escape,
    Bits,
    National,
    Unicode,
}

impl Quoting {
    /// The kind of a string's token.
    pub(super) const fn kind(self, continued: bool) -> Kind {
        match self {
            Self::Unicode => Kind::UnicodeEscape,
            Self::Bits | Self::National => Kind::Constant,
            Self::Standard | Self::Escape if continued => Kind::Constant,
            Self::Standard => Kind::Literal(LiteralClass::String),
            Self::Escape => Kind::Literal(LiteralClass::EscapeString),
        }
    }
}

/// The class of a whole number by the type that PostgreSQL gives it (make_const in parse_node.c). The two
/// numbers whose type depends on a sign before them have none.
pub(super) fn integer_class(digits: &[u8]) -> Option<LiteralClass> {
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    let digits = digits.get(zeros..).unwrap_or_default();
    let beyond = |limit: &[u8]| (digits.len(), digits).cmp(&(limit.len(), limit)).is_gt();
    if !beyond(b"2147483647") {
        Some(LiteralClass::Integer)
    } else if digits == b"2147483648" || digits == b"9223372036854775808" {
        None
    } else if !beyond(b"9223372036854775807") {
        Some(LiteralClass::Bigint)
    } else {
        Some(LiteralClass::Numeric)
    }
}
