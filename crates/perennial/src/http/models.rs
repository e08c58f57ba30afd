//! Models: how they stand, and training them now.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use perennial_core::score::ModelKind;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Part;
use super::keys::Scope;
use super::problem::ApiError;
use super::{App, AppState};
use crate::models::trainer::{NotNow, Standing};

/// How a kind of model stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// `value`, `clusters` or `recommend`.
    #[schema(example = "value")]
    pub kind: String,
    /// Whether the programme in force asks for it.
    pub wanted: bool,
    /// `trained`, `training`, `none` or `unwanted`.
    #[schema(example = "trained")]
    pub status: String,
    /// Version of the model in force, from 1.
    pub version: Option<u32>,
    /// The method, as the field knows it.
    pub method: Option<String>,
    /// When it was published.
    pub trained_at: Option<String>,
    /// The first order it was trained on.
    pub from: Option<String>,
    /// The last order it was trained on.
    pub until: Option<String>,
    /// Customers it was trained on.
    pub customers: Option<u64>,
    /// Orders it was trained on.
    pub orders: Option<u64>,
    /// Where random choices began.
    pub seed: Option<u64>,
    /// How good it was on what was hidden from it.
    pub validation: Vec<FigureView>,
    /// When it is trained next; absent when only on request.
    pub next_training: Option<String>,
    /// Per cent of a training under way.
    pub progress: Option<u64>,
    /// Why there is no newer model: what the last training was refused for.
    pub why_not: Option<String>,
}

/// One figure of a validation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FigureView {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// What it means.
    pub means: String,
}

/// What figures mean, by name.
const FIGURES: &[(&str, &str)] = &[
    ("orders_foretold", "days with an order that a model of the first three quarters foretold for the last one"),
    ("orders_that_came", "how many came"),
    ("error_per_customer", "mean absolute error per customer, in days with an order"),
    ("correlation", "between what was foretold and what came, customer by customer; 1 is perfect"),
    ("clusters", "groups found"),
    ("silhouette", "how far groups lie apart, from -1 to 1; above 0.5 clearly, below 0.25 they run into one another"),
    ("stability", "how well the same groups come back when customers are drawn anew; 1 is the same, 0 is chance"),
    ("for_you_hits_of_10", "share of hidden orders in which one of ten recommended new items lay"),
    (
        "together_hits_of_10",
        "share of hidden baskets whose second half held one of ten items recommended from the first",
    ),
    ("again_hits_of_10", "share of hidden orders in which one of ten items to buy again lay"),
    (
        "session_hits_of_10",
        "share of hidden visits whose last view was one of ten items recommended from those before it",
    ),
    ("together_in_sessions_hits_of_10", "the same for what lies in orders with them; the better of the two answers"),
    ("best_sellers_hits_of_10", "share of hidden orders that held one of the ten best sellers, to compare with"),
];

impl From<Standing> for ModelView {
    fn from(standing: Standing) -> Self {
        let model = standing.model.as_ref().map(|(model, _)| model);
        let status = match (standing.wanted, standing.running, model) {
            (_, Some(_), _) => "training",
            (false, None, _) => "unwanted",
            (true, None, Some(_)) => "trained",
            (true, None, None) => "none",
        };
        Self {
            kind: standing.kind.word().into(),
            wanted: standing.wanted,
            status: status.into(),
            version: model.map(|m| m.version),
            method: model.map(|m| m.method.to_string()),
            trained_at: standing.model.as_ref().map(|(_, at)| at.to_string()),
            from: model.map(|m| m.from.to_string()),
            until: model.map(|m| m.until.to_string()),
            customers: model.map(|m| m.customers),
            orders: model.map(|m| m.orders),
            seed: model.map(|m| m.seed),
            validation: model.into_iter().flat_map(|m| &m.figures).map(figure).collect(),
            next_training: standing.next.filter(|_| standing.wanted).map(|at| at.to_string()),
            progress: standing.running,
            why_not: standing.refused.map(|(at, why)| format!("{why} ({at})")),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures are small")]
fn figure((name, millionths): &(Box<str>, i64)) -> FigureView {
    let means = FIGURES.iter().find(|(known, _)| **known == **name).map_or("", |(_, means)| means);
    FigureView { name: name.to_string(), value: *millionths as f64 / 1e6, means: means.into() }
}

fn kind(word: &str) -> Result<ModelKind, ApiError> {
    let unknown = || ApiError::new("unknown_model", "There is value, clusters and recommend.").at("kind");
    word.parse().map_err(|()| unknown())
}

async fn standing(app: &App, wanted: Option<ModelKind>) -> Result<Vec<ModelView>, ApiError> {
    let all = app.trainer().standing().await?;
    Ok(all.into_iter().filter(|s| wanted.is_none_or(|kind| kind == s.kind)).map(Into::into).collect())
}

/// Models
///
/// What is learnt from history: each kind with the model in force, its training period, how good it was
/// on what was hidden from it, and when it is trained next, or why there is none.
#[utoipa::path(
    get, path = "/v1/models", tag = "Models", operation_id = "list_models",
    responses((status = 200, body = Vec<ModelView>)),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn list(State(app): AppState, headers: HeaderMap) -> Result<Json<Vec<ModelView>>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    standing(&app, None).await.map(Json)
}

/// Train a model
///
/// Begins now and answers at once; `GET /v1/models` tells how it goes. One training runs at a time.
#[utoipa::path(
    post, path = "/v1/models/{kind}/train", tag = "Models", operation_id = "train_model",
    params(("kind" = String, Path, description = "value, clusters or recommend")),
    responses((status = 202, description = "The training has begun", body = Vec<ModelView>)),
    extensions(("x-problems" = json!(["unknown_model", "training_underway", "model_not_declared"]))),
    security(("secret_key" = [Scope::Admin.word()]))
)]
pub async fn train(
    State(app): AppState,
    Part(word): Part,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Vec<ModelView>>), ApiError> {
    app.keys().authorise(&headers, Scope::Admin)?;
    let kind = kind(&word)?;
    let trainer = app.trainer().clone();
    let before = trainer.standing().await?;
    if before.iter().any(|s| s.kind == kind && !s.wanted) {
        return Err(not_now(NotNow::Unwanted, kind));
    }
    trainer.begin(kind).map_err(|why| not_now(why, kind))?;
    Ok((StatusCode::ACCEPTED, Json(standing(&app, Some(kind)).await?)))
}

/// Call a training off
///
/// It ends at its next step and publishes nothing; the model in force stays.
#[utoipa::path(
    delete, path = "/v1/models/{kind}/train", tag = "Models", operation_id = "call_off_training",
    params(("kind" = String, Path, description = "value, clusters or recommend")),
    responses(
        (status = 202, description = "The training will end", body = Vec<ModelView>),
        (status = 404, description = "No training of this model is under way, or there is no such model")
    ),
    extensions(("x-problems" = json!(["unknown_model", "not_found"]))),
    security(("secret_key" = [Scope::Admin.word()]))
)]
pub async fn call_off(
    State(app): AppState,
    Part(word): Part,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Vec<ModelView>>), ApiError> {
    app.keys().authorise(&headers, Scope::Admin)?;
    let kind = kind(&word)?;
    if !app.trainer().call_off(kind) {
        return Err(ApiError::new("not_found", "No training of this model is under way."));
    }
    Ok((StatusCode::ACCEPTED, Json(standing(&app, Some(kind)).await?)))
}

fn not_now(why: NotNow, kind: ModelKind) -> ApiError {
    match why {
        NotNow::Busy(other) => ApiError::new(
            "training_underway",
            format!("The model of {} is being trained; one at a time.", other.word()),
        ),
        NotNow::Unwanted => ApiError::new(
            "model_not_declared",
            format!("The programme does not ask for it: add models: {{ {}: {{ train: weekly }} }}.", kind.word()),
        ),
        NotNow::Trouble(trouble) => trouble.into(),
    }
}
