//! Type names: each is resolved and written with its schema. What casts to a `reg*` type reads the catalog by
//! a value, so only literals may, and only ones that name what the role may see.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, TypeCast, TypeName, a_const};

use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};

use super::super::arguments::{identifiers, string_constant};
use super::super::build;
use super::super::catalogs::{CatalogVerdict, Catalogs};
use super::super::parse::parse_one;
use super::super::seen::{mark, place};
use super::{Binder, Facts, Scope};

const RULE: Rule = Rule("type");

/// `pg_type.dat`: types whose input looks a name up in the catalog.
const REG_TYPES: [&str; 11] = [
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// Bytes of a text that names a type of `pg_catalog`, `timestamp(3) without time zone` or so.
const MAX_TYPE_TEXT: usize = 64;

impl Binder<'_> {
    /// Resolves a type name and qualifies it. Gives the type's oid, and its array type's where bounds follow.
    pub fn type_name(&mut self, name: &mut TypeName) -> Result<Oid, Refusal> {
        let location = place(name.location);
        mark(&mut name.location);
        if name.setof || name.pct_type {
            return Err(super::unsupported("SETOF or %TYPE here", location));
        }
        let (schema, bare) = self.schema_and_name(&name.names, "a type", location)?;
        let (schema, bare) = (schema.as_deref(), bare.as_str());
        let undefined = || {
            Refusal::new(SqlState::UNDEFINED_OBJECT, RULE, format!("type \"{bare}\" does not exist"))
                .at(location)
        };
        let ty = self.catalog.find_type(schema, bare).ok_or_else(undefined)?.clone();
        if ty.kind == 'p' || ty.relation != 0 && self.composite_is_denied(ty.relation) {
            return Err(undefined());
        }
        name.names = vec![build::text(&ty.schema), build::text(&ty.name)];
        // Types that are printed by words of the grammar, which takes none behind them (typenameTypeMod, parse_type.c).
        if !name.typmods.is_empty() && WITHOUT_MODIFIERS.contains(&ty.oid) {
            let message = format!("type modifier is not allowed for type \"{}\"", ty.name);
            return Err(Refusal::new(SqlState::SYNTAX, super::FORM, message).at(location));
        }
        for modifier in &name.typmods {
            if !is_plain_modifier(modifier) {
                return Err(super::unsupported("a type modifier that is no constant", location));
            }
        }
        let array = if name.array_bounds.is_empty() { ty.oid } else { ty.array };
        Ok(array)
    }

    /// A cast: its argument, then its type.
    pub fn type_cast(
        &mut self,
        scope: &Scope<'_>,
        cast: &mut TypeCast,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let location = cast.location;
        let Some(name) = &mut cast.type_name else {
            return Err(super::unsupported("a cast without a type", location));
        };
        let target = self.type_name(name)?;
        let Some(arg) = &mut cast.arg else { return Err(super::unsupported("a cast of nothing", location)) };
        if let Some(reg) = self.reg_type(target) {
            if let Some((text, at)) = string_constant(arg) {
                self.pin(at);
                return self.reg_literal(reg, &text, at);
            }
            // A value that is looked up in the catalog comes back in the error where it is not there.
            let mut own = Facts::default();
            self.expression(scope, arg, &mut own)?;
            let tenanted = own.tenanted && !self.is_oid_valued(scope, arg);
            facts.merge(own);
            if tenanted {
                let message = format!("a cast of a tenant's value to {reg} is refused");
                return Err(Refusal::new(SqlState::DENIED, RULE, message).at(location));
            }
            return Ok(());
        }
        self.expression(scope, arg, facts)
    }

    /// Whether a value of this type names an object by text.
    pub fn reg_type(&self, oid: Oid) -> Option<&'static str> {
        let ty = self.catalog.type_by_oid(oid)?;
        let base = if ty.element != 0 { self.catalog.type_by_oid(ty.element)? } else { ty };
        let base = if base.base != 0 { self.catalog.type_by_oid(base.base)? } else { base };
        if base.schema != "pg_catalog" {
            return None;
        }
        REG_TYPES.iter().find(|name| **name == base.name).copied()
    }

    /// A literal of a `reg*` type: a number, or the name of something that the role may see.
    pub fn reg_literal(&self, reg: &str, text: &str, location: i32) -> Result<(), Refusal> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(());
        }
        let denied = |what: String| Err(Refusal::new(SqlState::UNDEFINED_TABLE, RULE, what).at(location));
        match reg {
            "regclass" => {
                let no_such = format!("relation \"{text}\" does not exist");
                let Some(path) = identifiers(text) else { return denied(no_such) };
                let (schema, name) = match path.as_slice() {
                    [name] => (None, name.as_str()),
                    [schema, name] => (Some(schema.as_str()), name.as_str()),
                    _ => return denied(no_such),
                };
                match self.catalog.find_relation(schema, name) {
                    Some(relation) if self.may_be_named(relation) => Ok(()),
                    _ => denied(no_such),
                }
            }
            "regtype" | "regconfig" | "regdictionary" | "regnamespace" | "regcollation" | "regproc"
            | "regprocedure" | "regoper" | "regoperator" => Ok(()),
            _ => {
                Err(Refusal::new(SqlState::DENIED, RULE, format!("a {reg} literal is refused")).at(location))
            }
        }
    }

    /// A type named by a text, whose input function is to be called: one of `pg_catalog`'s own base types, and none
    /// whose input looks a name up. A domain would run its conditions, an enumeration would show its labels.
    pub fn input_type(&self, text: &str, location: i32) -> Result<(), Refusal> {
        let refuse = || {
            let message = format!("the type \"{text}\" may not be named by a text");
            Err(Refusal::new(SqlState::DENIED, RULE, message).at(location))
        };
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b' ' | b'(' | b')' | b',');
        if text.len() > MAX_TYPE_TEXT || !text.bytes().all(is_plain) {
            return refuse();
        }
        let Some(name) = named_type(text) else { return refuse() };
        let Some(path) = build::names(&name.names) else { return refuse() };
        let bare = match path.as_slice() {
            [bare] | ["pg_catalog", bare] => *bare,
            _ => return refuse(),
        };
        let looks_up = REG_TYPES.contains(&bare) || bare == "aclitem" || bare.starts_with('_');
        match self.catalog.find_type(None, bare) {
            Some(ty) if ty.kind == 'b' && ty.schema == "pg_catalog" && !looks_up => Ok(()),
            _ => refuse(),
        }
    }

    /// Relations whose name a client may use as a value: those it can read, their indexes and sequences, and
    /// the system relations on the list.
    fn may_be_named(&self, relation: &crate::catalog::Relation) -> bool {
        use crate::catalog::RelationKind as Kind;
        match Catalogs::verdict(&relation.schema, &relation.name) {
            CatalogVerdict::Allowed { .. } => return true,
            CatalogVerdict::Denied => {}
        }
        match relation.kind {
            Kind::Sequence | Kind::Other => !relation.schema.starts_with("pg_"),
            Kind::View => !relation.schema.starts_with("pg_") && relation.schema != "information_schema",
            _ => !matches!(self.policy.tenancy(relation.oid), crate::policy::Tenancy::Denied),
        }
    }

    fn composite_is_denied(&self, relation: Oid) -> bool {
        self.catalog
            .relation(relation)
            .is_some_and(|r| r.kind != crate::catalog::RelationKind::Other && !self.may_be_named(r))
    }

    /// An expression that can only be a number of an object: an oid or reg* column.
    fn is_oid_valued(&self, scope: &Scope<'_>, node: &Node) -> bool {
        let oid_like = |oid: Oid| oid == 26 || oid == 20 || oid == 23 || self.reg_type(oid).is_some();
        match &node.node {
            Some(NodeEnum::ColumnRef(column)) => {
                let Some(path) = build::names(&column.fields) else { return false };
                let found = scope.resolve(&path, column.location);
                found.ok().and_then(|f| f.ty).is_some_and(|ty| oid_like(ty.oid))
            }
            Some(NodeEnum::TypeCast(cast)) => {
                let name = cast.type_name.as_ref().and_then(|t| build::names(&t.names));
                matches!(
                    name.as_deref(),
                    Some(["oid" | "regclass" | "regtype"] | ["pg_catalog", "oid" | "regclass" | "regtype"])
                )
            }
            Some(NodeEnum::AConst(constant)) => matches!(constant.val, Some(a_const::Val::Ival(_))),
            _ => false,
        }
    }
}

/// What a text names where nothing but a type may stand.
fn named_type(text: &str) -> Option<TypeName> {
    let Some(NodeEnum::SelectStmt(mut select)) = parse_one(&format!("SELECT NULL::{text}")).ok()?.node else {
        return None;
    };
    let Some(NodeEnum::ResTarget(target)) = select.target_list.pop()?.node else { return None };
    let Some(NodeEnum::TypeCast(cast)) = target.val?.node else { return None };
    let alone = select.target_list.is_empty() && target.name.is_empty() && select.from_clause.is_empty();
    let of_null = matches!(cast.arg.as_ref()?.node, Some(NodeEnum::AConst(_)));
    cast.type_name.filter(|name| alone && of_null && !name.setof && name.array_bounds.is_empty())
}

/// bool, int8, int2, int4, float4, float8.
const WITHOUT_MODIFIERS: [u32; 6] = [16, 20, 21, 23, 700, 701];

fn is_plain_modifier(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::ColumnRef(column)) => column.fields.len() == 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::named_type;

    #[test]
    fn a_text_names_a_type_only_alone() {
        for text in ["int", "numeric(4,2)", "timestamp(3) without time zone", "character varying (3)"] {
            assert!(named_type(text).is_some(), "{text}");
        }
        for text in
            ["", "int, 1", "int) , (x", "int from documents", "int or true", "setof int", "int x", "1"]
        {
            assert!(named_type(text).is_none(), "{text}");
        }
    }
}
