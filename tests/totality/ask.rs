//! What only these tests ask of a server.

use pgbulkhead::catalog::{Snapshot, load};

use crate::server::{POSTGRES, Server, log_in};

impl Server {
    /// The catalog of a database as it is now.
    pub fn read(database: &str, search_path: &[&str]) -> Snapshot {
        let postgres = POSTGRES.get().expect("a server was started");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let search_path: Vec<_> = search_path.iter().map(|s| (*s).to_owned()).collect();
        runtime.block_on(async {
            let reader = log_in(postgres, database).await;
            load::load(&reader, &search_path, 1).await.unwrap()
        })
    }

    /// The rows of a query as text, or what the server says when it refuses.
    pub fn answer(&self, sql: &str) -> Result<Vec<String>, String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).map_err(|e| {
            e.as_db_error().map_or(e.to_string(), |e| format!("{} {}", e.code().code(), e.message()))
        })?;
        let row = |m: tokio_postgres::SimpleQueryMessage| match m {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
                Some(values.join("|"))
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}
