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
    pub(super) out_of_stock: bool,
}

impl Good {
    pub(super) fn of(product: &Product) -> Self {
        let number = |name: &str| match product.about.get(name) {
            Some(Value::Number(n)) => n.to_f64(),
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        let denied = matches!(product.about.get("in_stock"), Some(Value::Bool(false)));
        let said = text(product, &["availability"]).is_some_and(|a| a.to_lowercase().starts_with("out"));
        Self {
            number: None,
            name: text(product, &["name", "title"]).map(Into::into),
            category: text(product, &["category"]).map(Into::into),
            price: number("price"),
            out_of_stock: denied || said || number("stock").is_some_and(|pieces| pieces <= 0.0),
        }
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
        let levels = category.match_indices(['>', '/']).map(|(end, _)| end).chain([category.len()]);
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
    fn stock_is_told_in_three_ways() {
        let out = |name, value: &str| Good::of(&product(&[(name, value)])).out_of_stock;
        assert!(out("availability", "Out of stock") && out("stock", "0") && !out("stock", "3"));
        let denied = Product {
            about: perennial_core::value::Properties(vec![("in_stock".into(), Value::Bool(false))]),
            ..Product::default()
        };
        assert!(Good::of(&denied).out_of_stock);
    }
}
