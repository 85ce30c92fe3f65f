//! Which names are CTEs, and where: PostgreSQL's own rule (parse_cte.c). A CTE of WITH is seen by the CTEs that
//! follow it and by the statement; WITH RECURSIVE shows all of them to each other; an inner WITH hides an outer
//! one. A name with a schema is never a CTE, and neither is the target of a data-modifying statement.

/// The CTEs that one WITH brings into scope, and those around it.
pub(super) struct Scope<'outer> {
    names: Vec<String>,
    outer: Option<&'outer Scope<'outer>>,
}

impl<'outer> Scope<'outer> {
    /// No CTE.
    pub(super) fn outermost() -> Self {
        Self { names: Vec::new(), outer: None }
    }

    /// A scope within this one.
    pub(super) fn within(outer: &'outer Scope<'outer>) -> Self {
        Self { names: Vec::new(), outer: Some(outer) }
    }

    /// A CTE comes into scope.
    pub(super) fn bring(&mut self, name: String) {
        self.names.push(name);
    }

    /// Whether a bare name is a CTE here.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name) || self.outer.is_some_and(|outer| outer.holds(name))
    }
}
