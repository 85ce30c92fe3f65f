//! Planning the statements of a text that a plan table does not know.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::catalog::Oid;
use crate::plan::{Outcome, Planner, Request};

/// A statement's text and what planning it gave.
#[derive(Debug)]
pub struct Fresh {
    /// The statement's own text.
    pub text: Box<str>,
    /// The declared parameter types it was planned for.
    pub declared: Box<[Oid]>,
    /// Its shape.
    pub shape: Box<str>,
    /// Its plan or refusal.
    pub outcome: Outcome,
}

/// Planning under way.
pub type Planning = Pin<Box<dyn Future<Output = Vec<Fresh>>>>;

/// Plans statements one after the other on the planner's threads.
pub fn start(planner: Arc<Planner>, requests: Vec<Request>, declared: Vec<Oid>) -> Planning {
    Box::pin(async move {
        let mut fresh = Vec::with_capacity(requests.len());
        for request in requests {
            let (text, shape) = (request.text().into(), request.shape().into());
            let outcome = planner.plan(request).await;
            let refused = outcome.is_err();
            fresh.push(Fresh { text, declared: declared.as_slice().into(), shape, outcome });
            if refused {
                break;
            }
        }
        fresh
    })
}

impl Fresh {
    /// Whether it is of this statement with these declared types.
    pub fn is_of(&self, text: &str, declared: &[Oid]) -> bool {
        *self.text == *text && *self.declared == *declared
    }

    /// Whether the world has not changed since it was planned; a refusal is told all the same.
    pub fn is_current(&self, database: Option<&std::rc::Rc<super::shared::Database>>) -> bool {
        match (&self.outcome, database) {
            (Ok(plan), Some(database)) => plan.generation == database.planner.generation(),
            _ => true,
        }
    }
}
