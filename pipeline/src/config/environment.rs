//! `AFTERSEND__SECTION__KEY` variables, laid over the file's table.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::ConfigError;

const PREFIX: &str = "AFTERSEND__";

/// The environment's variables that set something of ours.
pub fn variables() -> Result<Vec<(String, String)>, ConfigError> {
    let ours =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok().filter(|name| name.starts_with(PREFIX))?, value)));
    let texts = ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(ConfigError::missing(name, "its value is no text: write it in UTF-8")),
    });
    texts.collect()
}

/// Variables by the path they set, places of a list in the order of their numbers.
pub(super) struct Overrides {
    variables: BTreeMap<Vec<Part>, Override>,
}

/// A part of a path.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Place(usize),
    Name(String),
}

fn parts(path: &str) -> Vec<Part> {
    path.split('.').map(|part| part.parse().map_or_else(|_| Part::Name(part.to_owned()), Part::Place)).collect()
}

struct Override {
    variable: String,
    path: String,
    text: String,
    reread: bool,
}

impl Overrides {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|(variable, text)| {
                let path = variable.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
                Some((parts(&path), Override { variable, path, text, reread: false }))
            })
            .collect();
        Self { variables }
    }

    /// Sets every variable as text.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), ConfigError> {
        for (parts, set) in &self.variables {
            let place = place(table, parts).ok_or_else(|| {
                ConfigError::missing(set.variable.clone(), "no such place in the configuration: a list is filled in order, from 0")
            })?;
            *place = Value::String(set.text.clone());
        }
        Ok(())
    }

    /// Reads the variable behind `path` as TOML instead of text. False if there is none, or it was tried before, or it is no TOML.
    pub(super) fn reread(&mut self, path: &str, table: &mut Table) -> bool {
        let parts = parts(&plain(path));
        let Some(set) = self.variables.get_mut(&parts) else { return false };
        if std::mem::replace(&mut set.reread, true) {
            return false;
        }
        let parsed = format!("v = {}", set.text).parse::<Table>().ok().and_then(|mut parsed| parsed.remove("v"));
        match (parsed, place(table, &parts)) {
            (Some(value), Some(place)) => {
                *place = value;
                true
            }
            _ => false,
        }
    }

    /// The variable's name where one set this path, else the path.
    pub(super) fn describe(&self, path: &str) -> String {
        match self.variables.get(&parts(&plain(path))) {
            Some(set) => format!("{} (from {})", set.path, set.variable),
            None => path.to_owned(),
        }
    }
}

/// Lists are written `source[0].name` in error paths.
fn plain(path: &str) -> String {
    path.replace('[', ".").replace(']', "")
}

fn place<'a>(table: &'a mut Table, path: &[Part]) -> Option<&'a mut Value> {
    let (Part::Name(first), rest) = path.split_first()? else { return None };
    let mut place = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    for part in rest {
        place = match part {
            Part::Place(index) => {
                if place.as_table().is_some_and(Table::is_empty) {
                    *place = Value::Array(Vec::new());
                }
                let list = place.as_array_mut()?;
                if *index == list.len() {
                    list.push(Value::Table(Table::new()));
                }
                list.get_mut(*index)?
            }
            Part::Name(part) => place.as_table_mut()?.entry(part).or_insert_with(|| Value::Table(Table::new())),
        };
    }
    Some(place)
}
