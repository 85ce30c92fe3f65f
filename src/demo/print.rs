//! How the tour looks: numbered headings, statements, results, refusals. Colour only in a terminal.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::DbError;

const HEADING: Style = Style::new().bold();
const STATEMENT: Style = AnsiColor::Cyan.on_default();
const QUIET: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
/// Statements are broken before this column.
const WIDTH: usize = 100;
const INDENT: &str = "   ";

/// A step of the tour.
pub(super) fn heading(number: usize, text: &str) {
    anstream::println!("\n{HEADING}{number}  {text}{HEADING:#}");
}

/// Who says what. A long statement goes on below its beginning.
pub(super) fn statement(who: &str, sql: &str) {
    let margin = INDENT.len().saturating_add(who.len()).saturating_add(2);
    anstream::print!("{INDENT}{QUIET}{who}:{QUIET:#}");
    let mut at = margin;
    for word in sql.split(' ') {
        let width = word.chars().count().saturating_add(1);
        if at.saturating_add(width) > WIDTH {
            anstream::print!("\n{:1$}", "", margin.saturating_sub(1));
            at = margin;
        }
        anstream::print!(" {STATEMENT}{word}{STATEMENT:#}");
        at = at.saturating_add(width);
    }
    anstream::println!();
}

/// A remark.
pub(super) fn note(text: &str) {
    anstream::println!("{INDENT}{QUIET}{text}{QUIET:#}");
}

/// What went as it should.
pub(super) fn good(text: &str) {
    anstream::println!("{INDENT}{GOOD}{text}{GOOD:#}");
}

/// What nobody wants.
pub(super) fn bad(text: &str) {
    anstream::println!("{INDENT}{BAD}{text}{BAD:#}");
}

/// The error that a client sees.
pub(super) fn refusal(error: &DbError) {
    let (code, message) = (error.code().code(), error.message());
    anstream::println!("{INDENT}{BAD}{} {code}:{BAD:#} {message}", error.severity());
    for (name, text) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        if let Some(text) = text {
            anstream::println!("{INDENT}{QUIET}{name}: {text}{QUIET:#}");
        }
    }
}

/// Names and values, aligned.
pub(super) fn pairs<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) {
    let mut table = bare();
    for (name, value) in pairs {
        table.add_row([name.as_ref(), value.as_ref()]);
    }
    indented(&mut table);
}

/// The rows of an answer under their columns' names.
pub(super) fn rows(answer: &[SimpleQueryMessage]) {
    let mut table = bare();
    let mut count = 0_usize;
    for message in answer {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.set_header(columns.iter().map(|column| column.name().to_owned()));
            }
            SimpleQueryMessage::Row(row) => {
                count = count.saturating_add(1);
                table.add_row((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()));
            }
            _ => {}
        }
    }
    for at in 0..table.column_count() {
        let mut cells = table.column_cells_iter(at).flatten();
        let is_numeric = count > 0 && cells.all(|cell| cell.content().parse::<f64>().is_ok());
        if let Some(column) = table.column_mut(at).filter(|_| is_numeric) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    indented(&mut table);
    if count == 0 {
        note("(no rows)");
    }
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn indented(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.to_string().lines() {
        anstream::println!("{INDENT}{}", line.trim_end());
    }
}
