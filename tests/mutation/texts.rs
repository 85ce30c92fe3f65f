//! Mutants of what sqlparser cannot read (JSON_TABLE, RETURNING WITH): changes of the text, at each place where the
//! words stand. Quoted parts hold none of these words.

/// Words, and what stands for them in a mutant.
const CHANGES: &[(&str, &str, &str)] = &[
    ("drop a predicate", "OPERATOR(pg_catalog.=) $9::int", "IS NOT NULL"),
    ("= becomes <>", "OPERATOR(pg_catalog.=)", "OPERATOR(pg_catalog.<>)"),
    ("= without its schema", "OPERATOR(pg_catalog.=)", "="),
    ("another parameter", "$9::int", "$1::int"),
    ("a constant for the tenant", "$9::int", "2"),
    ("the tenant without its type", "$9::int", "$9"),
    ("a relation without its schema", " app.", " "),
    ("a relation of another schema", " app.", " public."),
    ("a function of another schema", "pg_catalog.", "app."),
    ("a guard lets through", "ELSE false END", "ELSE true END"),
    ("AND becomes OR", " AND ", " OR "),
    ("a fence is dropped", " OFFSET 0", ""),
    ("old becomes new", " old", " new"),
    ("new becomes old", " new", " old"),
    ("the old row goes by the new one's name", "OLD AS", "NEW AS"),
    ("another path of JSON", " PATH '", " PATH '$."),
    ("a nested path less", "NESTED PATH", "PATH"),
    ("errors of JSON pass", "ERROR ON ERROR", "NULL ON ERROR"),
    ("nothing is returned", " RETURNING ", " -- "),
];

/// Every mutant of a text: its kind, and what it reads.
pub fn of(sql: &str) -> Vec<(&'static str, String)> {
    let mut mutants = Vec::new();
    for (kind, words, change) in CHANGES {
        for (at, _) in sql.match_indices(words) {
            mutants.push((*kind, format!("{}{change}{}", &sql[..at], &sql[at + words.len()..])));
        }
    }
    mutants
}
