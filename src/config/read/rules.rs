//! `[[tables]]`, `[[functions]]`, `[[sequences]]` and `[[roles]]`: what is known of objects, and what roles
//! may do with them.

use std::collections::HashSet;

use crate::config::model::{
    FunctionKind, FunctionRule, ParentLink, QualifiedName, Role, RoleRule, SequenceAccess, SequenceRule,
    Table, TableKind,
};

use super::general::NULLS;
use super::section::Section;
use super::values::{boolean, filled, identifier, list, one_of, operation, pairs, qualified, text};

/// Reads every `[[tables]]`.
pub(super) fn tables(root: &mut Section<'_>) -> Vec<Table> {
    let mut seen = HashSet::new();
    let tables = root.sections("tables").into_iter().filter_map(|mut section| {
        let name = object(&mut section, &mut seen);
        let kind = section.required("kind", one_of(&KINDS));
        let access = section.optional("access", list(operation));
        // A kind that is wrong or missing was told; its keys cannot be judged.
        let kind = table_kind(&mut section, kind?);
        section.finish();
        Some(Table { name: name?, kind: kind?, access })
    });
    tables.collect()
}

fn table_kind(section: &mut Section<'_>, kind: Kind) -> Option<TableKind> {
    match kind {
        Kind::Tenant => Some(TableKind::Tenant {
            column: section.optional("column", identifier),
            nulls: section.optional("nulls", one_of(&NULLS)),
        }),
        Kind::Child => Some(TableKind::Child { parents: parents(section)? }),
        Kind::Shared => Some(TableKind::Shared),
        Kind::Denied => Some(TableKind::Denied),
    }
}

/// `parent` with `on`, or `any`, a list of such pairs.
fn parents(section: &mut Section<'_>) -> Option<Vec<ParentLink>> {
    if !section.has("any") {
        return Some(vec![parent(section)?]);
    }
    for key in ["parent", "on"] {
        if section.has(key) {
            section.complain_here(format!("{}: `any` stands in the place of `{key}`", section.title()), None);
        }
    }
    let links = section.sections("any").into_iter().map(|mut link| {
        let parent = parent(&mut link);
        link.finish();
        parent
    });
    let links = links.collect::<Option<Vec<_>>>()?;
    if links.is_empty() {
        section.complain_here(format!("{}: `any` is empty", section.title()), None);
        return None;
    }
    Some(links)
}

fn parent(section: &mut Section<'_>) -> Option<ParentLink> {
    let parent = section.required("parent", qualified);
    let on = section.required("on", pairs);
    Some(ParentLink { parent: parent?, on: on? })
}

/// Reads every `[[functions]]`.
pub(super) fn functions(root: &mut Section<'_>) -> Vec<FunctionRule> {
    let mut seen = HashSet::new();
    let functions = root.sections("functions").into_iter().filter_map(|mut section| {
        let name = object(&mut section, &mut seen);
        let kind = section.required("kind", one_of(&[("pure", FunctionKind::Pure)]));
        section.finish();
        Some(FunctionRule { name: name?, kind: kind? })
    });
    functions.collect()
}

/// Reads every `[[sequences]]`.
pub(super) fn sequences(root: &mut Section<'_>) -> Vec<SequenceRule> {
    let mut seen = HashSet::new();
    let sequences = root.sections("sequences").into_iter().filter_map(|mut section| {
        let name = object(&mut section, &mut seen);
        let access = section.required("access", filled(one_of(&SEQUENCE_ACCESS)));
        section.finish();
        Some(SequenceRule { name: name?, access: access? })
    });
    sequences.collect()
}

/// Reads every `[[roles]]` with its `[[roles.rules]]`.
pub(super) fn roles(root: &mut Section<'_>) -> Vec<Role> {
    let mut seen = HashSet::new();
    let roles = root.sections("roles").into_iter().filter_map(|mut section| {
        let name = section.required("name", text);
        if let Some(name) = &name {
            section.name_it(name);
            once(&section, &mut seen, name.clone());
        }
        let read_only = section.or("read_only", false, boolean);
        let default_allow = section.or("default_allow", true, boolean);
        let mut ruled = HashSet::new();
        let rules = section.sections("rules").into_iter().filter_map(|rule| role_rule(rule, &mut ruled));
        let rules = rules.collect();
        section.finish();
        Some(Role { name: name?, read_only, default_allow, rules })
    });
    roles.collect()
}

fn role_rule(mut section: Section<'_>, ruled: &mut HashSet<QualifiedName>) -> Option<RoleRule> {
    let table = section.required("table", qualified);
    if let Some(table) = &table {
        section.name_it(&table.to_string());
        once(&section, ruled, table.clone());
    }
    let allow = section.required("allow", list(operation));
    let denied_columns = section.or("denied_columns", Vec::new(), list(identifier));
    section.finish();
    Some(RoleRule { table: table?, allow: allow?, denied_columns })
}

/// The `name` of an object, which names its section too.
fn object(section: &mut Section<'_>, seen: &mut HashSet<QualifiedName>) -> Option<QualifiedName> {
    let name = section.required("name", qualified)?;
    section.name_it(&name.to_string());
    once(section, seen, name.clone());
    Some(name)
}

fn once<T: Eq + std::hash::Hash>(section: &Section<'_>, seen: &mut HashSet<T>, name: T) {
    if !seen.insert(name) {
        section.complain_here(format!("a second {}", section.title()), None);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Tenant,
    Child,
    Shared,
    Denied,
}

const KINDS: [(&str, Kind); 4] =
    [("tenant", Kind::Tenant), ("child", Kind::Child), ("shared", Kind::Shared), ("denied", Kind::Denied)];
const SEQUENCE_ACCESS: [(&str, SequenceAccess); 2] =
    [("nextval", SequenceAccess::Nextval), ("currval", SequenceAccess::Currval)];
