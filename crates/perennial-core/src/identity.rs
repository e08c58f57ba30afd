//! Identity: which customer an input is about.
//!
//! Promise: deterministic. Identifiers name customers; when an input names several, they become one
//! unless a limit would break (one account id each), in which case the weakest identifier is left
//! out and the question is asked again (Segment Unify's rule).
//! Absent on purpose: likelihood. What names alone cannot decide stays apart.

use crate::id::{CustomerId, Identifier, IdentifierKind};

/// Whom an input is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The customer, if one is known.
    pub customer: Option<CustomerId>,
    /// Customers that turn out to be the same person, to be merged into it.
    pub merge: Vec<CustomerId>,
    /// Identifiers that name nobody yet and will name this customer.
    pub link: Vec<Identifier>,
    /// Identifiers that were left out, because a limit would have broken.
    pub left_out: Vec<Identifier>,
}

/// Resolves identifiers. `owner` says whom one names; `known` lists what a customer is named by.
///
/// # Errors
/// Those of the two callbacks.
pub fn resolve<E>(
    ids: &[Identifier],
    mut owner: impl FnMut(&Identifier) -> Result<Option<CustomerId>, E>,
    mut known: impl FnMut(CustomerId) -> Result<Vec<Identifier>, E>,
) -> Result<Resolution, E> {
    // One name joins nobody and breaks no limit.
    if let [only] = ids {
        let customer = owner(only)?;
        let link = if customer.is_some() { Vec::new() } else { vec![only.clone()] };
        return Ok(Resolution { customer, merge: Vec::new(), link, left_out: Vec::new() });
    }
    let mut ids: Vec<Identifier> = ids.to_vec();
    ids.sort();
    ids.dedup();
    let mut left_out = Vec::new();
    loop {
        let mut found: Vec<CustomerId> = Vec::new();
        let mut link = Vec::new();
        for id in &ids {
            match owner(id)? {
                Some(customer) if !found.contains(&customer) => found.push(customer),
                Some(_) => {}
                None => link.push(id.clone()),
            }
        }
        let mut union = link.clone();
        let mut sides = Vec::with_capacity(found.len());
        for customer in &found {
            let names = known(*customer)?;
            union.extend(names.iter().cloned());
            sides.push(names);
        }
        if ids.len() <= 1 || within_limits(&mut union, &sides) {
            let customer = found.first().copied();
            return Ok(Resolution { customer, merge: found.split_off(found.len().min(1)), link, left_out });
        }
        left_out.extend(ids.pop());
    }
}

/// Whether nobody has more names of a kind than may be; staff may have given somebody more, which is
/// no reason to leave others out.
fn within_limits(union: &mut Vec<Identifier>, sides: &[Vec<Identifier>]) -> bool {
    union.sort();
    union.dedup();
    let count = |names: &[Identifier], kind: &IdentifierKind| names.iter().filter(|id| id.kind == *kind).count();
    union.iter().all(|Identifier { kind, .. }| {
        let has = sides.iter().map(|side| count(side, kind)).max().unwrap_or(0);
        count(union, kind) <= kind.limit().max(has)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn who(n: u8) -> CustomerId {
        CustomerId([n; 16])
    }

    fn check(known: &[(&str, u8)], asked: &[&str]) -> Resolution {
        let book: BTreeMap<Identifier, CustomerId> =
            known.iter().map(|(id, n)| (id.parse().unwrap(), who(*n))).collect();
        let ids: Vec<Identifier> = asked.iter().map(|id| id.parse().unwrap()).collect();
        let owner = |id: &Identifier| Ok::<_, ()>(book.get(id).copied());
        let names = |c: CustomerId| Ok(book.iter().filter(|(_, n)| **n == c).map(|(id, _)| id.clone()).collect());
        resolve(&ids, owner, names).unwrap()
    }

    #[test]
    fn a_visitor_joins_the_account_at_log_in() {
        let seen = check(&[("ana", 1), ("anonymous:tablet", 2)], &["anonymous:tablet", "ana"]);
        assert_eq!((seen.customer, seen.merge), (Some(who(1)), vec![who(2)]));
    }

    #[test]
    fn two_accounts_on_one_device_stay_two() {
        let seen = check(&[("ana", 1), ("anonymous:tablet", 1), ("bo", 2)], &["bo", "anonymous:tablet"]);
        assert_eq!((seen.customer, seen.merge.len(), seen.left_out.len()), (Some(who(2)), 0, 1));
        let new = check(&[("ana", 1), ("anonymous:tablet", 1)], &["cy", "anonymous:tablet"]);
        assert_eq!((new.customer, new.link), (None, vec!["cy".parse().unwrap()]));
    }

    #[test]
    fn somebody_whom_staff_gave_two_accounts_may_still_get_a_device() {
        let both = [("ana", 1), ("anna", 1), ("anonymous:tablet", 2), ("bo", 3)];
        let seen = check(&both, &["anna", "anonymous:tablet", "email:ana@example.com"]);
        assert_eq!((seen.customer, seen.merge, seen.link.len()), (Some(who(1)), vec![who(2)], 1));
        assert_eq!(check(&both, &["anna", "bo"]).left_out.len(), 1, "and no third account");
    }

    #[test]
    fn a_sixth_device_is_left_out() {
        let devices = ["a", "b", "c", "d", "e"].map(|d| format!("anonymous:{d}"));
        let mut known: Vec<(&str, u8)> = devices.iter().map(|d| (d.as_str(), 1)).collect();
        known.push(("ana", 1));
        let seen = check(&known, &["ana", "anonymous:f"]);
        assert_eq!((seen.customer, seen.link.len(), seen.left_out.len()), (Some(who(1)), 0, 1));
    }
}
