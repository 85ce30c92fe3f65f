//! What the server makes of the settings that sessions begin with.

use std::collections::HashMap;

use crate::session::outgoing::SettingText;
use crate::session::reports::Report;

/// Settings that are known at most: their values are the clients'.
const MOST_KNOWN: usize = 1024;

/// Reports by the SET that brings them about; nothing for a setting that the server does not report.
#[derive(Debug, Default)]
pub struct Reported(HashMap<SettingText, Option<Report>>);

impl Reported {
    /// What is known of a setting.
    pub fn find(&self, setting: &SettingText) -> Option<Option<Report>> {
        self.0.get(setting).cloned()
    }

    /// A server has told.
    pub fn keep(&mut self, setting: &SettingText, report: Option<Report>) {
        if self.0.len() >= MOST_KNOWN {
            self.0.clear();
        }
        self.0.insert(setting.clone(), report);
    }
}
