//! Features and segments of a customer of the workspace, beside those that the oracle reckons.

use perennial_core::customer::Customer;
use perennial_core::expr::{Field, Scope as _};
use perennial_core::program::{Program, SegmentRule};
use perennial_core::rules::Rules;
use perennial_core::scope::View;
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use rust_decimal::Decimal;

use crate::oracle::Portrait;

/// What is otherwise than the oracle says, in words.
pub(crate) fn differs(customer: &Customer, rules: &Rules, expected: &Portrait) -> Option<String> {
    let program = &rules.edition(customer.adopted)?.program;
    let found = of(customer, program);
    for (id, should) in &expected.figures {
        let is = found.figures.get(id);
        if is != Some(should) {
            return Some(format!("feature {id} is {}, the oracle says {}", told(is.copied().flatten()), told(*should)));
        }
    }
    let of_both: Vec<_> = found.groups.keys().chain(expected.groups.keys()).collect();
    of_both.into_iter().find_map(|id| {
        let (is, should) = (found.groups.get(id), expected.groups.get(id));
        let same = is == should || (is.is_some() && should == Some(&None));
        let told = |since: Option<&Option<i64>>| match since {
            None => "out".to_owned(),
            Some(None) => "in".to_owned(),
            Some(Some(at)) => format!("in since {}", Timestamp::from_millis(*at)),
        };
        (!same).then(|| format!("segment {id}: {}, the oracle says {}", told(is), told(should)))
    })
}

fn told(number: Option<Decimal>) -> String {
    number.map_or_else(|| "not known".to_owned(), |number| number.to_string())
}

/// Whether somebody is at the top though the oracle says that they are not, or the other way round.
pub(crate) fn ranks_otherwise(customer: &Customer, top: &str, expected: &Portrait) -> Option<String> {
    let is = customer.is_in(top);
    let told = |inside| if inside { "in" } else { "out" };
    (is != expected.at_the_top)
        .then(|| format!("segment {top}: {}, the oracle says {}", told(is), told(expected.at_the_top)))
}

/// Features as of the customer's clock, and segments as they are held; ranked ones are no rules.
fn of(customer: &Customer, program: &Program) -> Portrait {
    let view = View::of(program, customer);
    let value = |at: usize| match *view.field(&Field::Feature(u16::try_from(at).unwrap_or(u16::MAX))) {
        Value::Number(number) => Some(number),
        _ => None,
    };
    let figures = program.features.iter().enumerate().map(|(at, feature)| (feature.id.clone(), value(at)));
    let ranks = |id: &str| program.segments.iter().any(|s| *s.id == *id && matches!(s.rule, SegmentRule::Top { .. }));
    let rules = customer.segments.iter().filter(|inside| !ranks(&inside.segment));
    Portrait {
        figures: figures.collect(),
        groups: rules.map(|inside| (inside.segment.clone(), Some(inside.since.as_millis()))).collect(),
        at_the_top: false,
    }
}
