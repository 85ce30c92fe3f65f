//! A walk over PostgreSQL's raw parse trees that is total over the nodes it lists: a node kind that is not in
//! the table is reported as unknown, and a field that is in neither of a kind's two lists does not compile.
//!
//! Children first, then a semicolon, then the fields that hold no node. Kinds that only analysed trees have
//! are left out; so are the utility statements that are never rewritten.

use pg_query::protobuf::{self, AConst, AExpr, FuncCall, Node, RangeVar, TypeName, node::Node as NodeEnum};

/// What a walk shows.
pub trait Visitor {
    /// A constant.
    fn constant(&mut self, constant: &mut AConst);
    /// The node of a constant, for who puts another in its place.
    fn constant_node(&mut self, node: &mut Node) {
        if let Some(NodeEnum::AConst(constant)) = &mut node.node {
            self.constant(constant);
        }
    }
    /// A parameter.
    fn parameter(&mut self, parameter: &mut Node) {
        let _ = parameter;
    }
    /// A type's name. Its modifiers are not walked into.
    fn type_name(&mut self, type_name: &mut TypeName) {
        let _ = type_name;
    }
    /// A call, before what it holds.
    fn call(&mut self, call: &mut FuncCall) {
        let _ = call;
    }
    /// An operator, before its operands.
    fn operation(&mut self, operation: &mut AExpr) {
        let _ = operation;
    }
    /// A relation's name.
    fn relation(&mut self, relation: &mut RangeVar) {
        let _ = relation;
    }
    /// A node of a kind that is not in the table. Nothing below it is shown.
    fn unknown(&mut self);
}

/// Shows every constant, parameter, type name and relation of a tree, in no order that means anything.
pub fn walk(node: &mut Node, visitor: &mut impl Visitor) {
    node.children(visitor);
}

trait Children {
    fn children(&mut self, visitor: &mut impl Visitor);
}

impl<T: Children> Children for Option<T> {
    fn children(&mut self, visitor: &mut impl Visitor) {
        if let Some(inner) = self {
            inner.children(visitor);
        }
    }
}

impl<T: Children> Children for Box<T> {
    fn children(&mut self, visitor: &mut impl Visitor) {
        (**self).children(visitor);
    }
}

impl<T: Children> Children for Vec<T> {
    fn children(&mut self, visitor: &mut impl Visitor) {
        for inner in self {
            inner.children(visitor);
        }
    }
}

impl Children for TypeName {
    fn children(&mut self, visitor: &mut impl Visitor) {
        visitor.type_name(self);
    }
}

impl Children for RangeVar {
    fn children(&mut self, visitor: &mut impl Visitor) {
        visitor.relation(self);
        self.alias.children(visitor);
    }
}

/// Each column of a row assignment holds a copy of the same source, of which one is printed: the first stands
/// for all.
impl Children for protobuf::MultiAssignRef {
    fn children(&mut self, visitor: &mut impl Visitor) {
        let Self { source, colno, ncolumns: _ } = self;
        if *colno <= 1 {
            source.children(visitor);
        }
    }
}

impl Children for FuncCall {
    fn children(&mut self, visitor: &mut impl Visitor) {
        visitor.call(self);
        let Self {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location: _,
        } = self;
        funcname.children(visitor);
        args.children(visitor);
        agg_order.children(visitor);
        agg_filter.children(visitor);
        over.children(visitor);
    }
}

impl Children for AExpr {
    fn children(&mut self, visitor: &mut impl Visitor) {
        visitor.operation(self);
        let Self { name, lexpr, rexpr, kind: _, rexpr_list_start: _, rexpr_list_end: _, location: _ } = self;
        name.children(visitor);
        lexpr.children(visitor);
        rexpr.children(visitor);
    }
}

macro_rules! nodes {
    ({ $($kind:ident { $($child:ident)* ; $($leaf:ident)* })* }
     { $($variant:ident => $name:ident { $($inner:ident)* ; $($flat:ident)* })* }) => {
        $(impl Children for protobuf::$kind {
            fn children(&mut self, visitor: &mut impl Visitor) {
                let Self { $($child,)* $($leaf: _,)* } = self;
                $($child.children(visitor);)*
                let _ = visitor;
            }
        })*
        $(impl Children for protobuf::$name {
            fn children(&mut self, visitor: &mut impl Visitor) {
                let Self { $($inner,)* $($flat: _,)* } = self;
                $($inner.children(visitor);)*
                let _ = visitor;
            }
        })*
        impl Children for Node {
            fn children(&mut self, visitor: &mut impl Visitor) {
                match &mut self.node {
                    None => {}
                    Some(NodeEnum::AConst(_)) => visitor.constant_node(self),
                    Some(NodeEnum::ParamRef(_)) => visitor.parameter(self),
                    Some(NodeEnum::TypeName(name)) => visitor.type_name(name),
                    Some(NodeEnum::RangeVar(relation)) => relation.children(visitor),
                    Some(NodeEnum::MultiAssignRef(row)) => row.children(visitor),
                    Some(NodeEnum::FuncCall(call)) => call.children(visitor),
                    Some(NodeEnum::AExpr(operation)) => operation.children(visitor),
                    $(Some(NodeEnum::$kind(node)) => node.children(visitor),)*
                    $(Some(NodeEnum::$variant(node)) => node.children(visitor),)*
                    Some(_) => visitor.unknown(),
                }
            }
        }
    };
}

/// The node kinds with their fields, for a macro that makes something of each.
macro_rules! table {
    ($made:ident) => {
        $made! {
{
    Alias { colnames ; aliasname }
    GroupingFunc { xpr args refs ; agglevelsup location }
    SubLink { xpr testexpr oper_name subselect ; sub_link_type sub_link_id location }
    CaseExpr { xpr arg args defresult ; casetype casecollid location }
    CaseWhen { xpr expr result ; location }
    RowExpr { xpr args colnames ; row_typeid row_format location }
    CoalesceExpr { xpr args ; coalescetype coalescecollid location }
    MinMaxExpr { xpr args ; minmaxtype minmaxcollid inputcollid op location }
    XmlExpr { xpr named_args arg_names args ; op name xmloption indent r#type typmod location }
    JsonReturning { format ; typid typmod }
    JsonValueExpr { raw_expr formatted_expr format ; }
    JsonParseExpr { expr output ; unique_keys location }
    JsonScalarExpr { expr output ; location }
    JsonSerializeExpr { expr output ; location }
    JsonConstructorExpr { xpr args func coercion returning ; r#type absent_on_null unique location }
    JsonIsPredicate { expr format ; item_type unique_keys location }
    JsonArgument { val ; name }
    JsonFuncExpr { context_item pathspec passing output on_empty on_error ; op column_name wrapper quotes location }
    JsonBehavior { expr ; btype coerce location }
    JsonTable { context_item pathspec passing columns on_error alias ; lateral location }
    JsonTableColumn { type_name pathspec format columns on_empty on_error ; coltype name wrapper quotes location }
    JsonTablePathSpec { string ; name name_location location }
    NullTest { xpr arg ; nulltesttype argisrow location }
    BooleanTest { xpr arg ; booltesttype location }
    JoinExpr { larg rarg using_clause join_using_alias quals alias ; jointype is_natural rtindex }
    IntoClause { rel col_names options ; access_method on_commit table_space_name view_query skip_data }
    List { items ; }
    InsertStmt { relation cols select_stmt on_conflict_clause returning_clause with_clause ; r#override }
    DeleteStmt { relation using_clause where_clause returning_clause with_clause ; }
    UpdateStmt { relation target_list where_clause from_clause returning_clause with_clause ; }
    MergeStmt { relation source_relation join_condition merge_when_clauses returning_clause with_clause ; }
    MergeWhenClause { condition target_list values ; match_kind command_type r#override }
    ReturningClause { options exprs ; }
    ReturningOption { ; option value location }
    SelectStmt { distinct_clause into_clause target_list from_clause where_clause group_clause having_clause window_clause values_lists sort_clause limit_offset limit_count locking_clause with_clause larg rarg ; group_distinct limit_option op all }
    BoolExpr { xpr args ; boolop location }
    ColumnRef { fields ; location }
    NamedArgExpr { xpr arg ; name argnumber location }
    AIndices { lidx uidx ; is_slice }
    AIndirection { arg indirection ; }
    AArrayExpr { elements ; list_start list_end location }
    ResTarget { indirection val ; name location }
    TypeCast { arg type_name ; location }
    CollateClause { arg collname ; location }
    SortBy { node use_op ; sortby_dir sortby_nulls location }
    WindowDef { partition_clause order_clause start_offset end_offset ; name refname frame_options location }
    RangeSubselect { subquery alias ; lateral }
    RangeFunction { functions alias coldeflist ; lateral ordinality is_rowsfrom }
    RangeTableSample { relation method args repeatable ; location }
    RangeTableFunc { docexpr rowexpr namespaces columns alias ; lateral location }
    RangeTableFuncCol { type_name colexpr coldefexpr ; colname for_ordinality is_not_null location }
    ColumnDef { type_name raw_default cooked_default identity_sequence coll_clause constraints fdwoptions ; colname compression inhcount is_local is_not_null is_from_type storage storage_name identity generated coll_oid location }
    IndexElem { expr collation opclass opclassopts ; name indexcolname ordering nulls_ordering }
    GroupingSet { content ; kind location }
    LockingClause { locked_rels ; strength wait_policy }
    XmlSerialize { expr type_name ; xmloption indent location }
    WithClause { ctes ; recursive location }
    InferClause { index_elems where_clause ; conname location }
    OnConflictClause { infer target_list where_clause ; action location }
    CommonTableExpr { aliascolnames ctequery search_clause cycle_clause ctecolnames ctecoltypes ctecoltypmods ctecolcollations ; ctename ctematerialized location cterecursive cterefcount }
    JsonOutput { type_name returning ; }
    JsonKeyValue { key value ; }
    JsonObjectConstructor { exprs output ; absent_on_null unique location }
    JsonArrayConstructor { exprs output ; absent_on_null location }
    JsonArrayQueryConstructor { query output format ; absent_on_null location }
    JsonAggConstructor { output agg_filter agg_order over ; location }
    JsonObjectAgg { constructor arg ; absent_on_null unique }
    JsonArrayAgg { constructor arg ; absent_on_null }
    CopyStmt { relation query attlist options where_clause ; is_from is_program filename }
    ExplainStmt { query options ; }
    DeclareCursorStmt { query ; portalname options }
    PrepareStmt { argtypes query ; name }
    ExecuteStmt { params ; name }
    DefElem { arg ; defnamespace defname defaction location arg_location }
    JsonFormat { ; format_type encoding location }
    SetToDefault { xpr ; type_id type_mod collation location }
    CurrentOfExpr { xpr ; cvarno cursor_name cursor_param }
    AStar { ; }
    MergeSupportFunc { xpr ; msftype msfcollid location }
    VariableSetStmt { args ; kind name is_local jumble_args location }
}
{
    CtesearchClause => CteSearchClause { search_col_list ; search_breadth_first search_seq_column location }
    CtecycleClause => CteCycleClause { cycle_col_list cycle_mark_value cycle_mark_default ; cycle_mark_column cycle_path_column location cycle_mark_type cycle_mark_typmod cycle_mark_collation cycle_mark_neop }
    SqlvalueFunction => SqlValueFunction { xpr ; op r#type typmod location }
    Integer => Integer { ; ival }
    Float => Float { ; fval }
    Boolean => Boolean { ; boolval }
    String => String { ; sval }
    BitString => BitString { ; bsval }
}
        }
    };
}
pub(in crate::sql) use table;

table!(nodes);
