//! Settings by their names, in the order of the names. A session has one or two, which are compared for each lease: a
//! list is quicker than a tree.

use super::outgoing::SettingText;

/// Settings by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingTexts(Vec<(String, SettingText)>);

impl SettingTexts {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &SettingText)> {
        self.0.iter().map(|(name, text)| (name, text))
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The setting of this name.
    pub fn get(&self, name: &str) -> Option<&SettingText> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, text)| text)
    }

    /// Adds a setting, or puts another in its place.
    pub fn insert(&mut self, name: String, text: SettingText) {
        match self.place(&name) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = text;
                }
            }
            Err(at) => self.0.insert(at, (name, text)),
        }
    }

    /// Takes a setting away, if there is one of this name.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_the_same_whatever_order_they_were_made_in() {
        let text = |value| SettingText::new("x", value);
        let (mut one, mut other) = (SettingTexts::default(), SettingTexts::default());
        one.insert("b".into(), text("1"));
        one.insert("a".into(), text("2"));
        other.insert("a".into(), text("0"));
        other.insert("c".into(), text("3"));
        other.insert("b".into(), text("1"));
        assert_ne!(one, other);
        other.insert("a".into(), text("2"));
        other.remove("c");
        other.remove("d");
        assert_eq!((one.get("a"), one.get("c")), (Some(&text("2")), None));
        assert_eq!(one, other);
    }
}
