//! One statement of a corpus, as it was recorded, and how it is sent.

use std::collections::HashSet;
use std::io;

use serde::Deserialize;
use serde_json::Value;

use crate::compare::{Closeness, Rows, is_ordered};
use crate::lanes::Side;
use crate::support::wire::{Answer, Connection, CopyIn, Extended};

/// A statement with how it was sent. What a corpus does not say is the protocol's default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    pub sql: String,
    pub protocol: Option<String>,
    pub params: Vec<Value>,
    pub param_oids: Vec<u32>,
    pub param_formats: Vec<i16>,
    pub result_formats: Vec<i16>,
    pub stmt: String,
    /// The statement that `stmt` names was prepared by SQL.
    pub bind_only: bool,
    pub portal: String,
    pub max_rows: i32,
    pub executes: usize,
    pub copy_data: Option<String>,
    pub copy_data_b64: Option<String>,
    pub copy_fail: Option<String>,
    pub connection: Option<u32>,
    /// The oracle refuses it, because the tenant column is left to the proxy.
    pub tenant_absent: bool,
    pub volatile: bool,
    pub plan_dependent: bool,
    /// What it orders by is the same in several rows, which may come in any order.
    pub ties: bool,
    pub oid_bound: bool,
    pub oracle_sql: Option<String>,
    pub oracle_params: Option<Vec<Value>>,
    pub oracle_error: Option<String>,
    /// Parameters whose format is binary, encoded.
    #[serde(skip)]
    pub encoded: Option<Vec<Option<Vec<u8>>>>,
}

/// A connection and the statements that are prepared on it.
#[derive(Debug)]
pub struct Client {
    pub connection: Connection,
    side: Side,
    prepared: HashSet<String>,
}

impl Client {
    pub fn open(side: &Side) -> io::Result<Self> {
        Ok(Self { connection: side.open()?, side: side.clone(), prepared: HashSet::new() })
    }

    /// Sends a step and reads its answer.
    pub fn send(&mut self, step: &Step) -> io::Result<Answer> {
        self.connection.set_copy_in(step.copy_in());
        let sql = match &step.oracle_sql {
            Some(sql) if self.side.is_rls => sql.clone(),
            _ => self.side.sql(&step.sql),
        };
        if !step.is_extended() {
            return self.connection.simple(&sql);
        }
        let params = match &step.oracle_params {
            Some(params) if self.side.is_rls => params,
            _ => &step.params,
        };
        let parse = step.stmt.is_empty() || (!step.bind_only && self.prepared.insert(step.stmt.clone()));
        self.connection.extended(&Extended {
            sql,
            statement: step.stmt.clone(),
            portal: step.portal.clone(),
            parse,
            parameter_types: step.param_oids.clone(),
            parameters: step.encoded.clone().unwrap_or_else(|| params.iter().map(text).collect()),
            parameter_formats: step.param_formats.clone(),
            result_formats: step.result_formats.clone(),
            max_rows: step.max_rows,
            executes: step.executes,
        })
    }
}

impl Client {
    /// The types of a statement's parameters.
    pub fn parameter_types(&mut self, step: &Step) -> Option<Vec<u32>> {
        let sql = step.oracle_sql.clone().unwrap_or_else(|| self.side.sql(&step.sql));
        let request = Extended { sql, parameter_types: step.param_oids.clone(), ..Extended::default() };
        self.connection.describe(&request).ok()?.parameter_types()
    }

    /// The binary format of a value that is given in the text format.
    pub fn binary(&mut self, type_oid: u32, text: Vec<u8>) -> Option<Vec<u8>> {
        let request = Extended {
            sql: "select $1".into(),
            parse: true,
            parameter_types: vec![type_oid],
            parameters: vec![Some(text)],
            result_formats: vec![1],
            ..Extended::default()
        };
        let outcomes = self.connection.extended(&request).ok()?.outcomes();
        outcomes.into_iter().next()?.rows.into_iter().next()?.into_iter().next()?
    }
}

impl Step {
    pub fn is_extended(&self) -> bool {
        self.protocol.as_deref() == Some("extended")
    }

    /// The same statement by the other protocol.
    pub fn by(&self, protocol: &str) -> Self {
        Self { protocol: Some(protocol.into()), ..self.clone() }
    }

    pub fn closeness(&self) -> Closeness {
        let lower = self.sql.to_lowercase();
        let ordered = is_ordered(&self.sql);
        // Which rows a LIMIT takes without an order, nobody says.
        let any_rows = !ordered && lower.contains("limit");
        let is_catalog = ["pg_", "information_schema"].iter().any(|name| lower.contains(name));
        // The two schemas have different search paths.
        let is_path = lower.trim() == "show search_path";
        let only_count = self.volatile || self.plan_dependent || self.oid_bound || any_rows || is_path;
        Closeness {
            ordered: ordered && !self.ties && !self.plan_dependent && !is_catalog,
            rows: match () {
                // Row-level security makes other plans.
                () if lower.trim_start().starts_with("explain") => Rows::Any,
                () if only_count => Rows::Counted,
                () if is_catalog => Rows::WithoutOids,
                () => Rows::Same,
            },
        }
    }

    /// The oracle cannot say: it refuses COPY FROM.
    pub fn is_copy_in(&self) -> bool {
        self.copy_data.is_some() || self.copy_data_b64.is_some()
    }

    /// Everything that the client sends, for telling its own words from what the server adds.
    pub fn sent(&self) -> String {
        let params = self.params.iter().map(|p| p.as_str().map_or_else(|| p.to_string(), str::to_owned));
        let copied = self.copy_data.clone().into_iter().chain(self.copy_fail.clone());
        std::iter::once(self.sql.clone()).chain(params).chain(copied).collect::<Vec<_>>().join("\n")
    }

    /// The format of a parameter, expanded as Bind's format codes are.
    pub fn param_format(&self, at: usize) -> i16 {
        match self.param_formats.as_slice() {
            [] => 0,
            [one] => *one,
            many => many.get(at).copied().unwrap_or(0),
        }
    }

    fn copy_in(&self) -> Option<CopyIn> {
        let data = match (&self.copy_data, &self.copy_data_b64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => {
                use base64::Engine as _;
                base64::prelude::BASE64_STANDARD.decode(text).expect("base64 in the corpus")
            }
            (None, None) => return None,
        };
        Some(match &self.copy_fail {
            Some(reason) => CopyIn::Fail(data, reason.clone()),
            None => CopyIn::Data(vec![data]),
        })
    }

    /// Whether it begins or ends transactions itself.
    pub fn controls_transactions(&self) -> bool {
        const WORDS: [&str; 9] = [
            "begin",
            "start",
            "commit",
            "rollback",
            "end",
            "abort",
            "savepoint",
            "release",
            "prepare transaction",
        ];
        self.sql.split(';').any(|part| {
            let part = part.trim_start().to_lowercase();
            WORDS.iter().any(|word| part.starts_with(word))
        })
    }
}

/// A parameter in the text format.
pub fn text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(items) => {
            let items = items.iter().map(|item| {
                let text = text(item).map(|t| String::from_utf8_lossy(&t).into_owned());
                text.map_or("NULL".into(), |t| {
                    format!("\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\""))
                })
            });
            Some(format!("{{{}}}", items.collect::<Vec<_>>().join(",")).into_bytes())
        }
        other => Some(other.to_string().into_bytes()),
    }
}
