//! Answers to `treeshap.json`.

use perennial_learn::shap::{Ensemble, Node, Tree};
use serde_json::{Value, json};

/// Answers one case.
pub(super) fn answer(kind: &str, input: &Value) -> Result<Value, String> {
    if kind != "treeshap.path_dependent" {
        return Err(format!("no answer for kind {kind}"));
    }
    let features: Vec<&str> = input["features"]
        .as_array()
        .and_then(|f| f.iter().map(Value::as_str).collect())
        .ok_or("features are not names")?;
    if features.is_empty() {
        return Err("`features` is empty".into());
    }
    let trees = input["trees"]
        .as_array()
        .ok_or("trees are missing")?
        .iter()
        .map(|t| tree(t, &features))
        .collect::<Result<_, _>>()?;
    let model = Ensemble { features: features.len(), base: input["base_margin"].as_f64().unwrap_or(0.0), trees };
    let rows: Vec<f64> = input["rows"]
        .as_array()
        .ok_or("rows are missing")?
        .iter()
        .flat_map(|r| r.as_array().into_iter().flatten())
        .map(|v| v.as_f64().map_or(f64::NAN, in_single_precision))
        .collect();
    let found = model.explain(&rows).map_err(|e| e.to_string())?;
    let margins: Vec<f64> = rows.chunks_exact(features.len()).map(|r| model.predict(r)).collect();
    Ok(json!({ "contributions": found.rows, "bias": vec![found.bias; found.rows.len()], "margin": margins }))
}

/// Reads a tree as xgboost prints it; its thresholds are single-precision numbers.
fn tree(root: &Value, features: &[&str]) -> Result<Tree, String> {
    let mut nodes = Vec::new();
    add(root, features, &mut nodes)?;
    Ok(Tree { nodes })
}

/// xgboost compares in single precision.
#[expect(clippy::cast_possible_truncation, reason = "the loss of digits is the point")]
fn in_single_precision(x: f64) -> f64 {
    f64::from(x as f32)
}

fn add(node: &Value, features: &[&str], nodes: &mut Vec<Node>) -> Result<usize, String> {
    let number = |key: &str| node[key].as_f64().ok_or_else(|| format!("a node lacks `{key}`"));
    let at = nodes.len();
    let cover = number("cover")?;
    if node["leaf"].is_number() {
        nodes.push(Node::Leaf { value: number("leaf")?, cover });
        return Ok(at);
    }
    nodes.push(Node::Leaf { value: 0.0, cover });
    let child = |id: &Value| {
        node["children"].as_array().into_iter().flatten().find(|c| &c["nodeid"] == id).ok_or("a child is missing")
    };
    let left = add(child(&node["yes"])?, features, nodes)?;
    let right = add(child(&node["no"])?, features, nodes)?;
    let name = node["split"].as_str().unwrap_or_default();
    nodes[at] = Node::Split {
        feature: features.iter().position(|f| *f == name).ok_or("a split asks for an unknown feature")?,
        threshold: in_single_precision(number("split_condition")?),
        left,
        right,
        missing_left: node["missing"] == node["yes"],
        cover,
    };
    Ok(at)
}
