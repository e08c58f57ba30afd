//! What an operation may answer instead of what was hoped for, told in the API's description.
//!
//! Promise: a handler names the codes that are its own. Those that come with a key, a parameter, a body or the writer
//! are added here, to all operations alike, and what a code means is said in the words of the published table.
//! Absent on purpose: what a request is told that has no route; the description tells that of all of them.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Content, Header, Object, OpenApi, Ref, RefOr, Type};

use super::INTAKE;
use super::problem::{Known, TABLE, find};

/// Where a handler names its own codes: `extensions(("x-problems" = json!(["unknown_event"])))`. They may be lists
/// of lists. It is not published: the answers are.
const OWN: &str = "x-problems";

/// Waits for nobody: its notices come as they are.
const STREAM: &str = "/v1/stream";

/// Answers that many operations share, described once, each under the first of its codes.
const SHARED: [&[&str]; 5] =
    [&["invalid_key"], &["not_authorised"], &["busy"], &["internal_error"], &["unavailable", "timeout"]];

/// Tells of every operation what it may answer.
pub(super) fn tell(api: &mut OpenApi) {
    for (path, item) in &mut api.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        operations.into_iter().flatten().for_each(|operation| tell_of(path, operation));
    }
    let shared = SHARED.map(|codes| {
        let known: Vec<&Known> = codes.iter().filter_map(|code| find(code)).collect();
        (codes[0].to_owned(), problem("", &known, "Problem").into())
    });
    api.components.get_or_insert_default().responses.extend(shared);
}

fn tell_of(path: &str, operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(hoped_for) = response
            && hoped_for.description.is_empty()
        {
            hoped_for.description = operation.summary.clone().unwrap_or_default();
        }
    }
    for (status, known) in by_status(&codes(path, operation)) {
        let answers = &mut operation.responses.responses;
        let lead = match answers.remove(&status.to_string()) {
            Some(RefOr::T(said)) => said.description,
            _ => String::new(),
        };
        answers.insert(status.to_string(), answer(&lead, &known, path));
    }
}

/// Every code that an operation may answer.
fn codes(path: &str, operation: &mut Operation) -> Vec<String> {
    let mut codes = own(operation);
    let mut add = |more: &[&str]| codes.extend(more.iter().map(|code| String::from(*code)));
    for parameter in operation.parameters.iter().flatten() {
        let is_customer = matches!(parameter, RefOr::T(parameter) if parameter.name == "ref");
        add(if is_customer { &["bad_parameter", "bad_reference"] } else { &["bad_parameter"] });
    }
    if operation.request_body.is_some() {
        add(&["too_large", "broken_off", "bad_encoding"]);
    }
    if operation.security.is_some() {
        add(if INTAKE.contains(&path) { &["invalid_write_key"] } else { &["invalid_key", "not_authorised"] });
        add(if path == STREAM { &[] } else { &["busy", "internal_error", "unavailable", "timeout"] });
    }
    codes
}

fn own(operation: &mut Operation) -> Vec<String> {
    let named = operation.extensions.as_mut().and_then(|extensions| extensions.remove(OWN));
    let codes = named.map(listed).unwrap_or_default();
    codes.iter().for_each(|code| assert!(find(code).is_some(), "{code} is not in the published table"));
    codes
}

fn listed(named: Value) -> Vec<String> {
    match named {
        Value::String(code) => vec![code],
        Value::Array(list) => list.into_iter().flat_map(listed).collect(),
        _ => Vec::new(),
    }
}

fn by_status(codes: &[String]) -> BTreeMap<u16, Vec<&'static Known>> {
    let mut answers: BTreeMap<u16, Vec<&Known>> = BTreeMap::new();
    for known in TABLE.iter().filter(|known| codes.iter().any(|code| code == known.code)) {
        answers.entry(known.status).or_default().push(known);
    }
    answers
}

/// An answer of one status, which a handler may lead with words of its own.
fn answer(lead: &str, known: &[&Known], path: &str) -> RefOr<Response> {
    if INTAKE.contains(&path) {
        return problem(lead, known, "SdkProblem").into();
    }
    let shared = SHARED.iter().find(|codes| known.iter().map(|known| known.code).eq(codes.iter().copied()));
    match shared.filter(|_| lead.is_empty()) {
        Some(codes) => Ref::from_response_name(codes[0]).into(),
        None => problem(lead, known, "Problem").into(),
    }
}

/// With the headers that always come with its status.
fn problem(lead: &str, known: &[&Known], shape: &str) -> Response {
    let kind = if shape == "Problem" { "application/problem+json" } else { "application/json" };
    let content = Content::new(Some(Ref::from_schema_name(shape)));
    let response = ResponseBuilder::new().description(words(lead, known)).content(kind, content);
    let response = match known.first().map_or(0, |known| known.status) {
        401 => response.header("WWW-Authenticate", header(Type::String, "How a key can be sent")),
        429 | 503 => response.header("Retry-After", header(Type::Integer, "Seconds after which to send it again")),
        _ => response,
    };
    response.build()
}

fn header(kind: Type, about: &str) -> Header {
    HeaderBuilder::new().schema(Some(Object::with_type(kind))).description(Some(about)).build()
}

/// What codes mean and what mends it: a sentence of one, a list of several.
fn words(lead: &str, known: &[&Known]) -> String {
    let item = if known.len() == 1 { "" } else { "- " };
    let told = known.iter().map(|known| format!("{item}`{}`: {}. {}", known.code, known.title, known.mend));
    let told = told.collect::<Vec<_>>().join("\n");
    if lead.is_empty() { told } else { format!("{lead}.\n\n{told}") }
}
