//! The programme over HTTP: read what is in force, check a draft, publish it.
//!
//! Promise: a document is checked whole before anything changes, and all its problems are told at
//! once. Publishing what is in force already changes nothing, so a repetition is harmless.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use perennial_core::program::{self, Problem as Fault};
use perennial_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AppState;
use super::extract::{Parameters, Part, Whole};
use super::keys::Scope;
use super::problem::ApiError;
use crate::pump::Trouble;
use crate::workspace::{PublishError, Workspace};

/// Problems of a document that are told; a file this wrong is another kind of file.
const PROBLEMS_MAX: usize = 100;

/// A programme and its document.
#[derive(Serialize, ToSchema)]
pub struct ProgramView {
    /// The programme's id.
    #[schema(value_type = String, example = "ecoexplorers")]
    id: Box<str>,
    /// Its name.
    #[schema(value_type = String, example = "EcoExplorers Rewards")]
    name: Box<str>,
    /// Counts publications, from 1.
    version: u32,
    /// Since when it is in force.
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    /// The YAML document, as it was published.
    source: Box<str>,
}

/// What became of a document.
#[derive(Serialize, ToSchema)]
pub struct PublishedView {
    /// The version in force now.
    version: u32,
    /// Whether this is another document than the one in force before: it took effect or, where it was only checked,
    /// would.
    changed: bool,
}

/// One thing wrong with a document.
#[derive(Serialize, ToSchema)]
struct FaultView {
    /// Where, as `earn[2].when`.
    path: String,
    /// The line, from 1; 0 when it has none.
    line: usize,
    /// What is wrong, and what would mend it.
    message: String,
}

/// How to take a document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    check: bool,
}

/// The programme in force
///
/// Its version and the document it was published as.
#[utoipa::path(
    get, path = "/v1/programs/{id}", tag = "Programme", operation_id = "show_program",
    params(("id" = String, Path, description = "The programme's id")),
    responses((status = 200, body = ProgramView), (status = 404, description = "No programme of this id is in force")),
    extensions(("x-problems" = json!(["not_found"]))),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn show(State(app): AppState, Part(id): Part, headers: HeaderMap) -> Result<Json<ProgramView>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let found = app.pump().call(|workspace, _| Ok(in_force(workspace))).await?;
    found.filter(|program| *program.id == id).map(Json).ok_or_else(|| {
        ApiError::new("not_found", "No programme of this id is in force; publish one with PUT.").at("id")
    })
}

/// Publish a programme
///
/// The body is the YAML document. With `check=true` it is only checked, and `changed` says whether publishing it would
/// change anything. It takes effect for everybody
/// at once; points already granted keep the rules they were earned by.
#[utoipa::path(
    put, path = "/v1/programs/{id}", tag = "Programme", operation_id = "publish_program",
    params(
        ("id" = String, Path, description = "The programme's id, as the document says it"),
        ("check" = Option<bool>, Query, description = "Only check, change nothing")
    ),
    request_body(content = String, content_type = "application/yaml", description = "The document"),
    responses((status = 200, description = "In force, or fit to be where it was only checked", body = PublishedView)),
    extensions(("x-problems" = json!(["not_utf8", "invalid", "invalid_program"]))),
    security(("secret_key" = [Scope::Admin.word()]))
)]
pub async fn publish(
    State(app): AppState,
    Part(id): Part,
    Parameters(asked): Parameters<Asked>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<PublishedView>, ApiError> {
    let by = app.keys().authorise(&headers, Scope::Admin)?;
    let unreadable = |_| ApiError::new("not_utf8", "The document is not UTF-8; save it as UTF-8.");
    let source = String::from_utf8(body.into()).map_err(unreadable)?;
    let draft = program::compile(&source).map_err(|faults| problems(&faults))?;
    if *draft.id != id {
        let detail = format!("The address says '{id}', but the document says '{}'; make them agree.", draft.id);
        return Err(ApiError::new("invalid", detail).at("id"));
    }
    let done = app.pump().call(move |workspace, now| Ok(put(workspace, now, &by, &source, asked.check))).await?;
    done.map(Json).map_err(|error| match error {
        PublishError::Problems(faults) => problems(&faults),
        PublishError::Failure(failure) => Trouble::Unavailable(failure.to_string()).into(),
    })
}

fn put(
    workspace: &mut Workspace,
    now: Timestamp,
    by: &str,
    source: &str,
    check: bool,
) -> Result<PublishedView, PublishError> {
    workspace.check(source)?;
    let changed = workspace.program_source() != Some(source);
    let version =
        if changed && !check { workspace.publish(now, by, source)? } else { workspace.rules().latest_version() };
    Ok(PublishedView { version, changed })
}

fn in_force(workspace: &Workspace) -> Option<ProgramView> {
    let (edition, source) = (workspace.rules().latest()?, workspace.program_source()?);
    let program = &edition.program;
    Some(ProgramView {
        id: program.id.clone(),
        name: program.name.clone(),
        version: program.version,
        published_at: edition.published_at,
        source: source.into(),
    })
}

fn problems(faults: &[Fault]) -> ApiError {
    let told: Vec<FaultView> = faults.iter().take(PROBLEMS_MAX).map(told).collect();
    let detail = match faults {
        [one] => format!("The document has a problem: {one}"),
        [first, ..] => format!("The document has {} problems; the first: {first}", faults.len()),
        [] => "The document does not compile.".into(),
    };
    ApiError::new("invalid_program", detail).with(serde_json::json!({ "problems": told }))
}

fn told(fault: &Fault) -> FaultView {
    FaultView { path: fault.path.clone(), line: fault.line, message: fault.message.clone() }
}
