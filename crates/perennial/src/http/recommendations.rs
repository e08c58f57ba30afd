//! Recommendations: what a customer may like, each item with its reason.
//!
//! Promise: an answer comes from memory, and a shop always gets a list it can show. Where the answer is
//! not what was asked for, `instead` says what it is.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AppState;
use super::extract::{Parameters, Part};
use super::keys::Scope;
use super::problem::ApiError;
use crate::models::shelf::{Bought, Found, Kind, Pick, Question, Shelf, Wanted, Why};

/// Items of a list when none are asked for, and the most that may be.
const ITEMS: usize = 10;
const ITEMS_MAX: usize = 100;
/// Items of a context at most.
const CONTEXT_MAX: usize = 100;

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    customer: Option<String>,
    item: Option<String>,
    items: Option<String>,
    limit: Option<usize>,
    seen: Option<String>,
    category: Option<String>,
    price_from: Option<f64>,
    price_to: Option<f64>,
    in_stock: Option<bool>,
    proven: Option<bool>,
    diversity: Option<f32>,
}

/// Recommended items.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecommendationsView {
    /// What was asked for.
    #[schema(example = "for-you")]
    pub kind: String,
    /// The model that answered; absent when there is none yet.
    pub model: Option<ModelName>,
    /// What this is, when it is not what was asked for.
    #[schema(example = "no order of this customer is known: what is in demand")]
    pub instead: Option<String>,
    /// The items, best first.
    pub items: Vec<RecommendedView>,
}

/// Which model answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelName {
    /// Its version.
    pub version: u32,
    /// When it was published.
    pub trained_at: String,
}

/// One recommended item.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecommendedView {
    /// The shop's product id.
    pub item: String,
    /// What the catalogue calls it.
    pub name: Option<String>,
    /// Comparable within this list only.
    pub score: f32,
    /// Why.
    pub reason: ReasonView,
}

/// Why an item is recommended.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReasonView {
    /// `bought_before`, `goes_with`, `viewed_before`, `next_in_visits`, `described_alike`, `similar_customers` or `in_demand`.
    #[schema(example = "goes_with")]
    pub code: String,
    /// The item it comes from, where it comes from one.
    pub item: Option<String>,
    /// A sentence that may be shown.
    pub text: String,
}

/// Recommendations
///
/// `for-you` and `again` are for a customer; `similar`, `together` and `session` beside items;
/// `trending` for everybody. Served from memory. A customer or item that is not known gets what is in
/// demand, and `instead` says so. What the catalogue says an item `fits` and is `not_with` is kept: a case
/// comes beside its telephone only, or for who has it.
#[utoipa::path(
    get, path = "/v1/recommendations/{kind}", tag = "Recommendations", operation_id = "recommend",
    params(
        ("kind" = String, Path, description = "for-you, similar, together, again, trending or session"),
        ("customer" = Option<String>, Query, description = "As for a customer; needed for for-you and again"),
        ("item" = Option<String>, Query, description = "A product id"),
        ("items" = Option<String>, Query, description = "Product ids, separated by commas, the latest last"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 100, description = "At most so many, 1 to 100; 10 unless told"),
        ("seen" = Option<String>, Query, description = "Product ids that shall not come, separated by commas"),
        ("category" = Option<String>, Query, description = "Only items of this category, as the catalogue names it, and of those below it (`Kitchen` holds `Kitchen > Cups`)"),
        ("price_from" = Option<f64>, Query, description = "Only items at this price or more"),
        ("price_to" = Option<f64>, Query, description = "Only items at this price or less"),
        ("in_stock" = Option<bool>, Query, description = "`true`: only what is known to be in stock; `false`: whatever the stock; unless told, all but what is known to be out of stock"),
        ("proven" = Option<bool>, Query, description = "`true`: no places of for-you and similar are kept for items that few have ordered yet"),
        ("diversity" = Option<f32>, Query, description = "From 0, the best first, which is the default, to 1, as unlike one another as can be (maximal marginal relevance)")
    ),
    responses((status = 200, body = RecommendationsView)),
    extensions(("x-problems" = json!(["bad_reference", "missing_field"]))),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn show(
    State(app): AppState,
    Part(word): Part,
    Parameters(asked): Parameters<Asked>,
    headers: HeaderMap,
) -> Result<Json<RecommendationsView>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    let kinds = "There is for-you, similar, together, again, trending and session.";
    let kind = kind.ok_or_else(|| ApiError::new("bad_parameter", kinds).at("kind"))?;
    let items = context(&asked)?;
    if kind.needs_items() && items.is_empty() {
        return Err(ApiError::new("missing_field", "Name the items that this is asked beside.").at("items"));
    }
    let history = match &asked.customer {
        Some(reference) => history(&app, reference).await?,
        None if kind.needs_customer() => {
            return Err(ApiError::new("missing_field", "Name the customer this is for.").at("customer"));
        }
        None => Bought::default(),
    };
    let limit = asked.limit.unwrap_or(ITEMS);
    if !(1..=ITEMS_MAX).contains(&limit) {
        return Err(ApiError::new("bad_parameter", "Send how many items are wanted, 1 to 100.").at("limit"));
    }
    let wanted = asked.wanted()?;
    let shelf = app.shelf();
    let found = shelf.answer(kind, Question { history: &history, items: &items, limit }, &wanted);
    Ok(Json(view(kind, found, &shelf)))
}

impl Asked {
    fn wanted(self) -> Result<Wanted, ApiError> {
        let diversity = self.diversity.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&diversity) {
            let mend = "Send a number from 0 (the best first) to 1 (as unlike one another as can be).";
            return Err(ApiError::new("bad_parameter", mend).at("diversity"));
        }
        for (field, price) in [("price_from", self.price_from), ("price_to", self.price_to)] {
            if price.is_some_and(|price| !price.is_finite()) {
                return Err(ApiError::new("bad_parameter", "Send a number like 19.90.").at(field));
            }
        }
        if self.price_from.zip(self.price_to).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::new("bad_parameter", "Send a price that is not below price_from.").at("price_to"));
        }
        if self.category.as_ref().is_some_and(|category| category.trim().is_empty()) {
            return Err(ApiError::new("bad_parameter", "Name a category of the catalogue, or none.").at("category"));
        }
        let except = self.seen.as_deref().map(list).unwrap_or_default();
        Ok(Wanted {
            category: self.category,
            from: self.price_from,
            to: self.price_to,
            except,
            in_stock: self.in_stock,
            proven: self.proven.unwrap_or(false),
            diversity,
        })
    }
}

fn list<L: FromIterator<String>>(text: &str) -> L {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Into::into).collect()
}

/// The items of the question, the latest last.
fn context(asked: &Asked) -> Result<Vec<String>, ApiError> {
    let mut items: Vec<String> = asked.items.as_deref().map(list).unwrap_or_default();
    items.extend(asked.item.as_deref().map(str::trim).filter(|item| !item.is_empty()).map(Into::into));
    if items.len() > CONTEXT_MAX {
        return Err(ApiError::new("bad_parameter", format!("At most {CONTEXT_MAX} items.")).at("items"));
    }
    Ok(items)
}

/// What the customer's orders hold; nothing for somebody who is not known.
async fn history(app: &super::App, reference: &str) -> Result<Bought, ApiError> {
    let who = super::customers::who(reference).map_err(|error| error.at("customer"))?;
    match app.pump().peek(|workspace, now| workspace.bought_at_once(now, &who)) {
        Some(bought) => Ok(bought),
        None => Ok(app.pump().call(move |workspace, now| workspace.bought(now, &who)).await?.unwrap_or_default()),
    }
}

fn view(kind: Kind, found: Found, shelf: &Shelf) -> RecommendationsView {
    let items = found.items.into_iter().map(|pick| RecommendedView {
        reason: reason(&pick, shelf),
        item: pick.item,
        name: pick.name.map(Into::into),
        score: pick.score,
    });
    RecommendationsView {
        kind: kind.word().into(),
        model: found.model.map(|(version, at)| ModelName { version, trained_at: at.to_string() }),
        instead: found.instead,
        items: items.collect(),
    }
}

fn reason(pick: &Pick, shelf: &Shelf) -> ReasonView {
    let times = |done: &str, n: usize| if n == 1 { format!("{done} once") } else { format!("{done} {n} times") };
    let named = |item: &str| shelf.name(item).map_or_else(|| item.to_owned(), Into::into);
    let (code, item, text) = match &pick.why {
        Why::Bought(n) => ("bought_before", Some(&pick.item), format!("{} before", times("bought", *n))),
        Why::With(item) => ("goes_with", Some(item), format!("goes with {}", named(item))),
        Why::Viewed(n) => ("viewed_before", Some(&pick.item), format!("{} in this visit", times("looked at", *n))),
        Why::After(item) => ("next_in_visits", Some(item), format!("visits with {} went on to it", named(item))),
        Why::Like(item, shared) => ("described_alike", Some(item), alike(&named(item), shared)),
        Why::Customers(None) => ("similar_customers", None, "customers who shop alike bought it".into()),
        Why::Customers(Some(item)) => {
            ("similar_customers", Some(item), format!("customers of {} bought it too", named(item)))
        }
        Why::Demand => ("in_demand", None, "many buy it".into()),
    };
    ReasonView { code: code.into(), item: item.cloned(), text }
}

fn alike(name: &str, shared: &[String]) -> String {
    if shared.is_empty() { format!("costs as much as {name}") } else { format!("like {name}: {}", shared.join(", ")) }
}
