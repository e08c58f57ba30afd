//! Regularised logistic regression: the plain rival that may win.
//!
//! Numbers enter standardised with three hinges at their quartiles (so that a bend needs no trees),
//! gaps as an indicator, categories one by one. Promise: the ridge maximum by Newton's method (le
//! Cessie & van Houwelingen 1992); the penalty is chosen on rows left out, whose answers come from one
//! Newton step away from the common fit instead of a refit. Absent on purpose: interactions.

use serde::{Deserialize, Serialize};

use crate::{
    input::{self, BadInput, same_length},
    optimise::solve_dense,
    special::{sigmoid, sum_softplus},
    table::{Column, Table, UNKNOWN, Values},
};

/// How one column enters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// A number: (value - mean) / spread, and hinges max(0, that - knot); 0 where there is a gap.
    Number {
        /// The column's name.
        name: String,
        /// Mean over training rows without gap.
        mean: f64,
        /// Standard deviation over training rows without gap.
        spread: f64,
        /// Knots in standardised units, ascending.
        knots: Vec<f64>,
        /// Coefficients: of the value, of each hinge, of the gap.
        weights: Vec<f64>,
    },
    /// A category.
    Category {
        /// The column's name.
        name: String,
        /// Names with an own coefficient; all others count as 0.
        names: Vec<String>,
        /// Coefficients, one a name.
        weights: Vec<f64>,
    },
}

/// A published model: log-odds are the intercept plus what each term adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// Log-odds when every term is 0.
    pub intercept: f64,
    /// One term a column that varies.
    pub terms: Vec<Term>,
}

/// A model and what it says of rows left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The published model.
    pub model: Logistic,
    /// For each training row, its log-odds without its fold.
    pub out_of_fold: Vec<f64>,
    /// The penalty chosen: half of it times the squared coefficients is subtracted.
    pub ridge: f64,
    /// Mean logistic loss of `out_of_fold`.
    pub validation_loss: f64,
}

/// Penalties tried, from strong to weak.
const RIDGES: [f64; 3] = [100.0, 10.0, 1.0];
/// Newton steps for the first penalty; later ones start from the answer before.
const MOST_STEPS: usize = 25;
/// Categories with an own coefficient, per column.
const MOST_NAMES: usize = 32;
/// Rows below which a category has no own coefficient.
const LEAST_ROWS: usize = 5;
/// Distinct values from which on a number gets hinges.
const BENDABLE: usize = 12;

/// Fits by penalised maximum likelihood, choosing the penalty on the folds.
///
/// `label` needs both outcomes; `fold[row]` says which fold leaves the row out.
pub fn fit(table: &Table, label: &[bool], fold: &[u8]) -> Result<Fitted, BadInput> {
    same_length("label", label.len(), table.rows())?;
    same_length("fold", fold.len(), table.rows())?;
    input::two_classes("label", label)?;
    let mut terms: Vec<Term> = table.columns().iter().filter_map(term).collect();
    if terms.is_empty() {
        return Err(BadInput::Constant { field: "columns".into() });
    }
    let design = Design::of(table, &terms)?;
    let folds = fold.iter().max().map_or(1, |&f| usize::from(f) + 1);
    let mut weights = vec![0.0; design.width];
    weights[0] = crate::special::logit(label.iter().map(|&y| f64::from(u8::from(y))).sum::<f64>() / float(label.len()));
    let mut best: Option<(f64, f64, Vec<f64>, Vec<f64>)> = None;
    for ridge in RIDGES {
        let (at, state) = climb(&design, label, fold, folds, ridge, &mut weights);
        let left_out = leave_out(&design, fold, &state, ridge, &at);
        let loss = mean_loss(&left_out, label);
        if best.as_ref().is_none_or(|b| loss < b.0) {
            best = Some((loss, ridge, weights.clone(), left_out));
        }
    }
    let (validation_loss, ridge, weights, out_of_fold) = best.expect("at least one penalty was tried");
    let mut rest = &weights[1..];
    for term in &mut terms {
        let (Term::Number { weights, .. } | Term::Category { weights, .. }) = term;
        let (own, others) = rest.split_at(weights.len());
        weights.copy_from_slice(own);
        rest = others;
    }
    Ok(Fitted { model: Logistic { intercept: weights[0], terms }, out_of_fold, ridge, validation_loss })
}

fn mean_loss(answers: &[f64], label: &[bool]) -> f64 {
    sum_softplus(answers.iter().zip(label).map(|(&a, &y)| if y { -a } else { a })) / float(label.len())
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn float(count: usize) -> f64 {
    count as f64
}

/// The term of a column, or nothing when the column does not vary.
fn term(column: &Column) -> Option<Term> {
    match &column.values {
        Values::Numbers(values) => number_term(&column.name, values),
        Values::Categories { codes, names } => {
            let mut counts = vec![0; names.len()];
            codes.iter().filter(|&&c| c != UNKNOWN).for_each(|&c| counts[c as usize] += 1);
            let mut order: Vec<usize> = (0..names.len()).filter(|&i| counts[i] >= LEAST_ROWS).collect();
            order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| names[a].cmp(&names[b])));
            order.truncate(MOST_NAMES);
            let varies = order.len() > 1 || order.first().is_some_and(|&i| counts[i] < codes.len());
            let names: Vec<String> = order.into_iter().map(|i| names[i].clone()).collect();
            varies.then(|| Term::Category { name: column.name.clone(), weights: vec![0.0; names.len()], names })
        }
    }
}

fn number_term(name: &str, values: &[f64]) -> Option<Term> {
    let mut known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    if known.is_empty() {
        return None;
    }
    let gaps = known.len() < values.len();
    known.sort_unstable_by(f64::total_cmp);
    let n = float(known.len());
    let mean = known.iter().sum::<f64>() / n;
    let spread = (known.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    let flat = !spread.is_finite() || spread <= mean.abs() * 1e-12;
    if flat && !gaps {
        return None;
    }
    let spread = if flat { 1.0 } else { spread };
    let distinct = known.windows(2).filter(|w| w[0] < w[1]).take(BENDABLE).count() + 1;
    let mut knots: Vec<f64> = Vec::new();
    if distinct >= BENDABLE {
        for quarter in 1..=3 {
            let knot = (known[known.len() * quarter / 4] - mean) / spread;
            if knots.last().is_none_or(|&k| knot > k) {
                knots.push(knot);
            }
        }
    }
    let weights = vec![0.0; 1 + knots.len() + usize::from(gaps)];
    Some(Term::Number { name: name.into(), mean, spread, knots, weights })
}

/// The rows as few numbers that are not 0: (column, value), the intercept first.
struct Design {
    entries: Vec<(u32, f64)>,
    starts: Vec<usize>,
    width: usize,
}

impl Design {
    fn of(table: &Table, terms: &[Term]) -> Result<Self, BadInput> {
        let rows = table.rows();
        let mut sources = Vec::with_capacity(terms.len());
        let mut first = 1;
        for term in terms {
            let (source, width) = Source::of(table, term, first)?;
            sources.push(source);
            first += width;
        }
        let mut design = Self { entries: Vec::with_capacity(rows * (2 + terms.len())), starts: vec![0], width: first };
        for row in 0..rows {
            design.entries.push((0, 1.0));
            for source in &sources {
                source.write(row, &mut design.entries);
            }
            design.starts.push(design.entries.len());
        }
        Ok(design)
    }

    fn row(&self, row: usize) -> &[(u32, f64)] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn answer(&self, row: usize, weights: &[f64]) -> f64 {
        self.row(row).iter().map(|&(i, v)| weights[i as usize] * v).sum()
    }
}

/// Where the entries of one term come from.
enum Source<'a> {
    Number { values: &'a [f64], mean: f64, spread: f64, knots: &'a [f64], first: u32, gaps: bool },
    Category { codes: &'a [u32], columns: Vec<u32> },
}

impl<'a> Source<'a> {
    fn of(table: &'a Table, term: &'a Term, first: usize) -> Result<(Self, usize), BadInput> {
        let position = |i: usize| u32::try_from(first + i).unwrap_or(UNKNOWN);
        match term {
            Term::Number { name, mean, spread, knots, weights } => {
                let Some(Values::Numbers(values)) = table.column(name).map(|c| &c.values) else {
                    return Err(BadInput::Missing { field: name.clone(), expected: "a column of numbers" });
                };
                let gaps = weights.len() > 1 + knots.len();
                let source = Self::Number { values, mean: *mean, spread: *spread, knots, first: position(0), gaps };
                Ok((source, weights.len()))
            }
            Term::Category { name, names, weights } => {
                let Some(Values::Categories { codes, names: known }) = table.column(name).map(|c| &c.values) else {
                    return Err(BadInput::Missing { field: name.clone(), expected: "a column of categories" });
                };
                let column = |k: &String| names.iter().position(|n| n == k).map_or(UNKNOWN, position);
                Ok((Self::Category { codes, columns: known.iter().map(column).collect() }, weights.len()))
            }
        }
    }

    fn write(&self, row: usize, entries: &mut Vec<(u32, f64)>) {
        match self {
            Self::Number { values, mean, spread, knots, first, gaps } => {
                let mut at = *first;
                if values[row].is_nan() {
                    if *gaps {
                        entries.push((at + u32::try_from(knots.len()).unwrap_or(0) + 1, 1.0));
                    }
                    return;
                }
                // Far outside what training saw, the answer stays at eight spreads.
                let z = ((values[row] - mean) / spread).clamp(-8.0, 8.0);
                entries.push((at, z));
                for knot in *knots {
                    at += 1;
                    if z > *knot {
                        entries.push((at, z - knot));
                    }
                }
            }
            Self::Category { codes, columns } => {
                let column = if codes[row] == UNKNOWN { UNKNOWN } else { columns[codes[row] as usize] };
                if column != UNKNOWN {
                    entries.push((column, 1.0));
                }
            }
        }
    }
}

/// Gradient and negative Hessian (lower triangle) of the log-likelihood, fold by fold.
struct State {
    gradient: Vec<Vec<f64>>,
    curvature: Vec<Vec<f64>>,
}

fn derive(design: &Design, label: &[bool], fold: &[u8], folds: usize, weights: &[f64]) -> State {
    let p = design.width;
    let mut state = State { gradient: vec![vec![0.0; p]; folds], curvature: vec![vec![0.0; p * p]; folds] };
    for row in 0..design.rows() {
        let f = usize::from(fold[row]);
        let chance = sigmoid(design.answer(row, weights));
        let residual = f64::from(u8::from(label[row])) - chance;
        let weight = chance * (1.0 - chance);
        let entries = design.row(row);
        let (gradient, curvature) = (&mut state.gradient[f], &mut state.curvature[f]);
        for (i, &(a, va)) in entries.iter().enumerate() {
            gradient[a as usize] += residual * va;
            let scaled = weight * va;
            // Columns ascend within a row, so the lower triangle ends at the diagonal.
            let line = &mut curvature[a as usize * p..=a as usize * p + a as usize];
            for &(b, vb) in &entries[..=i] {
                line[b as usize] += scaled * vb;
            }
        }
    }
    state
}

/// A step shorter than this in every coefficient is the last: Newton's next one would be about
/// its square.
const LAST_STEP: f64 = 0.05;

/// Newton steps to the penalised maximum; answers where derivatives were last taken, and them.
fn climb(
    design: &Design,
    label: &[bool],
    fold: &[u8],
    folds: usize,
    ridge: f64,
    weights: &mut [f64],
) -> (Vec<f64>, State) {
    let mut steps = 0;
    loop {
        let at = weights.to_vec();
        let state = derive(design, label, fold, folds, weights);
        let step = newton_step(&state, None, ridge, weights);
        let longest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
        let shrink = if longest > 4.0 { 4.0 / longest } else { 1.0 };
        weights.iter_mut().zip(&step).for_each(|(w, s)| *w += shrink * s);
        steps += 1;
        if longest < LAST_STEP || steps == MOST_STEPS {
            return (at, state);
        }
    }
}

/// The step to the maximum of the quadratic model, with one fold left out if wanted.
fn newton_step(state: &State, without: Option<usize>, ridge: f64, weights: &[f64]) -> Vec<f64> {
    let p = weights.len();
    let (mut matrix, mut step) = (vec![0.0; p * p], vec![0.0; p]);
    for f in (0..state.gradient.len()).filter(|&f| Some(f) != without) {
        matrix.iter_mut().zip(&state.curvature[f]).for_each(|(m, c)| *m += c);
        step.iter_mut().zip(&state.gradient[f]).for_each(|(s, g)| *s += g);
    }
    matrix[0] += 1e-9;
    for i in 1..p {
        step[i] -= ridge * weights[i];
        matrix[i * p + i] += ridge;
    }
    if !solve_dense(&mut matrix, &mut step) {
        step.fill(0.0);
    }
    step
}

/// Answers for every row from weights one Newton step away, without the row's fold.
fn leave_out(design: &Design, fold: &[u8], state: &State, ridge: f64, weights: &[f64]) -> Vec<f64> {
    let moved: Vec<Vec<f64>> = (0..state.gradient.len())
        .map(|f| newton_step(state, Some(f), ridge, weights).iter().zip(weights).map(|(s, w)| s + w).collect())
        .collect();
    (0..design.rows()).map(|row| design.answer(row, &moved[usize::from(fold[row])])).collect()
}

impl Logistic {
    /// Log-odds of the rows of a table. Columns are found by name; unknown categories add 0.
    pub fn answers(&self, table: &Table) -> Result<Vec<f64>, BadInput> {
        let design = Design::of(table, &self.terms)?;
        let mut weights = vec![self.intercept];
        for term in &self.terms {
            let (Term::Number { weights: own, .. } | Term::Category { weights: own, .. }) = term;
            weights.extend_from_slice(own);
        }
        Ok((0..table.rows()).map(|row| design.answer(row, &weights)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    fn drawn(rows: usize, seed: u64) -> (Table, Vec<bool>, Vec<u8>) {
        let mut rng = generator(seed);
        let mut draw = || uniform(&mut rng);
        let (mut x, mut gap, mut plan, mut label) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rows {
            let (value, monthly) = (4.0 * draw() - 2.0, draw() < 0.4);
            x.push(value);
            gap.push(if draw() < 0.3 { f64::NAN } else { draw() });
            plan.push(if monthly { "monthly" } else { "yearly" });
            label.push(draw() < sigmoid(1.5 * value - 0.5 + if monthly { 1.0 } else { 0.0 }));
        }
        let columns = vec![Column::numbers("x", x), Column::numbers("gap", gap), Column::categories("plan", plan)];
        let fold = (0..rows).map(|i| u8::try_from(i % 5).unwrap()).collect();
        (Table::new(columns).unwrap(), label, fold)
    }

    #[test]
    fn it_finds_what_made_the_data_and_says_so_of_new_rows() {
        let (table, label, fold) = drawn(3_000, 1);
        let fitted = fit(&table, &label, &fold).unwrap();
        let probe = |x: f64, plan: &str| {
            let columns = vec![
                Column::numbers("x", vec![x]),
                Column::numbers("gap", vec![f64::NAN]),
                Column::categories("plan", [plan]),
            ];
            fitted.model.answers(&Table::new(columns).unwrap()).unwrap()[0]
        };
        assert!((probe(1.0, "yearly") - 1.0).abs() < 0.3, "{}", probe(1.0, "yearly"));
        assert!((probe(0.0, "monthly") - probe(0.0, "yearly") - 1.0).abs() < 0.3);
        assert!(probe(0.0, "never seen").is_finite());
    }

    #[test]
    fn one_newton_step_stands_for_a_refit() {
        let (table, label, fold) = drawn(1_000, 2);
        let fitted = fit(&table, &label, &fold).unwrap();
        let kept: Vec<usize> = (0..1_000).filter(|&i| fold[i] != 3).collect();
        let some = table.take(&kept).unwrap();
        let some_label: Vec<bool> = kept.iter().map(|&i| label[i]).collect();
        let mut weights = vec![0.0; 1];
        let terms: Vec<Term> = table.columns().iter().filter_map(term).collect();
        let design = Design::of(&some, &terms).unwrap();
        weights.resize(design.width, 0.0);
        climb(&design, &some_label, &vec![0; kept.len()], 1, fitted.ridge, &mut weights);
        let whole = Design::of(&table, &terms).unwrap();
        for row in (0..1_000).filter(|&i| fold[i] == 3) {
            assert!((whole.answer(row, &weights) - fitted.out_of_fold[row]).abs() < 0.05);
        }
    }

    #[test]
    fn separable_rows_and_bad_labels_do_no_harm() {
        let table = Table::new(vec![Column::numbers("x", (0..40).map(f64::from).collect())]).unwrap();
        let label: Vec<bool> = (0..40).map(|i| i >= 20).collect();
        let fold: Vec<u8> = (0..40).map(|i| i % 4).collect();
        let fitted = fit(&table, &label, &fold).unwrap();
        assert!(fitted.out_of_fold.iter().all(|a| a.is_finite()));
        assert!(matches!(fit(&table, &[true; 40], &fold), Err(BadInput::OneClass { .. })));
        let flat = Table::new(vec![Column::numbers("x", vec![2.0; 40])]).unwrap();
        assert!(matches!(fit(&flat, &label, &fold), Err(BadInput::Constant { .. })));
    }
}
