//! The catalogue: what is known of products, sent whenever it changes.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::AppState;
use super::extract::Whole;
use super::keys::Scope;
use super::problem::ApiError;
use crate::wire::catalog;

/// What became of a list of products.
#[derive(Debug, Serialize, ToSchema)]
pub struct CatalogView {
    /// Products that were sent.
    pub products: usize,
    /// Of them, those that were new or of which something else was known.
    pub changed: usize,
}

fn example() -> Value {
    json!({ "products": [{
        "product_id": "case-7", "name": "Red Case", "category": "Phones > Cases", "brand": "Aarike", "price": 19.9,
        "in_stock": true, "tags": ["eco"], "impact": { "co2_kg": 1.2 }, "fits": ["phone-7"], "not_with": ["case-6"],
    }] })
}

/// Tell what is known of products
///
/// Up to 500 products a request; one named again is replaced whole. Rules read `tags` and `impact`;
/// recommendations read name, category, brand, price, stock (`in_stock`, `stock` or `availability`),
/// `fits` (it is offered beside one of these products only) and `not_with` (never beside these).
/// What those are must be of their type (`impact` from 0 to 1,000,000 a piece), `null` counts as not said, and a
/// product names neither itself nor the same product in both lists. Anything else is kept. A product can be recommended at once, by what is said of it.
#[utoipa::path(
    put, path = "/v1/products", tag = "Recommendations", operation_id = "put_products",
    request_body(content = Value, content_type = "application/json", example = json!(example())),
    responses((status = 200, description = "All of them are known now", body = CatalogView)),
    extensions(("x-problems" = json!([
        "malformed", "too_many", "too_deep", "missing_field", "wrong_type", "bad_number", "nul_character", "not_utf8",
        "invalid"
    ]))),
    security(("secret_key" = [Scope::Admin.word()]))
)]
pub async fn learn(
    State(app): AppState,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<CatalogView>, ApiError> {
    let by = app.keys().authorise(&headers, Scope::Admin)?;
    let text = std::str::from_utf8(&body).map_err(|_| ApiError::new("not_utf8", "The body is not UTF-8."))?;
    let products = catalog::products(text)?;
    let count = products.len();
    let changed = app.pump().call(move |workspace, now| workspace.learn_products(now, &by, products)).await?;
    Ok(Json(CatalogView { products: count, changed }))
}
