//! The API description and its page. The page is drawn here from the description itself: no
//! script, nothing fetched, so it works without a network.

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use serde_json::{Map, Value};

use super::App;
use super::problem::TABLE;

/// `/openapi.json`, `/docs` and `/docs/problems`.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/openapi.json", get(description))
        .route("/docs", get(|| async { Html(page()) }))
        .route("/docs/problems", get(|| async { Html(problems_page()) }))
}

/// The description as text, in the form that is committed.
pub fn openapi_json() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| super::openapi().to_pretty_json().unwrap_or_else(|_| "{}".into()) + "\n")
}

async fn description() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json())
}

/// The table of codes in Markdown, in the form that is committed.
pub fn problems_markdown() -> String {
    let mut text =
        String::from("# Problems\n\nEvery code that Perennial answers with. Codes are stable; new ones are added.\n");
    text.push_str("The API sends them as problems (RFC 9457), SDK endpoints as `{\"code\", \"message\"}`.\n\n");
    text.push_str("| Code | Status | Means | What mends it |\n|---|---|---|---|\n");
    for known in TABLE {
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", known.code, known.status, known.title, known.mend);
    }
    text
}

fn problems_page() -> &'static str {
    static PAGE: OnceLock<String> = OnceLock::new();
    PAGE.get_or_init(|| {
        let mut body = String::from("<h1>Problems</h1><p>Codes are stable; new ones are added.</p><table class=codes>");
        body.push_str("<tr><th>Code<th>Status<th>Means<th>What mends it</tr>");
        for k in TABLE {
            let (code, mend) = (k.code, marked(k.mend));
            let _ = write!(
                body,
                "<tr id={code}><td><code>{code}</code><td>{}<td>{}<td>{mend}</tr>",
                k.status,
                escape(k.title)
            );
        }
        body.push_str("</table>");
        html("Problems", &body)
    })
}

fn page() -> &'static str {
    static PAGE: OnceLock<String> = OnceLock::new();
    PAGE.get_or_init(|| {
        let api: Value = serde_json::from_str(openapi_json()).unwrap_or_default();
        let mut body = String::from("<h1>Perennial API</h1>");
        let about = marked(text(&api["info"], "description"));
        let _ = write!(body, "<p>{}</p>", about.replace("/docs/problems", "<a href=/docs/problems>/docs/problems</a>"));
        for tag in tags(&api) {
            let _ = write!(body, "<h2>{}</h2>", escape(tag));
            operations(&api, tag).for_each(|(path, method, op)| operation(&mut body, &api, path, method, op));
        }
        types(&mut body, &api);
        html("API", &body)
    })
}

/// The shapes that bodies and answers name, once each, so that a name in a table leads to one.
fn types(out: &mut String, api: &Value) {
    out.push_str("<h2>Types</h2>");
    let schemas = api["components"]["schemas"].as_object().into_iter().flatten();
    for (name, schema) in schemas.filter(|(name, schema)| is_told(name, schema)) {
        let _ = write!(out, "<details><summary><code>{name}</code> ");
        // The name is within, so that a browser opens the fold which it is asked to go to.
        let _ = write!(out, "<span>{}</span></summary><div id={name}>", marked(text(schema, "description")));
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            let _ = write!(out, "<p>One of <code>{}</code>.</p>", escape(&words.join(", ")));
        }
        fields(out, api, schema["properties"].as_object());
        out.push_str("</div></details>");
    }
}

/// Bodies and lists are told where they are asked for.
fn is_told(name: &str, schema: &Value) -> bool {
    let whole = name.ends_with("Body") || name.starts_with("Entries_");
    !whole && (schema["properties"].is_object() || schema["enum"].is_array())
}

/// Every tag of the description: those known first, as one would read, then any other.
fn tags(api: &Value) -> Vec<&str> {
    let mut tags = vec!["Events", "Customers", "Commands", "Recommendations", "Models", "Programme"];
    for (_, _, op) in every_operation(api) {
        let tag = op["tags"][0].as_str().unwrap_or("Operations");
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn operations<'a>(api: &'a Value, tag: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    every_operation(api).filter(move |(_, _, op)| op["tags"][0] == tag)
}

/// Path, method and what the description says of them.
fn every_operation(api: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = api["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, op)| (path.as_str(), method.as_str(), op))
    })
}

fn operation(out: &mut String, api: &Value, path: &str, method: &str, op: &Value) {
    let (method, summary) = (method.to_ascii_uppercase(), escape(text(op, "summary")));
    let _ =
        write!(out, "<details><summary><b>{method}</b> <code>{}</code> <span>{summary}</span></summary>", escape(path));
    let _ = write!(out, "<p>{}</p>{}", marked(text(op, "description")), key(op));
    let parameters = op["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        out.push_str("<table>");
        for p in parameters {
            let (name, place, about) = (text(p, "name"), text(p, "in"), marked(text(p, "description")));
            let _ = write!(out, "<tr><td><code>{name}</code><td>{place}<td>{about}</tr>");
        }
        out.push_str("</table>");
    }
    content(out, api, "Body", &op["requestBody"]["content"]);
    let answers = op["responses"].as_object().into_iter().flatten();
    let (hoped_for, problems): (Vec<_>, Vec<_>) = answers.partition(|(status, _)| status.starts_with('2'));
    for (status, response) in hoped_for {
        let _ = write!(out, "<h4>{status} {}</h4>", marked(text(response, "description")));
        content(out, api, "", &response["content"]);
    }
    let problems: Vec<_> = problems.into_iter().map(|(status, response)| (status, resolved(api, response))).collect();
    if !problems.is_empty() {
        answered_instead(out, &problems);
    }
    out.push_str("</details>");
}

/// Which key it takes, and with which scope.
fn key(op: &Value) -> String {
    let Some((name, scopes)) = op["security"][0].as_object().and_then(|keys| keys.iter().next()) else {
        return String::new();
    };
    let scope = scopes[0].as_str().map(|scope| format!(" with the scope <code>{scope}</code>")).unwrap_or_default();
    format!("<p>Takes a {}{scope}.</p>", name.replace('_', " "))
}

/// What stands where a part of the description refers to, or the part itself.
fn resolved<'a>(api: &'a Value, part: &'a Value) -> &'a Value {
    part["$ref"].as_str().and_then(|path| api.pointer(path.trim_start_matches('#'))).unwrap_or(part)
}

/// The statuses of problems with their codes, a line each, and the shape that they have in common.
fn answered_instead(out: &mut String, problems: &[(&String, &Value)]) {
    out.push_str("<h4>Instead</h4><table>");
    for (status, response) in problems {
        let lines = text(response, "description").lines().filter(|line| !line.is_empty());
        let lines = lines.map(|line| marked(line.trim_start_matches("- ")));
        let _ = write!(out, "<tr><td>{status}<td>{}</tr>", lines.collect::<Vec<_>>().join("<br>"));
    }
    let mut media = problems.iter().filter_map(|(_, response)| response["content"].as_object()?.values().next());
    let shape = media.find_map(|media| media["schema"]["$ref"].as_str()?.rsplit('/').next()).unwrap_or_default();
    let _ = write!(out, "</table><p>Each as a <a href=#{shape}>{shape}</a>.</p>");
}

fn content(out: &mut String, api: &Value, title: &str, content: &Value) {
    for (kind, media) in content.as_object().into_iter().flatten() {
        if !title.is_empty() {
            let _ = write!(out, "<h4>{title} <small>{kind}</small></h4>");
        }
        let name = media["schema"]["$ref"].as_str().and_then(|r| r.rsplit('/').next()).unwrap_or_default();
        fields(out, api, api["components"]["schemas"][name]["properties"].as_object());
    }
}

fn fields(out: &mut String, api: &Value, properties: Option<&Map<String, Value>>) {
    let Some(properties) = properties.filter(|p| !p.is_empty()) else { return };
    out.push_str("<table>");
    for (name, schema) in properties {
        let _ = write!(out, "<tr><td><code>{name}</code><td>{}", kind(api, schema));
        // Of a name or nothing, the description stands beside the name.
        let beside = schema["oneOf"].as_array().into_iter().flatten().map(|variant| text(variant, "description"));
        let about = std::iter::once(text(schema, "description")).chain(beside).find(|about| !about.is_empty());
        let _ = write!(out, "<td>{}</tr>", marked(about.unwrap_or_default()));
    }
    out.push_str("</table>");
}

/// A schema's type in a word: `integer`, `list of LotView`; a name leads to where it is told.
fn kind(api: &Value, schema: &Value) -> String {
    let schemas = &api["components"]["schemas"];
    // Lists hold their entries written out; most have a name all the same.
    let alike = || schemas.as_object()?.iter().find(|(_, named)| *named == schema).map(|(name, _)| name.as_str());
    let referred = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    if let Some(name) = referred.or_else(|| schema["properties"].is_object().then(alike).flatten()) {
        let told = is_told(name, &schemas[name]);
        return if told { format!("<a href=#{name}>{name}</a>") } else { "any value".into() };
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants.iter().map(|variant| kind(api, variant)).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(one) if one == "array" => format!("list of {}", kind(api, &schema["items"])),
        Value::String(one) if one == "object" && schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(api, &schema["additionalProperties"]))
        }
        Value::String(one) => one.clone(),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => String::new(),
    }
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// A text of the description, with what stands between backticks as code.
fn marked(text: &str) -> String {
    let escaped = escape(text);
    let parts = escaped.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 0 { part.to_owned() } else { format!("<code>{part}</code>") }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
        <meta name=color-scheme content='light dark'><link rel=icon href=/console/leaf.svg><title>{title} · Perennial</title>\
        <link rel=stylesheet href=/console/paper.css><link rel=stylesheet href=/console/docs.css><body><header><b><a href=/>Perennial</a></b><nav aria-label=Documentation><a href=/docs>API</a> · \
        <a href=/docs/problems>Problems</a> · <a href=/openapi.json>openapi.json</a></nav></header><main>{body}</main></body></html>"
    )
}
