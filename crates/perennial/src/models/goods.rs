//! Goods: what the catalogue says of an item, as far as recommendations look at it.

use perennial_core::event::Product;
use perennial_core::value::Value;
use rust_decimal::prelude::ToPrimitive as _;

/// What is known of an item.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Good {
    /// What the model calls it, when the model knows it.
    pub(super) number: Option<u32>,
    /// What the catalogue says of it.
    pub(super) name: Option<Box<str>>,
    pub(super) category: Option<Box<str>>,
    pub(super) price: Option<f64>,
    /// Whether it is in stock, where that is known.
    pub(super) in_stock: Option<bool>,
}

impl Good {
    pub(super) fn of(product: &Product) -> Self {
        let number = |name: &str| match product.about.get(name) {
            Some(Value::Number(n)) => n.to_f64(),
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        Self {
            number: None,
            name: text(product, &["name", "title"]).map(Into::into),
            category: text(product, &["category"]).map(Into::into),
            price: number("price"),
            in_stock: in_stock(product).or_else(|| number("stock").map(|pieces| pieces > 0.0)),
        }
    }

    /// Whether it is of a category, or of one below it.
    pub(super) fn is_of(&self, category: &str) -> bool {
        let rest = self.category.as_deref().and_then(|own| own.strip_prefix(category));
        rest.is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with(LEVELS))
    }
}

/// What stands between the levels of a category.
const LEVELS: [char; 2] = ['>', '/'];

/// `in_stock`, or `availability` as schema.org and shopping feeds write it.
fn in_stock(product: &Product) -> Option<bool> {
    if let Some(said) = product.about.get("in_stock").and_then(Value::as_bool) {
        return Some(said);
    }
    let said = text(product, &["availability", "in_stock"])?.to_lowercase();
    let said = said.rsplit('/').next().unwrap_or_default().replace([' ', '_', '-'], "");
    match &*said {
        "outofstock" | "soldout" | "discontinued" | "false" | "no" | "out" => Some(false),
        "instock" | "limitedavailability" | "onlineonly" | "true" | "yes" | "in" => Some(true),
        _ => None,
    }
}

/// Other products that a product names: a list, or a text with commas or semicolons between them.
pub(super) fn related(product: &Product, relation: &str) -> Vec<String> {
    match product.about.get(relation) {
        Some(Value::List(others)) => others.iter().filter_map(id).collect(),
        Some(Value::Text(others)) => {
            let others = others.split([',', ';']).map(str::trim).filter(|other| !other.is_empty());
            others.map(Into::into).collect()
        }
        Some(other) => id(other).into_iter().collect(),
        None => Vec::new(),
    }
}

fn id(said: &Value) -> Option<String> {
    match said {
        Value::Text(id) => Some(id.trim().into()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn text<'a>(product: &'a Product, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| product.about.get(name)).and_then(Value::as_text)
}

/// Letters and digits that make a word of a name.
const WORD_MIN: usize = 3;
/// Words of a name that count.
const WORDS_MAX: usize = 12;

/// What makes an item like another: its category at each level, brand, tags, the words of its name, and how
/// dear it is, by factors of the root of two. `kind:value`, the value as a person reads it.
pub(super) fn tags(product: &Product) -> Vec<String> {
    let mut tags: Vec<String> = product.tags.iter().map(|tag| format!("tag:{tag}")).collect();
    if let Some(category) = text(product, &["category"]) {
        let levels = category.match_indices(LEVELS).map(|(end, _)| end).chain([category.len()]);
        tags.extend(levels.map(|end| format!("category:{}", category[..end].trim())));
    }
    tags.extend(text(product, &["brand"]).map(|brand| format!("brand:{}", brand.trim())));
    let name = text(product, &["name", "title"]).unwrap_or_default().to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| is_word(word));
    tags.extend(words.take(WORDS_MAX).map(|word| format!("word:{word}")));
    let price = Good::of(product).price.filter(|price| *price > 0.0);
    tags.extend(price.map(|price| format!("price:{}", (price.log2() * 2.0).floor())));
    tags
}

fn is_word(word: &str) -> bool {
    word.chars().count() >= WORD_MIN && !word.chars().all(char::is_numeric)
}

/// How a tag is told to people; prices are not.
pub(super) fn told(tag: &str) -> Option<&str> {
    tag.split_once(':').filter(|(kind, _)| *kind != "price").map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(about: &[(&str, &str)]) -> Product {
        let about = about.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Product { about: perennial_core::value::Properties(about), tags: ["eco".into()].into(), ..Product::default() }
    }

    #[test]
    fn a_catalogue_row_becomes_tags() {
        let cup = product(&[
            ("name", "Red Cup, 200 ml"),
            ("category", "Kitchen > Cups"),
            ("brand", "Aarike"),
            ("price", "8.00"),
        ]);
        assert_eq!(
            tags(&cup),
            [
                "tag:eco",
                "category:Kitchen",
                "category:Kitchen > Cups",
                "brand:Aarike",
                "word:red",
                "word:cup",
                "price:6"
            ]
        );
        assert_eq!(tags(&product(&[])), ["tag:eco"]);
        assert_eq!((told("word:red"), told("price:6")), (Some("red"), None));
    }

    #[test]
    fn stock_is_told_in_many_ways() {
        let stock = |name, value: &str| Good::of(&product(&[(name, value)])).in_stock;
        for out in ["Out of stock", "out_of_stock", "https://schema.org/OutOfStock", "SoldOut"] {
            assert_eq!(stock("availability", out), Some(false), "{out}");
        }
        for there in ["in stock", "https://schema.org/InStock"] {
            assert_eq!(stock("availability", there), Some(true), "{there}");
        }
        assert_eq!([stock("stock", "0"), stock("stock", "3"), stock("stock", "some")], [Some(false), Some(true), None]);
        assert_eq!(
            [stock("in_stock", "false"), stock("in_stock", "yes"), stock("colour", "no")],
            [Some(false), Some(true), None]
        );
        let denied = Product {
            about: perennial_core::value::Properties(vec![("in_stock".into(), Value::Bool(false))]),
            ..Product::default()
        };
        assert_eq!(Good::of(&denied).in_stock, Some(false));
    }

    #[test]
    fn a_category_holds_those_below_it() {
        let cup = Good::of(&product(&[("category", "Kitchen > Cups")]));
        assert!(cup.is_of("Kitchen") && cup.is_of("Kitchen > Cups"));
        assert!(!cup.is_of("Kit") && !cup.is_of("Kitchen > Cups > Red") && !cup.is_of("Cups"));
    }

    #[test]
    fn relations_are_lists_or_texts() {
        let case = product(&[("fits", "phone; tablet ,")]);
        assert_eq!(related(&case, "fits"), ["phone", "tablet"]);
        assert_eq!(related(&case, "not_with"), Vec::<String>::new());
    }
}
