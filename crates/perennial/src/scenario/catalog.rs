//! Catalogues: what a story knows of products, listed in it or in a CSV file.
//!
//! Promise: a product is held to what the API takes, and a list that is written by hand to its names,
//! too. A CSV file comes from a shop, and may have columns that mean nothing here.

use std::collections::BTreeMap;
use std::path::Path;

use perennial_core::event::Product;
use serde_json::{Map, Value, json};

use crate::commands::unread;
use crate::import::suggestion;
use crate::wire::{catalog, json};

/// Columns that hold several names, and what stands between them.
const LISTS: [(&str, &[char]); 3] = [("tags", &[' ']), ("fits", &[',', ';']), ("not_with", &[',', ';'])];

/// The products of a list, or of the file that a name names.
pub(super) fn products(folder: &Path, catalog: &Value) -> Result<Vec<Product>, String> {
    match catalog {
        Value::Array(listed) => listed.iter().enumerate().map(|(at, product)| written(product, at)).collect(),
        Value::String(path) => {
            let path = folder.join(path);
            let file = std::fs::File::open(&path).map_err(|e| unread(&path, &e))?;
            let mut reader = csv::Reader::from_reader(file);
            let rows = reader.deserialize::<BTreeMap<String, String>>().zip(1..);
            let read = |(row, at): (Result<_, csv::Error>, usize)| {
                let row = row.map_err(|e| e.to_string())?;
                product(&of_row(&row), &format!("row {at}"))
            };
            rows.map(|row| read(row).map_err(|e| format!("{}: {e}", path.display()))).collect()
        }
        _ => Err("catalog: a list of products, or the name of a CSV file".into()),
    }
}

fn written(listed: &Value, at: usize) -> Result<Product, String> {
    let place = format!("catalog[{at}]");
    let map = listed.as_object().ok_or_else(|| format!("{place}: expected a map like {{ product_id: bottle }}"))?;
    if let Some(stray) = map.keys().find(|name| !catalog::NAMES.contains(&name.as_str())) {
        return Err(format!("{place}: unknown field '{stray}'; {}", suggestion(stray, catalog::NAMES.to_vec())));
    }
    product(map, &place)
}

fn product(said: &Map<String, Value>, place: &str) -> Result<Product, String> {
    let said = json::object(&json!(said).to_string()).map_err(|e| format!("{place}: {e}"))?;
    catalog::product(said, place).map_err(|e| e.to_string())
}

/// A row: `impact.<unit>` columns are one field, and an empty cell says nothing.
fn of_row(row: &BTreeMap<String, String>) -> Map<String, Value> {
    let mut said = Map::new();
    let mut impact = Map::new();
    for (name, cell) in row.iter().filter(|(_, cell)| !cell.trim().is_empty()) {
        if let Some(unit) = name.strip_prefix("impact.") {
            impact.insert(unit.into(), number(cell));
        } else if let Some((_, between)) = LISTS.iter().find(|(list, _)| list == name) {
            let names = cell.split(*between).map(str::trim).filter(|name| !name.is_empty());
            said.insert(name.clone(), names.collect());
        } else {
            said.insert(name.clone(), cell.as_str().into());
        }
    }
    if !impact.is_empty() {
        said.insert("impact".into(), impact.into());
    }
    said
}

/// What is no number is left as it is, to be told.
fn number(cell: &str) -> Value {
    serde_json::from_str(cell.trim()).unwrap_or_else(|_| cell.into())
}
