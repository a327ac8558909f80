//! `AFTERSEND__SECTION__KEY` variables, laid over the file's table.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::ConfigError;

const PREFIX: &str = "AFTERSEND__";

/// Variables by the dotted path they set. A number in a path is a place in a list.
pub(super) struct Overrides {
    variables: BTreeMap<String, Override>,
}

struct Override {
    variable: String,
    text: String,
    reread: bool,
}

impl Overrides {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|(variable, text)| {
                let path = variable.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
                Some((path, Override { variable, text, reread: false }))
            })
            .collect();
        Self { variables }
    }

    /// Sets every variable as text.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), ConfigError> {
        for (path, set) in &self.variables {
            let place = place(table, path).ok_or_else(|| {
                ConfigError::missing(set.variable.clone(), "no such place in the configuration: a list is filled in order, from 0")
            })?;
            *place = Value::String(set.text.clone());
        }
        Ok(())
    }

    /// Reads the variable behind `path` as TOML instead of text. False if there is none, or it was tried before, or it is no TOML.
    pub(super) fn reread(&mut self, path: &str, table: &mut Table) -> bool {
        let Some((path, set)) = self.find(path) else { return false };
        if std::mem::replace(&mut set.reread, true) {
            return false;
        }
        let parsed = format!("v = {}", set.text).parse::<Table>().ok().and_then(|mut parsed| parsed.remove("v"));
        match (parsed, place(table, &path)) {
            (Some(value), Some(place)) => {
                *place = value;
                true
            }
            _ => false,
        }
    }

    /// The variable's name where one set this path, else the path.
    pub(super) fn describe(&mut self, path: &str) -> String {
        match self.find(path) {
            Some((path, set)) => format!("{path} (from {})", set.variable),
            None => path.to_owned(),
        }
    }

    fn find(&mut self, path: &str) -> Option<(String, &mut Override)> {
        // Lists are written `source[0].name` in error paths.
        let path = path.replace('[', ".").replace(']', "");
        self.variables.get_mut(&path).map(|set| (path, set))
    }
}

fn place<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    let mut parts = path.split('.').peekable();
    let mut place = table.entry(parts.next()?).or_insert_with(|| Value::Table(Table::new()));
    for part in parts {
        place = match part.parse::<usize>() {
            Ok(index) => {
                if place.as_table().is_some_and(Table::is_empty) {
                    *place = Value::Array(Vec::new());
                }
                let list = place.as_array_mut()?;
                if index == list.len() {
                    list.push(Value::Table(Table::new()));
                }
                list.get_mut(index)?
            }
            Err(_) => place.as_table_mut()?.entry(part).or_insert_with(|| Value::Table(Table::new())),
        };
    }
    Some(place)
}
