//! A shop's products as it sends them: `{"products": [{"product_id": "7", "name": "Cup", ...}]}`.
//!
//! Promise: what is not one of the names below is kept as it is said of the product. One fault refuses
//! the whole list, and names its field.

use std::collections::BTreeSet;
use std::sync::Arc;

use perennial_core::event::Product;
use perennial_core::id::Word;
use perennial_core::value::{Properties, Value};
use rust_decimal::Decimal;

use super::{Malformed, json};

/// Products of one request.
pub const PRODUCTS_MAX: usize = 500;
/// Bytes of a product's id.
const ID_MAX: usize = 200;
/// Tags, units of impact, and relations of one product.
const LIST_MAX: usize = 200;

/// Reads a list of products.
///
/// # Errors
/// The first field that is not what it must be.
pub fn products(text: &str) -> Result<Vec<Product>, Malformed> {
    let mut body = json::object(text)?;
    let listed = body.take("products").ok_or_else(|| Malformed::missing("products", "send a list of products"))?;
    if let Some((other, _)) = body.iter().next() {
        return Err(Malformed::new("invalid", other, "is not known here; send products alone"));
    }
    let Value::List(listed) = listed else {
        return Err(Malformed::new("wrong_type", "products", "products must be a list"));
    };
    if listed.is_empty() || listed.len() > PRODUCTS_MAX {
        let reason = format!("send 1 to {PRODUCTS_MAX} products at a time");
        return Err(Malformed::new("too_many", "products", reason));
    }
    let mut seen = BTreeSet::new();
    let mut products = Vec::with_capacity(listed.len());
    for (nth, said) in listed.into_iter().enumerate() {
        let at = format!("products[{nth}]");
        let Value::Map(said) = said else {
            return Err(Malformed::new("wrong_type", at, "a product must be an object"));
        };
        let product = product(said, &at)?;
        if !seen.insert(product.product_id.clone()) {
            let reason = format!("'{}' is listed twice; send it once", product.product_id);
            return Err(Malformed::new("invalid", format!("{at}.product_id"), reason));
        }
        products.push(product);
    }
    Ok(products)
}

fn product(mut said: Properties, at: &str) -> Result<Product, Malformed> {
    let place = |field: &str| format!("{at}.{field}");
    let id = said.take("product_id").ok_or_else(|| Malformed::missing(place("product_id"), "every product needs one"));
    let product_id = id_of(&id?, &place("product_id"))?;
    let tags = said.take("tags").map_or(Ok(Vec::new()), |tags| texts(&tags, &place("tags")))?;
    let impact = said.take("impact").map_or(Ok(Arc::default()), |impact| impact_of(&impact, &place("impact")))?;
    for relation in ["fits", "not_with"] {
        if let Some(others) = said.take(relation) {
            let others = ids(&others, &place(relation))?;
            said.set(relation, Value::List(others.into_iter().map(Value::Text).collect()));
        }
    }
    Ok(Product { product_id, tags: tags.into_iter().map(Word::from).collect(), impact, about: said })
}

fn id_of(said: &Value, at: &str) -> Result<Box<str>, Malformed> {
    let id: Box<str> = match said {
        Value::Text(id) => id.trim().into(),
        Value::Number(id) => id.to_string().into(),
        _ => return Err(Malformed::new("wrong_type", at, "must be a text or a whole number")),
    };
    if id.is_empty() || id.len() > ID_MAX {
        return Err(Malformed::new("invalid", at, format!("must have 1 to {ID_MAX} bytes")));
    }
    Ok(id)
}

fn list<'a>(said: &'a Value, at: &str) -> Result<&'a [Value], Malformed> {
    let list = said.as_list().ok_or_else(|| Malformed::new("wrong_type", at, "must be a list"))?;
    if list.len() > LIST_MAX {
        return Err(Malformed::new("too_many", at, format!("at most {LIST_MAX} of a product")));
    }
    Ok(list)
}

fn ids(said: &Value, at: &str) -> Result<Vec<Box<str>>, Malformed> {
    list(said, at)?.iter().enumerate().map(|(nth, id)| id_of(id, &format!("{at}[{nth}]"))).collect()
}

fn texts(said: &Value, at: &str) -> Result<Vec<String>, Malformed> {
    let text = |(nth, text): (usize, &Value)| {
        let text = text.as_text().map(str::trim).filter(|text| !text.is_empty());
        text.map(Into::into).ok_or_else(|| Malformed::new("wrong_type", format!("{at}[{nth}]"), "must be a text"))
    };
    list(said, at)?.iter().enumerate().map(text).collect()
}

/// Thousandths by unit.
fn impact_of(said: &Value, at: &str) -> Result<Arc<[(Word, i64)]>, Malformed> {
    let Value::Map(units) = said else {
        return Err(Malformed::new("wrong_type", at, "must be an object of numbers, like {\"co2_kg\": 1.2}"));
    };
    let amount = |(unit, amount): (&str, &Value)| {
        let exact = amount.as_number().and_then(|n| n.checked_mul(Decimal::from(1_000)));
        let thousandths = exact.filter(|n| n.fract().is_zero()).and_then(|n| i64::try_from(n).ok());
        let reason = "must be a number with at most three decimals";
        let thousandths = thousandths.ok_or_else(|| Malformed::new("bad_number", format!("{at}.{unit}"), reason))?;
        Ok((Word::from(unit), thousandths))
    };
    if units.iter().count() > LIST_MAX {
        return Err(Malformed::new("too_many", at, format!("at most {LIST_MAX} units")));
    }
    units.iter().map(amount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_keeps_what_is_said_of_it() {
        let body = r#"{"products": [{"product_id": 7, "name": "Case", "tags": ["eco"], "impact": {"co2_kg": 1.25},
            "fits": ["phone", 8], "colour": "red"}]}"#;
        let found = products(body).unwrap().remove(0);
        assert_eq!(
            (&*found.product_id, &*found.tags, &*found.impact),
            ("7", &[Word::from("eco")][..], &[(Word::from("co2_kg"), 1_250)][..])
        );
        let about = serde_json::to_string(&found.about).unwrap();
        assert_eq!(about, r#"{"name":"Case","colour":"red","fits":["phone","8"]}"#);
    }

    #[test]
    fn what_is_wrong_names_its_place() {
        for (body, code, field) in [
            ("{}", "missing_field", "products"),
            (r#"{"products": {}}"#, "wrong_type", "products"),
            (r#"{"products": []}"#, "too_many", "products"),
            (r#"{"products": [7]}"#, "wrong_type", "products[0]"),
            (r#"{"products": [{"name": "x"}]}"#, "missing_field", "products[0].product_id"),
            (r#"{"products": [{"product_id": " "}]}"#, "invalid", "products[0].product_id"),
            (r#"{"products": [{"product_id": "a"}, {"product_id": "a"}]}"#, "invalid", "products[1].product_id"),
            (r#"{"products": [{"product_id": "a", "tags": [1]}]}"#, "wrong_type", "products[0].tags[0]"),
            (r#"{"products": [{"product_id": "a", "fits": "b"}]}"#, "wrong_type", "products[0].fits"),
            (r#"{"products": [{"product_id": "a", "fits": [[]]}]}"#, "wrong_type", "products[0].fits[0]"),
            (r#"{"products": [{"product_id": "a", "impact": {"kg": 0.0001}}]}"#, "bad_number", "products[0].impact.kg"),
            (r#"{"products": [{"product_id": "a"}], "all": true}"#, "invalid", "all"),
        ] {
            let fault = products(body).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), (code, field), "{body}");
        }
    }
}
