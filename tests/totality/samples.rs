//! Columns with values that make operators raise, and the words that conditions are made of.

/// A column: name, type as it is declared, the type's name in pg_type, values.
pub type Sample = (&'static str, &'static str, &'static str, &'static [&'static str]);

pub const SAMPLES: [Sample; 36] = [
    ("i8", "int8", "int8", &["0", "1", "-1", "9223372036854775807", "-9223372036854775808"]),
    ("i4", "int4", "int4", &["0", "1", "-1", "2147483647", "-2147483648"]),
    ("i2", "int2", "int2", &["0", "1", "-1", "32767", "-32768"]),
    ("id", "oid", "oid", &["0", "4294967295"]),
    ("ps", "numeric(10,2)", "numeric", &["0", "NaN", "99999999.99", "-99999999.99", "0.01"]),
    (
        "num",
        "numeric",
        "numeric",
        &["0", "NaN", "Infinity", "-Infinity", "1e131071", "-1e131071", "1e-16383", "1.5"],
    ),
    ("f8", "float8", "float8", &["0", "NaN", "Infinity", "-Infinity", "1.7e308", "-1.7e308", "5e-324"]),
    ("f4", "float4", "float4", &["0", "NaN", "Infinity", "3.4e38", "1e-45"]),
    ("b", "bool", "bool", &["t", "f"]),
    ("cash", "money", "money", &["0", "92233720368547758.07", "-92233720368547758.08"]),
    (
        "txt",
        "text",
        "text",
        &["", "\\", "(((", "%", "_a\\", "ẞİ̇ﬃ", "{\"k\":1}", " x ", "a,b", "1", "$.a", "[1,2)"],
    ),
    ("vc", "varchar(20)", "varchar", &["", "\\", "(((", "ẞİ̇ﬃ", "%\\", "x@y.z"]),
    ("bp", "char(3)", "bpchar", &["", "\\", "ẞ", "abc"]),
    ("nm", "name", "name", &["", "\\", "ẞ", "pg_class"]),
    ("ch", "\"char\"", "char", &["", "a", "\\"]),
    ("ba", "bytea", "bytea", &["", "\\x00", "\\x5c", "\\xff"]),
    ("bi", "bit(3)", "bit", &["101", "000"]),
    ("vb", "varbit", "varbit", &["", "1", "10101"]),
    (
        "uid",
        "uuid",
        "uuid",
        &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ),
    ("d", "date", "date", &["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "2024-02-29"]),
    (
        "ts",
        "timestamp",
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "2024-02-29 12:00",
        ],
    ),
    (
        "tz",
        "timestamptz",
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "2024-02-29 12:00+00",
        ],
    ),
    ("ti", "time", "time", &["00:00", "24:00", "23:59:59.999999"]),
    ("tt", "timetz", "timetz", &["00:00+15:59", "24:00-15:59"]),
    (
        "iv",
        "interval",
        "interval",
        &["0", "2147483647 months", "-2147483648 months", "2147483647 days", "-178000000 years"],
    ),
    (
        "js",
        "jsonb",
        "jsonb",
        &[
            "null",
            "{}",
            "[]",
            "{\"k\": \"v\", \"a\": [1, {\"b\": null}]}",
            "[[[[1e400]]]]",
            "\"x\"",
            "1e131071",
            "true",
        ],
    ),
    (
        "ta",
        "text[]",
        "_text",
        &["{}", "{a,NULL}", "{{a,b},{c,d}}", "[2147483645:2147483646]={a,b}", "{\"\\\\\"}"],
    ),
    ("ia", "int4[]", "_int4", &["{}", "{1,NULL}", "{{1,2},{3,4}}", "[-5:-4]={1,2}"]),
    ("na", "numeric[]", "_numeric", &["{}", "{NaN,Infinity}", "{1e131071}"]),
    ("tv", "tsvector", "tsvector", &["", "a:1A b:2", "w77 'x y':3"]),
    ("ir", "int4range", "int4range", &["empty", "(,)", "[2147483646,2147483647)", "[-2147483648,0)"]),
    ("tr", "tstzrange", "tstzrange", &["empty", "(,)", "[-infinity,infinity]", "[2024-01-01,2024-02-01)"]),
    ("nr", "numrange", "numrange", &["empty", "(,)", "[1e400,1e400]", "[0,1e400]"]),
    ("im", "int4multirange", "int4multirange", &["{}", "{(,)}", "{[1,2),[5,2147483647)}"]),
    ("ip", "inet", "inet", &["0.0.0.0", "255.255.255.255", "::/0", "10.0.0.0/8"]),
    ("mood", "mood", "mood", &["sad", "happy"]),
];

/// Literals beside the values: constants that a user would write, and some that raise.
pub const LITERALS: [&str; 14] =
    ["1", "0", "-1", "2", "1.5", "100", "'a'", "'a%'", "'\\'", "'year'", "'day'", "'1 day'", "'UTC'", "null"];

/// Functions that are called: listed ones and their neighbours.
pub const FUNCTIONS: [&str; 68] = [
    "lower",
    "upper",
    "initcap",
    "btrim",
    "ltrim",
    "rtrim",
    "length",
    "char_length",
    "octet_length",
    "left",
    "right",
    "substr",
    "substring",
    "split_part",
    "strpos",
    "starts_with",
    "replace",
    "ascii",
    "reverse",
    "concat",
    "repeat",
    "lpad",
    "chr",
    "date_part",
    "extract",
    "date_trunc",
    "isfinite",
    "date",
    "cardinality",
    "array_length",
    "array_ndims",
    "array_lower",
    "array_upper",
    "array_position",
    "isempty",
    "lower_inc",
    "upper_inf",
    "range_merge",
    "abs",
    "sign",
    "trunc",
    "scale",
    "mod",
    "ceil",
    "floor",
    "round",
    "sqrt",
    "ln",
    "jsonb_typeof",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_array_length",
    "host",
    "family",
    "masklen",
    "network",
    "int4",
    "int8",
    "numeric",
    "float8",
    "text",
    "time",
    "timestamp",
    "age",
    "now",
    "to_tsvector",
    "to_char",
    "position",
];

pub const CASTS: [&str; 17] = [
    "varchar(5)",
    "int2",
    "int4",
    "int8",
    "numeric",
    "float4",
    "float8",
    "text",
    "varchar",
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "jsonb",
    "bool",
    "text[]",
    "interval",
];

/// A table of adversarial rows.
pub fn setup(schema: &str) -> String {
    let columns: Vec<String> = SAMPLES.iter().map(|(name, ty, ..)| format!("{name} {ty}")).collect();
    let mut text = format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema};
         CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE rows_ ({});",
        columns.join(", ")
    );
    let most = SAMPLES.iter().map(|s| s.3.len()).max().unwrap_or(0);
    for row in 0..=most {
        let value = |s: &Sample| match s.3.get(row % (s.3.len() + 1)) {
            Some(value) => format!("'{}'", value.replace('\'', "''")),
            None => "NULL".into(),
        };
        let values: Vec<String> = SAMPLES.iter().map(value).collect();
        text.push_str(&format!("INSERT INTO rows_ VALUES ({});", values.join(", ")));
    }
    text.push_str(
        "UPDATE rows_ SET num = (repeat('9', 131072) || '.5')::numeric, txt = repeat('ẞ', 200000) WHERE i8 IS NULL;",
    );
    text.push_str("SET statement_timeout = '10s'; SET client_min_messages = warning; SET TimeZone = 'America/New_York';");
    text
}
