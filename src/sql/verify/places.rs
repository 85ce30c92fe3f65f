//! A tree without its places in the text: what the places were, and the tree with none, so that two trees are
//! compared by the equality that is derived for every node of the grammar.
//!
//! **Why it is total.** The comparison is the derived `PartialEq`: a field or a node kind that a later grammar adds is
//! compared without a line of this file. Only the fields named in [`is_place`] are set to 0, by name and only where
//! they are numbers; a place that is forgotten here makes two equal trees different, never two different ones equal. A
//! tree with a node that is not in the table of [`super::super::walk`] is compared by [`super::canonical`], which needs
//! no table and costs three times as much.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, AConst, AExpr, FuncCall, Node, ParamRef, RangeVar, TypeName};

use super::super::template::TENANT_PARAMETER;
use super::super::walk::table;

/// What was taken out of a tree.
#[derive(Default)]
pub(super) struct Places {
    /// Every `$n`, in the tree's order.
    pub(super) parameters: Vec<Parameter>,
    /// Location of every constant.
    pub(super) constants: Vec<i32>,
    /// There is a node that the table does not have: below it nothing was taken.
    pub(super) unknown: bool,
    /// The number that becomes [`TENANT_PARAMETER`].
    pub(super) tenant: Option<i32>,
}

/// A parameter of a tree.
pub(super) struct Parameter {
    pub(super) number: i32,
    pub(super) location: i32,
}

impl Places {
    /// Takes the places out of a tree that was decided on.
    pub(super) fn of_decided(tree: &mut Node) -> Self {
        let mut places = Self::default();
        tree.unplace(&mut places);
        places
    }

    /// Takes the places out of a tree that was read, and puts the tenant's mark in the place of its parameter.
    pub(super) fn of_read(tree: &mut Node, tenant: i32) -> Self {
        let mut places = Self { tenant: Some(tenant), ..Self::default() };
        tree.unplace(&mut places);
        places
    }

    /// Whether there is a parameter of a number.
    pub(super) fn names(&self, number: i32) -> bool {
        self.parameters.iter().any(|parameter| parameter.number == number)
    }
}

/// Fields that say where in the text a node was read. Every other field is compared.
pub(super) const fn is_place(field: &str) -> bool {
    matches!(
        field.as_bytes(),
        b"location"
            | b"stmt_location"
            | b"stmt_len"
            | b"list_start"
            | b"list_end"
            | b"rexpr_list_start"
            | b"rexpr_list_end"
            | b"name_location"
            | b"arg_location"
            | b"payload_location"
            | b"conninfo_location"
    )
}

trait Unplace {
    fn unplace(&mut self, places: &mut Places);
}

impl<T: Unplace> Unplace for Option<T> {
    fn unplace(&mut self, places: &mut Places) {
        if let Some(inner) = self {
            inner.unplace(places);
        }
    }
}

impl<T: Unplace> Unplace for Box<T> {
    fn unplace(&mut self, places: &mut Places) {
        (**self).unplace(places);
    }
}

impl<T: Unplace> Unplace for Vec<T> {
    fn unplace(&mut self, places: &mut Places) {
        for inner in self {
            inner.unplace(places);
        }
    }
}

impl Unplace for AConst {
    fn unplace(&mut self, places: &mut Places) {
        places.constants.push(std::mem::take(&mut self.location));
    }
}

impl Unplace for ParamRef {
    fn unplace(&mut self, places: &mut Places) {
        let location = std::mem::take(&mut self.location);
        places.parameters.push(Parameter { number: self.number, location });
        if places.tenant == Some(self.number) {
            self.number = TENANT_PARAMETER;
        }
    }
}

impl Unplace for TypeName {
    fn unplace(&mut self, places: &mut Places) {
        self.location = 0;
        self.typmods.unplace(places);
    }
}

impl Unplace for RangeVar {
    fn unplace(&mut self, places: &mut Places) {
        self.location = 0;
        self.alias.unplace(places);
    }
}

impl Unplace for protobuf::MultiAssignRef {
    fn unplace(&mut self, places: &mut Places) {
        self.source.unplace(places);
    }
}

impl Unplace for FuncCall {
    fn unplace(&mut self, places: &mut Places) {
        self.location = 0;
        self.funcname.unplace(places);
        self.args.unplace(places);
        self.agg_order.unplace(places);
        self.agg_filter.unplace(places);
        self.over.unplace(places);
    }
}

impl Unplace for AExpr {
    fn unplace(&mut self, places: &mut Places) {
        self.location = 0;
        self.rexpr_list_start = 0;
        self.rexpr_list_end = 0;
        self.name.unplace(places);
        self.lexpr.unplace(places);
        self.rexpr.unplace(places);
    }
}

/// A field that holds no node.
trait Leaf {
    /// Sets a number to 0.
    fn forget(&mut self) {}
}

impl Leaf for i32 {
    fn forget(&mut self) {
        *self = 0;
    }
}
impl Leaf for u32 {}
impl Leaf for u64 {}
impl Leaf for bool {}
impl Leaf for String {}
// What only an analysed tree holds.
impl<T> Leaf for Option<Box<T>> {}

macro_rules! unplace {
    ({ $($kind:ident { $($child:ident)* ; $($leaf:ident)* })* }
     { $($variant:ident => $name:ident { $($inner:ident)* ; $($flat:ident)* })* }) => {
        $(impl Unplace for protobuf::$kind {
            fn unplace(&mut self, places: &mut Places) {
                $(self.$child.unplace(places);)*
                $(if const { is_place(stringify!($leaf)) } {
                    Leaf::forget(&mut self.$leaf);
                })*
                let _ = places;
            }
        })*
        $(impl Unplace for protobuf::$name {
            fn unplace(&mut self, places: &mut Places) {
                $(self.$inner.unplace(places);)*
                $(if const { is_place(stringify!($flat)) } {
                    Leaf::forget(&mut self.$flat);
                })*
                let _ = places;
            }
        })*
        impl Unplace for Node {
            fn unplace(&mut self, places: &mut Places) {
                match &mut self.node {
                    None => {}
                    Some(NodeEnum::AConst(node)) => node.unplace(places),
                    Some(NodeEnum::ParamRef(node)) => node.unplace(places),
                    Some(NodeEnum::TypeName(node)) => node.unplace(places),
                    Some(NodeEnum::RangeVar(node)) => node.unplace(places),
                    Some(NodeEnum::MultiAssignRef(node)) => node.unplace(places),
                    Some(NodeEnum::FuncCall(node)) => node.unplace(places),
                    Some(NodeEnum::AExpr(node)) => node.unplace(places),
                    $(Some(NodeEnum::$kind(node)) => node.unplace(places),)*
                    $(Some(NodeEnum::$variant(node)) => node.unplace(places),)*
                    Some(_) => places.unknown = true,
                }
            }
        }
    };
}

table!(unplace);
