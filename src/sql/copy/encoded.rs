//! The tenant's value as a field of a row.

use super::{Form, Format, Load, Place, csv, tenant, text};
use crate::policy::{Refusal, Rule, SqlState, TenantId};

/// The tenant's value in the form of the rows.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// Its text, as it is known.
    pub known: String,
    /// The field: escaped or quoted text, or the binary value without its length.
    pub field: Vec<u8>,
    /// What goes before a row that leaves the tenant out: the field with its delimiter or its length.
    pub before: Vec<u8>,
    /// The same for a header line: the column's name.
    pub header: Vec<u8>,
}

impl Encoded {
    /// 0A000 where the format cannot tell the tenant's value from NULL or DEFAULT, and for types whose binary form
    /// is not known; 42501 without a tenant.
    pub fn new(load: &Load, tenant: Option<&TenantId>) -> Result<Self, Refusal> {
        // The statement itself has the tenant as a parameter.
        if load.inserts.is_some() {
            return Ok(Self::default());
        }
        let (column, type_oid) = match &load.place {
            Place::Nowhere => return Ok(Self::default()),
            Place::Added { column, type_oid } => (column.as_str(), *type_oid),
            Place::Given { index, type_oid } => {
                (load.columns.get(*index).map(String::as_str).unwrap_or_default(), *type_oid)
            }
        };
        let Some(tenant) = tenant else {
            return Err(Refusal::new(SqlState::DENIED, Rule("tenant"), "no tenant is bound"));
        };
        let known = tenant.as_str().to_owned();
        if load.form.format == Format::Binary {
            let Some(field) = tenant::to_binary(type_oid, &known) else {
                return Err(unclear("binary COPY with a tenant column of this type is not supported"));
            };
            let length = i32::try_from(field.len()).unwrap_or(i32::MAX);
            let before = [&length.to_be_bytes(), field.as_slice()].concat();
            return Ok(Self { known, field, before, header: Vec::new() });
        }
        let field = field(&load.form, column, known.as_bytes())?;
        let before = [field.as_slice(), &[load.form.delimiter]].concat();
        let mut header = Vec::new();
        match load.form.format {
            Format::Csv => csv::quote(&mut header, column.as_bytes(), &load.form),
            Format::Text | Format::Binary => {
                text::escape(&mut header, column.as_bytes(), load.form.delimiter)
            }
        }
        if *header == *load.form.null {
            return Err(unclear("the NULL marker is the name of the tenant column"));
        }
        header.push(load.form.delimiter);
        Ok(Self { known, field, before, header })
    }
}

fn field(form: &Form, column: &str, value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut field = Vec::new();
    let is_marker = |field: &[u8]| *field == *form.null || form.default.as_deref() == Some(field);
    if form.format == Format::Text {
        text::escape(&mut field, value, form.delimiter);
        if is_marker(&field) {
            return Err(unclear("the NULL or DEFAULT marker is the tenant's own value"));
        }
        return Ok(field);
    }
    let special = |b: &u8| *b == form.delimiter || *b == form.quote || *b == form.escape;
    if value.iter().any(special) || is_marker(value) {
        if form.force_null.has(column) && *value == *form.null {
            return Err(unclear("FORCE_NULL makes the tenant's own value NULL"));
        }
        csv::quote(&mut field, value, form);
    } else {
        field.extend_from_slice(value);
    }
    Ok(field)
}

fn unclear(message: &str) -> Refusal {
    Refusal::new(SqlState::NOT_SUPPORTED, Rule("copy"), message)
}
