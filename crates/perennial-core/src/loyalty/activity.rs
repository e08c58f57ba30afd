//! What events that are no orders earn, at once or after a review.

use super::benefit::benefits_of;
use super::earn::within_limit;
use super::lot::grant;
use crate::customer::{ACTIVITIES_MAX, Activity, about};
use crate::engine::Book;
use crate::event::Event;
use crate::fact::Fact;
use crate::id::{Secret, Word};
use crate::program::Gives;
use crate::scope::View;
use crate::tier;
use crate::time::Timestamp;
use crate::value::Value;

/// Fixed points for events that are not orders, at once or after a review.
pub(crate) fn activity(book: &mut Book<'_>, event: &Event) {
    let Some(joined) = book.customer.member.as_ref().map(|m| m.enrolled_at) else { return };
    if event.at < joined {
        return;
    }
    benefits_of(book, event);
    let edition = book.edition();
    for rule in edition.earning(event.name()) {
        let view = View { event: Some(event), ..View::of(&edition.program, book.customer) };
        if !rule.when.holds(&view) {
            continue;
        }
        let unique = rule.unique_by.as_ref().map(|term| unique_key(book, &term.value(&view)));
        if rule.review {
            submit(book, event, &rule.id, unique);
        } else if let Gives::Fixed(points) = rule.gives {
            if !within_limit(book, edition, &rule.id, rule.limit, event.at) {
                book.note("limit_reached");
            } else if unique.is_none() || claim(book, event, &rule.id, unique) {
                grant_fixed(book, points, event.at, &rule.id);
            }
        }
    }
}

fn unique_key(book: &Book<'_>, value: &Value) -> [u8; 16] {
    book.rules.secret.digest(&[b"unique", value.normalized().canonical().as_bytes()])
}

/// Grants a fixed number of points at once.
pub(crate) fn grant_fixed(book: &mut Book<'_>, points: i64, at: Timestamp, rule: &Word) {
    grant(book, points, None, at, at, rule.clone());
    let year = book.program().zone.year(at);
    book.record(Fact::Qualified { year, points, spend: 0 });
    tier::regrade(book, year, None);
}

/// What may pay once, and nobody reviews: submitted and approved in one.
fn claim(book: &mut Book<'_>, event: &Event, rule: &str, unique: Option<[u8; 16]>) -> bool {
    let submitted = submit(book, event, rule, unique);
    if submitted {
        let activity = activity_key(&book.rules.secret, &event.message_id);
        book.record(Fact::Reviewed { activity, rule: rule.into(), approved: true });
    }
    submitted
}

/// Whether it was opened: what it is about may pay once.
fn submit(book: &mut Book<'_>, event: &Event, rule: &str, unique: Option<[u8; 16]>) -> bool {
    let Some(member) = &book.customer.member else { return false };
    let taken = |a: &Activity| *a.rule == *rule && a.unique == unique && a.approved != Some(false);
    let paid_for = |unique| member.paid_for.contains(&about(rule, unique));
    if unique.is_some_and(|unique| member.activities.iter().any(taken) || paid_for(unique)) {
        book.note("already_submitted");
        return false;
    }
    if member.activities.iter().filter(|activity| activity.approved.is_none()).count() >= ACTIVITIES_MAX {
        book.note("limit_reached");
        return false;
    }
    let activity = activity_key(&book.rules.secret, &event.message_id);
    book.record(Fact::Submitted { activity, rule: rule.into(), unique });
    true
}

/// The opaque name of a submission.
pub fn activity_key(secret: &Secret, message_id: &str) -> [u8; 16] {
    secret.digest(&[b"activity", message_id.as_bytes()])
}
