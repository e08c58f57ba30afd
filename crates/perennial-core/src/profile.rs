//! Profile: declared traits, consents and the cart, as what was last said.
//!
//! Traits that the programme does not declare stay in the journal only.

use crate::customer::{CART_MAX, CartLine, Customer, TRAITS_MAX};
use crate::event::{Body, CartChange, Event, Line};
use crate::id::{Identifier, IdentifierKind};
use crate::program::{Program, TraitKind};
use crate::value::Value;

/// Whether an event speaks of the customer: what others tell of their orders says nothing of them.
fn speaks_of(customer: &Customer, event: &Event) -> bool {
    event.order_id().is_none() || customer.is_told_by(event)
}

/// Takes in what an event says of the person; an older statement never replaces a newer one.
pub(crate) fn absorb(program: &Program, customer: &mut Customer, event: &Event) {
    if !speaks_of(customer, event) {
        return;
    }
    for (name, value) in event.traits.iter() {
        let Some(declared) = program.traits.get(name) else { continue };
        if !fits(declared.kind, value) {
            continue;
        }
        let traits = &mut customer.profile.traits;
        let newer = traits.get(name).is_none_or(|(_, at)| *at <= event.at);
        if newer && (traits.len() < TRAITS_MAX || traits.contains_key(name)) {
            traits.insert(name.into(), (kept(declared.kind, value), event.at));
        }
    }
    for (purpose, given) in &event.consent {
        consent(customer, purpose, *given, event.at);
    }
    if event.opted_out {
        customer.profile.opted_out = true;
    }
}

/// The declared traits of an event whose values are not of their type; [`absorb`] leaves them as they were.
pub(crate) fn misfits<'a>(
    program: &'a Program,
    customer: &Customer,
    event: &'a Event,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let heard = speaks_of(customer, event);
    let misfits =
        move |(name, value): &(&str, &Value)| heard && program.traits.get(*name).is_some_and(|t| !fits(t.kind, value));
    event.traits.iter().filter(misfits).map(|(name, _)| name)
}

/// Records a consent given or withdrawn.
pub(crate) fn consent(customer: &mut Customer, purpose: &str, given: bool, at: crate::time::Timestamp) {
    let consents = &mut customer.profile.consents;
    let newer = consents.get(purpose).is_none_or(|(_, old)| *old <= at);
    if newer && (consents.len() < TRAITS_MAX || consents.contains_key(purpose)) {
        consents.insert(purpose.into(), (given, at));
    }
}

/// Of a date sent as an instant, as programs write one, the day is kept: rules compare it with days.
fn kept(kind: TraitKind, value: &Value) -> Value {
    match value {
        Value::Text(text) if kind == TraitKind::Date => Value::Text(text.chars().take(10).collect()),
        value => value.clone(),
    }
}

/// Whether a value is of a declared type; null clears any trait.
fn fits(kind: TraitKind, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null)
        | (TraitKind::Text, Value::Text(_))
        | (TraitKind::Number, Value::Number(_))
        | (TraitKind::Bool, Value::Bool(_))
        | (TraitKind::List, Value::List(_)) => true,
        (TraitKind::Email, Value::Text(text)) => Identifier::new(IdentifierKind::Email, text).is_some(),
        (TraitKind::Phone, Value::Text(text)) => Identifier::new(IdentifierKind::Phone, text).is_some(),
        (TraitKind::Date, Value::Text(text)) => text.get(..10).is_some_and(|d| d.parse::<jiff::civil::Date>().is_ok()),
        _ => false,
    }
}

/// Follows the cart; an order empties it.
pub(crate) fn follow_cart(program: &Program, cart: &mut Vec<CartLine>, event: &Event) {
    match &event.body {
        Body::Cart { change: CartChange::Viewed, lines } => {
            cart.clear();
            lines.iter().for_each(|line| put(program, cart, line));
        }
        Body::Cart { change: CartChange::Added, lines } => lines.iter().for_each(|line| put(program, cart, line)),
        Body::Cart { change: CartChange::Removed, lines } => lines.iter().for_each(|line| remove(cart, line)),
        Body::Ordered(_) => cart.clear(),
        _ => {}
    }
}

fn put(program: &Program, cart: &mut Vec<CartLine>, line: &Line) {
    let price = line.price.and_then(|p| program.currency.minor(p)).unwrap_or(0).max(0);
    if let Some(known) = cart.iter_mut().find(|l| l.product_id == line.product_id) {
        known.quantity = known.quantity.saturating_add(line.quantity);
        known.price = price;
    } else if cart.len() < CART_MAX {
        cart.push(CartLine { product_id: line.product_id.clone(), price, quantity: line.quantity });
    }
}

fn remove(cart: &mut Vec<CartLine>, line: &Line) {
    if let Some(known) = cart.iter_mut().find(|l| l.product_id == line.product_id) {
        known.quantity = known.quantity.saturating_sub(line.quantity);
    }
    cart.retain(|l| !l.quantity.is_zero());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CustomerId;
    use crate::time::Timestamp;

    #[test]
    fn a_consent_is_withdrawn_however_many_there_are() {
        let mut customer = Customer::new(CustomerId([1; 16]), Vec::new(), 1);
        let at = Timestamp::EPOCH;
        consent(&mut customer, "marketing", true, at);
        (0..TRAITS_MAX).for_each(|n| consent(&mut customer, &format!("purpose {n}"), true, at));
        assert_eq!(customer.profile.consents.len(), TRAITS_MAX);
        consent(&mut customer, "marketing", false, at.plus_millis(1));
        assert_eq!(customer.profile.consents.get("marketing"), Some(&(false, at.plus_millis(1))));
    }
}
