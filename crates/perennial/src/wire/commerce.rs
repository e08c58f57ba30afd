//! E-commerce events (version 2, with the names and fields of version 1) in our own types.
//!
//! Promise: an order that counts has its id, and its amounts are numbers; otherwise it is rejected
//! with the field named. Properties that a typed body has no field for stay where they are.

use std::fmt;

use perennial_core::event::{Body, CartChange, Line, Order, PaidWithPoints, Refund, TYPED};
use perennial_core::packed::Packed;
use perennial_core::quantity::Quantity;
use perennial_core::value::{Properties, Value};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::Malformed;
use super::person::scalar_text;

/// Names of version 1 and common spellings, and the names of version 2 that they became.
const RENAMED: &[(&str, &str)] = &[
    ("Added Product", "Product Added"),
    ("Removed Product", "Product Removed"),
    ("Viewed Product", "Product Viewed"),
    ("Clicked Product", "Product Clicked"),
    ("Shared Product", "Product Shared"),
    ("Reviewed Product", "Product Reviewed"),
    ("Viewed Product Category", "Product List Viewed"),
    ("Viewed Product List", "Product List Viewed"),
    ("Filtered Product List", "Product List Filtered"),
    ("Searched Products", "Products Searched"),
    ("Viewed Promotion", "Promotion Viewed"),
    ("Clicked Promotion", "Promotion Clicked"),
    ("Viewed Cart", "Cart Viewed"),
    ("Shared Cart", "Cart Shared"),
    ("Started Checkout", "Checkout Started"),
    ("Viewed Checkout Step", "Checkout Step Viewed"),
    ("Completed Checkout Step", "Checkout Step Completed"),
    ("Entered Payment Info", "Payment Info Entered"),
    ("Completed Order", "Order Completed"),
    ("Updated Order", "Order Updated"),
    ("Refunded Order", "Order Refunded"),
    ("Cancelled Order", "Order Cancelled"),
    ("Canceled Order", "Order Cancelled"),
    ("Order Canceled", "Order Cancelled"),
    ("Entered Coupon", "Coupon Entered"),
    ("Applied Coupon", "Coupon Applied"),
    ("Denied Coupon", "Coupon Denied"),
    ("Removed Coupon", "Coupon Removed"),
    ("Added Product to Wishlist", "Product Added to Wishlist"),
    ("Removed Product from Wishlist", "Product Removed from Wishlist"),
];

/// The largest amount that a message may name; what is larger is a slip or an attack.
const AMOUNT_MAX: Decimal = Decimal::from_parts(0xd4a5_1000, 0xe8, 0, false, 0);

/// The most pieces that a line may name.
const QUANTITY_MAX: u32 = 1_000_000;

/// The version 2 name of a track call; other names stay as they are.
pub fn canonical_name(name: &str) -> &str {
    let name = name.trim();
    let renamed = RENAMED.iter().find(|(old, _)| old.eq_ignore_ascii_case(name)).map(|(_, new)| *new);
    renamed.or_else(|| TYPED.iter().copied().find(|typed| typed.eq_ignore_ascii_case(name))).unwrap_or(name)
}

/// The body of a track call; takes from `properties` what it has fields for.
///
/// # Errors
/// When an order lacks its id, or an amount or a quantity is not a number.
pub fn body(name: &str, properties: &mut Properties, message_id: &str) -> Result<Body, Malformed> {
    Ok(match canonical_name(name) {
        "Order Completed" => Body::Ordered(order(properties)?),
        "Order Updated" => Body::OrderUpdated(order(properties)?),
        "Order Refunded" => Body::Refunded(refund(properties, message_id)?),
        "Order Cancelled" => Body::Cancelled { order_id: order_id(properties)? },
        "Cart Viewed" => Body::Cart { change: CartChange::Viewed, lines: lines(properties)? },
        other => one_product(other, properties)?,
    })
}

/// Calls about a single product, whose properties are the line. Without a product they stay custom.
fn one_product(name: &str, properties: &mut Properties) -> Result<Body, Malformed> {
    let names_product = ["product_id", "productId", "id", "sku"].iter().any(|f| properties.get(f).is_some());
    let known = matches!(name, "Product Added" | "Product Removed" | "Product Viewed");
    if !known || !names_product {
        return Ok(Body::Track { name: name.into() });
    }
    let mut line = line(properties, Place::Event)?;
    let about = ["name", "category", "brand", "coupon", "position", "url", "image_url", "currency"];
    let about = about.into_iter().filter_map(|field| Some((field.into(), properties.take(field)?)));
    line.about = Properties(about.collect()).into();
    let pieces = |line: Line| if line.quantity.is_zero() { Vec::new() } else { vec![line] };
    Ok(match name {
        "Product Added" => Body::Cart { change: CartChange::Added, lines: pieces(line) },
        "Product Removed" => Body::Cart { change: CartChange::Removed, lines: pieces(line) },
        _ => Body::ProductViewed(line),
    })
}

fn order(properties: &mut Properties) -> Result<Order, Malformed> {
    Ok(Order {
        order_id: order_id(properties)?,
        currency: properties.take("currency").as_ref().and_then(scalar_text),
        subtotal: not_negative(properties, "subtotal")?,
        revenue: not_negative(properties, "revenue")?,
        total: not_negative(properties, "total")?,
        tax: amount(properties, "tax")?,
        shipping: amount(properties, "shipping")?,
        discount: amount(properties, "discount")?,
        paid_with_points: paid_with_points(properties)?,
        lines: lines(properties)?,
    })
}

/// A negative refund says the same as a positive one: how much came back. It stands in `total`, or where senders
/// put it instead. What is said and left empty is no refund of everything.
fn refund(properties: &mut Properties, message_id: &str) -> Result<Refund, Malformed> {
    let refund_id = take_text(properties, &["refund_id", "refundId"]);
    Ok(Refund {
        refund_id: refund_id.unwrap_or_else(|| message_id.into()),
        order_id: order_id(properties)?,
        total: refunded(properties)?.map(|total| total.abs()),
        lines: lines_and_nothings(properties)?,
    })
}

fn refunded(properties: &mut Properties) -> Result<Option<Decimal>, Malformed> {
    for name in ["total", "revenue", "subtotal"] {
        let is_empty = matches!(properties.get(name), Some(Value::Text(text)) if text.trim().is_empty());
        if is_empty {
            return Err(bad_number(&format!("properties.{name}"), "a number like 19.90; leave it out to refund all"));
        }
        if let Some(total) = amount(properties, name)? {
            return Ok(Some(total));
        }
    }
    Ok(None)
}

fn order_id(properties: &mut Properties) -> Result<Box<str>, Malformed> {
    take_text(properties, &["order_id", "orderId"]).ok_or_else(|| {
        let is_said = |value: &&Value| !matches!(value, Value::Null);
        let found = ["order_id", "orderId"].iter().find_map(|name| properties.get(name).filter(is_said));
        Malformed::no_text("properties.order_id", found, "send the shop's order number as a text")
    })
}

fn paid_with_points(properties: &mut Properties) -> Result<Option<PaidWithPoints>, Malformed> {
    let field = "properties.paid_with_points";
    match properties.take("paid_with_points") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Map(part)) => {
            let number = |name: &str| part.get(name).and_then(Value::as_number).filter(|n| !n.is_sign_negative());
            let points = number("points").filter(Decimal::is_integer).and_then(|n| n.to_i64());
            let points = points.ok_or_else(|| bad_number(&format!("{field}.points"), "a whole number like 500"))?;
            let amount =
                number("amount").ok_or_else(|| bad_number(&format!("{field}.amount"), "a number like 5.00"))?;
            Ok(Some(PaidWithPoints { points, amount }))
        }
        Some(_) => {
            Err(Malformed::new("wrong_type", field, "must be an object like {\"points\": 500, \"amount\": 5.00}"))
        }
    }
}

/// Lines without those of no pieces.
fn lines(properties: &mut Properties) -> Result<Vec<Line>, Malformed> {
    let mut lines = lines_and_nothings(properties)?;
    lines.retain(|line| !line.quantity.is_zero());
    Ok(lines)
}

fn lines_and_nothings(properties: &mut Properties) -> Result<Vec<Line>, Malformed> {
    match properties.take("products") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => {
            let mut lines = Vec::with_capacity(items.len());
            for (i, item) in items.into_iter().enumerate() {
                let place = Place::Product(i);
                let Value::Map(mut product) = item else {
                    return Err(Malformed::new(
                        "wrong_type",
                        place.to_string(),
                        "must be an object with product_id, price, quantity",
                    ));
                };
                let mut line = line(&mut product, place)?;
                line.about = product.into();
                lines.push(line);
            }
            Ok(lines)
        }
        Some(_) => Err(Malformed::new("wrong_type", "properties.products", "must be a list of objects")),
    }
}

/// One line, taken out of its properties.
fn line(product: &mut Properties, place: Place) -> Result<Line, Malformed> {
    let product_id = take_text(product, &["product_id", "productId", "id"]).unwrap_or_default();
    let sku = take_text(product, &["sku"]);
    let variant = take_text(product, &["variant"]);
    let price = amount_at(product, "price", place)?;
    let quantity = amount_at(product, "quantity", place)?.unwrap_or(Decimal::ONE);
    let quantity = Quantity::of(quantity)
        .filter(|quantity| *quantity <= QUANTITY_MAX.into())
        .ok_or_else(|| bad_number(&format!("{place}.quantity"), "a number of pieces above 0, at most 1,000,000"))?;
    Ok(Line { product_id, sku, variant, price, quantity, about: Packed::default() })
}

fn amount(properties: &mut Properties, name: &str) -> Result<Option<Decimal>, Malformed> {
    amount_at(properties, name, Place::Event)
}

fn not_negative(properties: &mut Properties, name: &str) -> Result<Option<Decimal>, Malformed> {
    match amount(properties, name)? {
        Some(n) if n.is_sign_negative() && !n.is_zero() => {
            Err(bad_number(&format!("properties.{name}"), "an amount of 0 or more; send Order Refunded for money back"))
        }
        amount => Ok(amount),
    }
}

/// Whose fields are read: a fault names them.
#[derive(Clone, Copy)]
enum Place {
    Event,
    Product(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event => f.write_str("properties"),
            Self::Product(at) => write!(f, "properties.products[{at}]"),
        }
    }
}

/// A number, or a text that is one; nothing for null and empty texts.
fn amount_at(of: &mut Properties, name: &str, place: Place) -> Result<Option<Decimal>, Malformed> {
    match of.take(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) if text.trim().is_empty() => Ok(None),
        Some(value) => match value.as_number() {
            Some(number) if number.abs() <= AMOUNT_MAX => Ok(Some(number)),
            Some(_) => Err(bad_number(&format!("{place}.{name}"), "an amount of at most 1,000,000,000,000")),
            None => Err(bad_number(
                &format!("{place}.{name}"),
                "a number like 19.90, without currency sign or thousands marks",
            )),
        },
    }
}

fn bad_number(field: &str, wanted: &str) -> Malformed {
    Malformed::new("bad_number", field, format!("must be {wanted}"))
}

/// The first of these fields that holds a text or a number, taken out.
fn take_text(of: &mut Properties, names: &[&str]) -> Option<Box<str>> {
    let (name, text) = names.iter().find_map(|name| Some((name, scalar_text(of.get(name)?)?)))?;
    of.take(name);
    Some(text)
}
