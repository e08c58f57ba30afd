//! A shop's products as it sends them: `{"products": [{"product_id": "7", "name": "Cup", ...}]}`.
//!
//! Promise: what is not one of the names below is kept as it is said of the product, and a name below that
//! is `null` counts as not said. One fault refuses the whole list, and names its field.

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
/// Bytes of a name, category, brand or tag.
const TEXT_MAX: usize = 1_000;
/// Units of impact of one piece; sums over a shop's life stay far from the largest whole number.
const IMPACT_MAX: i64 = 1_000_000;
/// A price or a stock; as for amounts of money everywhere.
const AMOUNT_MAX: i64 = 1_000_000_000_000;

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
        let code = if listed.is_empty() { "missing_field" } else { "too_many" };
        return Err(Malformed::new(code, "products", format!("send 1 to {PRODUCTS_MAX} products at a time")));
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

/// Reads what is said of one product at a place.
///
/// # Errors
/// The first field that is not what it must be.
pub fn product(mut said: Properties, at: &str) -> Result<Product, Malformed> {
    let place = |field: &str| format!("{at}.{field}");
    for name in NAMES.iter().filter(|name| **name != "product_id") {
        if said.get(name) == Some(&Value::Null) {
            said.take(name);
        }
    }
    let id = said.take("product_id").ok_or_else(|| Malformed::missing(place("product_id"), "every product needs one"));
    let product_id = id_of(&id?, &place("product_id"))?;
    let tags = said.take("tags").map_or(Ok(Vec::new()), |tags| texts(&tags, &place("tags")))?;
    let impact = said.take("impact").map_or(Ok(Arc::default()), |impact| impact_of(&impact, &place("impact")))?;
    for name in TEXTS {
        said.get(name).map_or(Ok(()), |text| is_short(text, &place(name)))?;
    }
    for (name, least) in NUMBERS {
        if let Some(number) = said.take(name) {
            said.set(name, Value::Number(amount(&number, *least, &place(name))?));
        }
    }
    if let Some(Value::Number(_) | Value::List(_) | Value::Map(_)) = said.get("in_stock") {
        return Err(Malformed::new("wrong_type", place("in_stock"), "must be true or false; pieces go to stock"));
    }
    relate(&mut said, &product_id, at)?;
    Ok(Product { product_id, tags: tags.into_iter().map(Word::from).collect(), impact, about: said })
}

/// The names that mean something here.
pub const NAMES: &[&str] = &[
    "product_id",
    "name",
    "title",
    "category",
    "brand",
    "price",
    "tags",
    "impact",
    "fits",
    "not_with",
    "stock",
    "in_stock",
    "availability",
];
/// What must be a text where it is said.
const TEXTS: &[&str] = &["name", "title", "category", "brand", "availability"];
/// What must be a number, or the text of one; and the least it may be. A stock below nothing was sold before it came.
const NUMBERS: &[(&str, i64)] = &[("price", 0), ("stock", -AMOUNT_MAX)];

fn is_short(said: &Value, at: &str) -> Result<(), Malformed> {
    match said.as_text() {
        Some(text) if text.len() <= TEXT_MAX => Ok(()),
        Some(_) => Err(Malformed::new("invalid", at, format!("must have at most {TEXT_MAX} bytes"))),
        None => Err(Malformed::new("wrong_type", at, "must be a text")),
    }
}

fn amount(said: &Value, least: i64, at: &str) -> Result<Decimal, Malformed> {
    let amount = said.as_number().or_else(|| said.as_text()?.trim().parse().ok());
    let may_be = Decimal::from(least)..=Decimal::from(AMOUNT_MAX);
    let reason = || format!("must be a number like 19.90, from {least} to {AMOUNT_MAX}");
    amount.filter(|amount| may_be.contains(amount)).ok_or_else(|| Malformed::new("bad_number", at, reason()))
}

/// Puts the relations to other products as lists of their ids.
fn relate(said: &mut Properties, product: &str, at: &str) -> Result<(), Malformed> {
    let mut named: Vec<Box<str>> = Vec::new();
    for relation in ["fits", "not_with"] {
        let Some(others) = said.take(relation) else { continue };
        let place = format!("{at}.{relation}");
        let others = ids(&others, &place)?;
        if others.iter().any(|other| **other == *product) {
            return Err(Malformed::new("invalid", place, "names the product itself; name others"));
        }
        if let Some(other) = others.iter().find(|other| named.contains(other)) {
            return Err(Malformed::new("invalid", place, format!("names '{other}', which it fits; it cannot be both")));
        }
        said.set(relation, Value::List(others.iter().cloned().map(Value::Text).collect()));
        named = others;
    }
    Ok(())
}

fn id_of(said: &Value, at: &str) -> Result<Box<str>, Malformed> {
    let id: Box<str> = match said {
        Value::Text(id) => id.trim().into(),
        Value::Number(id) if id.is_integer() => id.to_string().into(),
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
        let place = format!("{at}[{nth}]");
        is_short(text, &place)?;
        let text = text.as_text().map(str::trim).filter(|text| !text.is_empty());
        text.map(Into::into).ok_or_else(|| Malformed::new("wrong_type", place, "must be a text"))
    };
    list(said, at)?.iter().enumerate().map(text).collect()
}

/// What an impact of one piece must be.
pub const IMPACT: &str = "a number from 0 to 1,000,000 with at most three decimals";

/// The impact of one piece in thousandths; none when it is not [`IMPACT`].
pub fn thousandths(amount: Decimal) -> Option<i64> {
    let exact = amount.checked_mul(Decimal::ONE_THOUSAND).filter(Decimal::is_integer)?;
    i64::try_from(exact).ok().filter(|thousandths| (0..=1_000 * IMPACT_MAX).contains(thousandths))
}

/// Thousandths by unit.
fn impact_of(said: &Value, at: &str) -> Result<Arc<[(Word, i64)]>, Malformed> {
    let Value::Map(units) = said else {
        return Err(Malformed::new("wrong_type", at, "must be an object of numbers, like {\"co2_kg\": 1.2}"));
    };
    let amount = |(unit, amount): (&str, &Value)| {
        if unit.trim().is_empty() || unit.len() > ID_MAX {
            return Err(Malformed::new("invalid", at, format!("a unit must have 1 to {ID_MAX} bytes")));
        }
        let thousandths = amount.as_number().and_then(thousandths);
        let reason = format!("must be {IMPACT}");
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
            (r#"{"products": []}"#, "missing_field", "products"),
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

    #[test]
    fn what_recommendations_and_rules_read_is_what_it_claims_to_be() {
        let long = format!("\"{}\"", "x".repeat(1_001));
        for (name, said, fault) in [
            ("product_id", "1.5", Some(("wrong_type", ""))),
            ("price", r#""19.90""#, None),
            ("price", "null", None),
            ("price", "-1", Some(("bad_number", ""))),
            ("price", r#""dear""#, Some(("bad_number", ""))),
            ("price", r#""NaN""#, Some(("bad_number", ""))),
            ("price", "1e15", Some(("bad_number", ""))),
            ("stock", "-3", None),
            ("stock", "[]", Some(("bad_number", ""))),
            ("in_stock", "\"no\"", None),
            ("in_stock", "7", Some(("wrong_type", ""))),
            ("name", "7", Some(("wrong_type", ""))),
            ("name", &long, Some(("invalid", ""))),
            ("category", r#"["Cups"]"#, Some(("wrong_type", ""))),
            ("tags", "null", None),
            ("fits", r#"["b", "b"]"#, None),
            ("fits", r#"["a"]"#, Some(("invalid", ""))),
            ("not_with", r#"["a"]"#, Some(("invalid", ""))),
            ("not_with", r#"["c"]"#, Some(("invalid", ""))),
            ("impact", r#"{"kg": 1000000}"#, None),
            ("impact", r#"{"kg": 1000000.001}"#, Some(("bad_number", ".kg"))),
            ("impact", r#"{"kg": -1}"#, Some(("bad_number", ".kg"))),
            ("impact", r#"{"": 1}"#, Some(("invalid", ""))),
        ] {
            let fits = if name == "not_with" { r#", "fits": ["c"]"# } else { "" };
            let body = format!(r#"{{"products": [{{"product_id": "a", "{name}": {said}{fits}}}]}}"#);
            let got = products(&body).err().map(|fault| (fault.code, fault.field));
            assert_eq!(got, fault.map(|(code, at)| (code, format!("products[0].{name}{at}"))), "{body}");
        }
    }
}
