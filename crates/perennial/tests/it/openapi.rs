//! The API's description: that it is a document of `OpenAPI` 3.1, and that it is true. What the other tests of the
//! doors are answered is held against it as well (`http::House::send`).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::Request;
use perennial::http::docs;
use perennial::http::keys::{Grant, Scope};
use perennial::workspace::Workspace;
use perennial_core::time::Timestamp;
use perennial_store::MemoryDisk;
use serde_json::{Value, json};

use crate::http::{Answer, House};

static API: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(docs::openapi_json()).unwrap());

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Every operation: its path, method and description.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = API["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What stands where this refers to, or this.
fn resolved(part: &Value) -> &Value {
    part["$ref"].as_str().map_or(part, |path| API.pointer(&path[1..]).unwrap_or_else(|| panic!("{path} leads nowhere")))
}

fn is_said(part: &Value) -> bool {
    part.as_str().is_some_and(|text| !text.trim().is_empty())
}

#[test]
fn the_description_has_the_form_of_openapi() {
    assert_eq!(API["openapi"], "3.1.0");
    assert!(is_said(&API["info"]["title"]) && is_said(&API["info"]["version"]));
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} is the name of two operations");
        assert!(path.starts_with('/') && METHODS.contains(&method), "{method} {path}");
        assert!(is_said(&operation["summary"]) && is_said(&operation["tags"][0]), "{name}");
        assert!(operation.get("x-problems").is_none(), "{name} says what is not published");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{name} succeeds somehow");
        for (status, answer) in answers {
            assert!(matches!(status.parse(), Ok(100..=599)), "{name}: {status}");
            let answer = resolved(answer);
            assert!(is_said(&answer["description"]), "{name}: {status} says nothing");
            assert!(answer["content"].is_object(), "{name}: {status} names no code");
            let says_when = answer["headers"]["Retry-After"].is_object();
            assert_eq!(says_when, ["429", "503"].contains(&&**status), "{name}: {status} says when to come back");
        }
    }
    let shared = API["components"]["responses"].as_object().unwrap();
    assert!(shared.values().all(|answer| is_said(&answer["description"])));
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(value: &Value) -> usize {
        match value {
            Value::Object(fields) => {
                resolved(value);
                usize::from(value["$ref"].is_string()) + fields.values().map(follow).sum::<usize>()
            }
            Value::Array(items) => items.iter().map(follow).sum(),
            _ => 0,
        }
    }
    assert!(follow(&API) > 100);
}

#[test]
fn every_parameter_of_an_address_is_declared_once_and_told() {
    for (path, method, operation) in operations() {
        let parameters = list(&operation["parameters"]);
        let named: BTreeSet<_> = parameters.iter().map(|p| (p["in"].as_str(), p["name"].as_str())).collect();
        assert_eq!(named.len(), parameters.len(), "{method} {path} declares a parameter twice");
        let open = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path = parameters.iter().filter(|p| p["in"] == "path");
        let declared: BTreeSet<_> = in_path.clone().filter_map(|p| p["name"].as_str()).collect();
        assert_eq!(declared, open.collect(), "{method} {path}");
        assert!(in_path.into_iter().all(|p| p["required"] == true), "{method} {path}");
        assert!(parameters.iter().all(|p| p["schema"].is_object() && is_said(&p["description"])), "{method} {path}");
    }
}

/// An operation's address with something in every open place.
fn address(path: &str) -> String {
    let places = [("ref", "ana"), ("message_id", "m"), ("kind", "value"), ("id", "coffee"), ("call", "track")];
    places.iter().fold(path.to_owned(), |address, (name, filled)| address.replace(&format!("{{{name}}}"), filled))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_scopes_are_asked_for_as_described() {
    let house = House::open();
    let scopes = [("read", Scope::Read), ("write", Scope::Write), ("admin", Scope::Admin)];
    let keys = scopes.map(|(word, scope)| (word, house.key(word, Grant::Secret { scopes: vec![scope] })));
    for (path, method, operation) in operations() {
        let ask = async |key: &str| {
            let request = Request::builder().method(&*method.to_uppercase()).uri(address(path));
            house.status(request.header("authorization", format!("Bearer {key}")).body(Body::empty()).unwrap()).await
        };
        let Some(asked_for) = operation["security"][0].as_object() else {
            assert_ne!(ask("sk_nobodys").await, 401, "{method} {path} takes no key");
            continue;
        };
        assert!(asked_for.keys().all(|name| API["components"]["securitySchemes"][name].is_object()));
        assert!(operation["responses"]["401"].is_object(), "{method} {path}");
        let Some(scope) = asked_for.get("secret_key").map(|scopes| scopes[0].as_str().unwrap()) else { continue };
        assert!(operation["responses"]["403"].is_object(), "{method} {path}");
        assert_eq!(ask("sk_nobodys").await, 401, "{method} {path}");
        for (word, key) in &keys {
            let status = ask(key).await;
            assert_eq!(status == 403, *word != scope, "{method} {path} with the scope {word}: {status}");
            assert_ne!(status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn examples_are_what_they_stand_for() {
    let mut seen = 0;
    let mut check = |schema: &Value, examples: &Value, place: &str| {
        for example in [&examples["example"]].into_iter().chain(list(&examples["examples"])) {
            if !example.is_null() {
                seen += 1;
                fits(schema, example, place).unwrap();
            }
        }
    };
    for (name, schema) in API["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            check(schema, schema, &format!("{name}.{field}"));
        }
        let fields = schema["properties"].as_object();
        let required = list(&schema["required"]).iter().filter_map(Value::as_str);
        assert!(required.into_iter().all(|field| fields.is_some_and(|fields| fields.contains_key(field))), "{name}");
    }
    for (path, _, operation) in operations() {
        for media in operation["requestBody"]["content"].as_object().into_iter().flat_map(|all| all.values()) {
            check(&media["schema"], media, path);
        }
    }
    assert!(seen > 10, "{seen} examples");
    let products = &API["paths"]["/v1/products"]["put"]["requestBody"]["content"]["application/json"]["example"];
    let house = House::open();
    let request = Request::put("/v1/products").header("authorization", format!("Bearer {}", house.secret));
    let taken = house.send(request.body(Body::from(products.to_string())).unwrap()).await;
    assert_eq!((taken.status.as_u16(), taken.json()), (200, json!({"products": 1, "changed": 1})));
}

/// Seldom asked for, and answered as described: [`House::send`] looks.
#[tokio::test]
async fn who_was_erased_is_gone_for_every_command() {
    let house = House::open();
    house.command("/v1/customers/ana/enroll", "e", json!({})).await;
    house.command("/v1/customers/bo/enroll", "e", json!({})).await;
    let ids = [("userId", "ana"), ("anonymousId", "a1")];
    let said = |properties: Value| {
        let mut event = json!({"event": "Order Refunded", "properties": properties});
        ids.iter().for_each(|(kind, id)| event[kind] = json!(id));
        event
    };
    let order = json!({"event": "Order Completed", "userId": "ana", "properties": {"order_id": "o", "products": [
        {"product_id": "tent", "price": 10, "quantity": 1}]}});
    house.ingest("/v1/track", &order).await;
    let boat = json!({"order_id": "o", "products": [{"product_id": "boat", "quantity": 1}]});
    house.ingest("/v1/track", &said(boat)).await.check(422, "unknown_line");
    assert_eq!(house.command("/v1/customers/ana/erase", "f", json!({})).await.status, 200);
    for (command, body) in [
        ("erase", json!({})),
        ("enroll", json!({})),
        ("unmerge", json!({})),
        ("consent", json!({"purpose": "news", "given": true})),
        ("redeem", json!({"reward": "mug"})),
    ] {
        house.command(&format!("/v1/customers/ana/{command}"), "f", body).await.check(410, "erased");
    }
    for (into, from) in [("ana", "bo"), ("bo", "ana")] {
        let merge = house.command(&format!("/v1/customers/{into}/merge"), "m", json!({ "from": from })).await;
        merge.check(404, "unknown_customer");
    }
    house.ingest("/v1/track", &said(json!({"order_id": "o"}))).await.check(410, "erased");
    house.get("/v1/customers/ana").await.check(404, "unknown_customer");
}

#[tokio::test]
async fn without_a_programme_commands_wait_for_one() {
    let workspace = Workspace::memory().unwrap();
    let house = House::over(workspace, MemoryDisk::new(), Timestamp::EPOCH, 1_000_000);
    for (command, body) in [
        ("enroll", json!({})),
        ("unmerge", json!({})),
        ("merge", json!({"from": "bo"})),
        ("consent", json!({"purpose": "news", "given": true})),
        ("capture", json!({"hold": "h"})),
    ] {
        house.command(&format!("/v1/customers/ana/{command}"), "k", body).await.check(409, "no_programme");
    }
    house.command("/v1/customers/ana/erase", "k", json!({})).await.check(404, "unknown_customer");
    house.get("/v1/customers/ana").await.check(404, "unknown_customer");
}

#[tokio::test]
async fn sdks_are_told_in_their_shape_of_an_address_that_cannot_be_read() {
    let house = House::open();
    for answer in [house.ingest("/v1/%ff", &json!({})).await, house.get("/v1/projects/%ff/settings").await] {
        answer.check(400, "bad_parameter");
        assert!(answer.json()["message"].is_string(), "{}", answer.text);
    }
}

/// Whether a value is what a schema says, and nothing that it does not say; or where it is not.
fn fits(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = resolved(schema);
    let wrong = |why: &str| Err(format!("{place}: {why}: {value} does not fit {schema}"));
    let one_of = list(&schema["oneOf"]);
    if !one_of.is_empty() && !one_of.iter().any(|one| fits(one, value, place).is_ok()) {
        return wrong("none of several");
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        several => list(several).iter().filter_map(Value::as_str).collect(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is_a(value, kind)) {
        return wrong("another type");
    }
    if schema["enum"].is_array() && !list(&schema["enum"]).contains(value) {
        return wrong("another word");
    }
    for (nth, item) in list(value).iter().enumerate() {
        fits(&schema["items"], item, &format!("{place}[{nth}]"))?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    if let Some(missing) = list(&schema["required"]).iter().find(|field| !fields.contains_key(field.as_str().unwrap()))
    {
        return wrong(&format!("{missing} is missing"));
    }
    for (field, value) in fields {
        let told = schema["properties"].get(field).or_else(|| schema.get("additionalProperties"));
        match told {
            Some(told) => fits(told, value, &format!("{place}.{field}"))?,
            None if schema["properties"].is_object() => return wrong(&format!("{field} is not told of")),
            None => {}
        }
    }
    Ok(())
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("'{other}' is no type"),
    }
}

/// The operation at an address: where several paths fit, the one that leaves the least open.
fn operation(method: &str, address: &str) -> Option<&'static Value> {
    let address: Vec<&str> = address.split('/').collect();
    let fit = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        let alike = |(part, said): (&&str, &&str)| part == said || (part.starts_with('{') && !said.is_empty());
        parts.len() == address.len() && parts.iter().zip(&address).all(alike)
    };
    let paths = API["paths"].as_object().unwrap().iter().filter(|(path, _)| fit(path));
    let (_, item) = paths.min_by_key(|(path, _)| path.matches('{').count())?;
    item.get(method)
}

/// Holds an answer against the description: its status is declared, a problem's code is named there, what always
/// comes with it has come, and its body is what the schema says.
pub(crate) fn check(method: &str, address: &str, answer: &Answer) {
    let Some(operation) = operation(&method.to_lowercase(), address) else { return };
    let asked = format!("{method} {address} ({})", answer.status);
    let told = resolved(&operation["responses"][answer.status.as_str()]);
    assert!(told.is_object(), "{asked} is not described: {}", answer.text);
    for (name, _) in told["headers"].as_object().into_iter().flatten() {
        let must_come = name != "Idempotency-Replayed";
        assert!(answer.header(name).is_some() || !must_come, "{asked}: {name} is missing");
    }
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let media = &told["content"][kind];
    assert!(media.is_object(), "{asked} is {kind}, which is not described");
    if !kind.ends_with("json") {
        return;
    }
    fits(&media["schema"], &answer.json(), &asked).unwrap();
    if answer.status.is_client_error() || answer.status.is_server_error() {
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        let described = told["description"].as_str().unwrap();
        assert!(described.contains(&format!("`{code}`:")), "{asked}: {code} is not described");
    }
}
