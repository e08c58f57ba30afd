//! The recommender: trained by itself, asked by name, and every answer with its reason.
//!
//! Promise: the same table, task and effort give the same model and the same lists. Lists hold as
//! many items as were asked for while there are allowed ones: where the blend is silent,
//! popularity fills up.

use super::{
    Error, Halt, Task,
    blend::scale,
    choose::{Choice, Search, Trial, choose},
    interactions::{Case, Histories, Interactions, Names},
    method::{Corpus, Method},
    parallel,
    popularity::Popularity,
    session::{Like, Sessions},
    sparse::{ItemMatrix, Voices},
    top,
    validate::{Validation, ban},
};
use serde::{Deserialize, Serialize};

/// How much work the automatic choice may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Held-out questions by which settings are compared; more is surer and slower.
    pub questions: usize,
    /// Threads; the result does not depend on them.
    pub threads: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { questions: 2000, threads: 1 }
    }
}

/// Why an item is recommended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The customer bought the item itself before, so many times.
    BoughtBefore(usize),
    /// It goes with this item of the customer's history, basket or session.
    GoesWith(String),
    /// Customers or sessions alike took it.
    SimilarCustomers,
    /// Many take it.
    Popular,
}

/// One recommended item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The item's name.
    pub item: String,
    /// Score; comparable within one list only.
    pub score: f32,
    /// Where it comes from.
    pub reason: Reason,
}

/// A published recommender: plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommender {
    /// What it answers.
    pub task: Task,
    /// The customers it knows.
    pub users: Names,
    /// The items it knows.
    pub items: Names,
    /// How it was chosen.
    pub choice: Choice,
    parts: Vec<(Method, f32)>,
    /// Popularity, too small to outweigh anything that the blend says.
    fill: Vec<f32>,
    histories: Histories,
    now: f64,
}

/// What popularity counts against the blend: enough to break ties and fill up.
const FILL: f32 = 1e-6;

impl Recommender {
    /// Holds out a part of the table, tries what suits the task, blends the best, and fits the blend
    /// on the whole table. `watch` sees each trial as it ends.
    ///
    /// # Errors
    /// [`Error::Empty`] when the table is too small to hold anything out, and what the methods say.
    pub fn train(
        data: &Interactions,
        task: Task,
        effort: Effort,
        watch: &mut dyn FnMut(&Trial),
    ) -> Result<Self, Error> {
        let choice = Self::choose(data, task, &Search { effort, ..Search::default() }, watch)?;
        Self::fit(data, task, choice, effort.threads, &Halt::default())
    }

    /// The first half of [`Self::train`]: what suits the task, of what the search may try.
    ///
    /// # Errors
    /// As [`Self::train`], and [`Error::CalledOff`].
    pub fn choose(
        data: &Interactions,
        task: Task,
        search: &Search,
        watch: &mut dyn FnMut(&Trial),
    ) -> Result<Choice, Error> {
        let mut validation = Validation::split(data, task, search.effort.questions);
        validation.corpus.halt = search.halt.clone();
        choose(&validation, task, search, watch)
    }

    /// Fits a choice that was made before.
    ///
    /// # Errors
    /// What the methods say, and [`Error::CalledOff`].
    pub fn fit(data: &Interactions, task: Task, choice: Choice, threads: usize, halt: &Halt) -> Result<Self, Error> {
        let corpus = Corpus { halt: halt.clone(), ..Corpus::new(data, task == Task::Session) };
        let fitted = |(settings, weight): &(super::Settings, f32)| Ok((settings.fit(&corpus, threads)?, *weight));
        let parts = choice.blend.iter().map(fitted).collect::<Result<_, Error>>()?;
        let popular = Popularity::fit(&corpus.baskets, corpus.items, corpus.now, None).counts;
        let most = popular.iter().copied().fold(1.0, f32::max);
        let fill = popular.iter().map(|count| FILL * count / most).collect();
        let histories = match task {
            Task::ForYou => corpus.once,
            Task::Again => corpus.full,
            Task::Together | Task::Session => Histories::none(data.users.len()),
        };
        let (users, items) = (data.users.clone(), data.items.clone());
        Ok(Self { task, users, items, choice, parts, fill, histories, now: corpus.now })
    }

    /// The best `top` items for a customer by name; for one never seen, what is popular.
    pub fn for_customer(&self, name: &str, top: usize) -> Vec<Recommendation> {
        let case = self.users.find(name).map(|user| self.histories.case(user as usize, self.now));
        self.answer(&case.unwrap_or_default(), top, &mut Desk::new(self), None)
    }

    /// The best `top` items after some items, oldest first: a basket, or the views of a session.
    /// Names that are not known are passed over.
    pub fn after<S: AsRef<str>>(&self, context: &[S], top: usize) -> Vec<Recommendation> {
        self.answer(&self.case_of(context), top, &mut Desk::new(self), None)
    }

    /// As [`Self::for_customer`], with only those items for which `allow` says yes.
    pub fn for_customer_among(&self, name: &str, top: usize, allow: &dyn Fn(&str) -> bool) -> Vec<Recommendation> {
        let case = self.users.find(name).map(|user| self.histories.case(user as usize, self.now));
        self.answer(&case.unwrap_or_default(), top, &mut Desk::new(self), Some(&|item| allow(self.items.name(item))))
    }

    /// As [`Self::after`], with only those items for which `allow` says yes.
    pub fn after_among<S: AsRef<str>>(
        &self,
        context: &[S],
        top: usize,
        allow: &dyn Fn(&str) -> bool,
    ) -> Vec<Recommendation> {
        self.answer(&self.case_of(context), top, &mut Desk::new(self), Some(&|item| allow(self.items.name(item))))
    }

    /// As [`Self::after_among`], for items by number.
    pub fn after_numbers(&self, items: &[u32], top: usize, allow: &dyn Fn(u32) -> bool) -> Vec<Recommendation> {
        self.answer(&Case::of_session(items), top, &mut Desk::new(self), Some(allow))
    }

    /// As [`Self::after_among`], for a history with its times, oldest first, in the unit of the table:
    /// customers need not be among those it was trained on.
    pub fn after_history(
        &self,
        touches: &[(&str, f64)],
        top: usize,
        allow: &dyn Fn(&str) -> bool,
    ) -> Vec<Recommendation> {
        let known: Vec<(u32, f64)> =
            touches.iter().filter_map(|(name, at)| Some((self.items.find(name)?, *at))).collect();
        self.after_history_of_numbers(&known, top, &|item| allow(self.items.name(item)))
    }

    /// As [`Self::after_history`], for items by number.
    pub fn after_history_of_numbers(
        &self,
        touches: &[(u32, f64)],
        top: usize,
        allow: &dyn Fn(u32) -> bool,
    ) -> Vec<Recommendation> {
        let case = Case::of_history(touches, self.now, self.task == Task::ForYou);
        self.answer(&case, top, &mut Desk::new(self), Some(allow))
    }

    /// The same without the customers it was trained on: it is asked with their histories, and none
    /// of them stays in it.
    #[must_use]
    pub fn without_customers(self) -> Self {
        Self { users: Names::default(), histories: Histories::none(0), ..self }
    }

    /// Lists for many customers, in their order.
    pub fn for_customers<S: AsRef<str> + Sync>(
        &self,
        names: &[S],
        top: usize,
        threads: usize,
    ) -> Vec<Vec<Recommendation>> {
        self.many(names.len(), top, threads, |place| {
            let user = self.users.find(names[place].as_ref());
            user.map(|user| self.histories.case(user as usize, self.now)).unwrap_or_default()
        })
    }

    /// Lists for many contexts, in their order.
    pub fn after_each<S: AsRef<str> + Sync>(
        &self,
        contexts: &[Vec<S>],
        top: usize,
        threads: usize,
    ) -> Vec<Vec<Recommendation>> {
        self.many(contexts.len(), top, threads, |place| self.case_of(&contexts[place]))
    }

    fn many(
        &self,
        count: usize,
        top: usize,
        threads: usize,
        case: impl Fn(usize) -> Case + Sync,
    ) -> Vec<Vec<Recommendation>> {
        let parts = parallel::runs(count, 64, threads, |range| {
            let mut desk = Desk::new(self);
            range.map(|place| self.answer(&case(place), top, &mut desk, None)).collect::<Vec<_>>()
        });
        parts.into_iter().flatten().collect()
    }

    /// Numbers and scores of the best items for many customers by number, without names and reasons:
    /// the fast way to fill a whole shop's lists. [`Self::why`] gives a reason when one is wanted.
    pub fn rank_customers(&self, users: &[u32], top: usize, threads: usize) -> Vec<Vec<(u32, f32)>> {
        let parts = parallel::runs(users.len(), 64, threads, |range| {
            let mut desk = Desk::new(self);
            let mut lists = Vec::with_capacity(range.len());
            for &user in &users[range] {
                let case = self.histories.case(user as usize, self.now);
                self.rank(&case, top, &mut desk, None);
                lists.push(desk.list.clone());
            }
            lists
        });
        parts.into_iter().flatten().collect()
    }

    /// How much two items go together, by the larger of the weights between them, in `0..=1` where the weights
    /// are cosines; 0 where no method has such weights.
    pub fn likeness(&self, one: u32, other: u32) -> f32 {
        let linked = self.parts.iter().filter_map(|(method, _)| method.linked());
        let both = |matrix: &ItemMatrix| matrix.weight(one, other).max(matrix.weight(other, one));
        linked.map(|linked| both(&linked.matrix)).fold(0.0, f32::max).min(1.0)
    }

    /// Why an item is right for a customer; `None` for names that are not known.
    pub fn why(&self, customer: &str, item: &str) -> Option<Reason> {
        let case = self.histories.case(self.users.find(customer)? as usize, self.now);
        Some(self.reason(&case, self.items.find(item)?, &self.links(&case)))
    }

    fn case_of<S: AsRef<str>>(&self, context: &[S]) -> Case {
        let known: Vec<u32> = context.iter().filter_map(|name| self.items.find(name.as_ref())).collect();
        Case::of_session(&known)
    }

    fn answer(&self, case: &Case, top: usize, desk: &mut Desk, allow: Allow) -> Vec<Recommendation> {
        self.rank(case, top, desk, allow);
        let name = |item: u32| self.items.name(item).to_owned();
        let links = self.links(case);
        let why = |item: u32, score| match self.reason(case, item, &links) {
            Reason::SimilarCustomers if score <= self.fill[item as usize] => Reason::Popular,
            reason => reason,
        };
        let list = desk.list.iter();
        list.map(|&(item, score)| Recommendation { item: name(item), score, reason: why(item, score) }).collect()
    }

    /// What reasons are read from.
    fn links(&self, case: &Case) -> Vec<Link<'_>> {
        self.parts.iter().filter_map(|(method, _)| Link::of(method, case)).collect()
    }

    /// Fills the desk's list with the best items.
    fn rank(&self, case: &Case, top: usize, desk: &mut Desk, allow: Allow) {
        desk.sums.copy_from_slice(&self.fill);
        let banned = Validation::banned(self.task, case);
        for (method, weight) in &self.parts {
            method.score(case, &mut desk.scores);
            ban(&mut desk.scores, banned);
            let own = if self.choice.own_scale { scale(&desk.scores, &mut desk.list) } else { 1.0 };
            let factor = weight * own;
            if factor > 0.0 {
                desk.sums.iter_mut().zip(&desk.scores).for_each(|(sum, score)| *sum += factor * *score);
            }
        }
        ban(&mut desk.sums, banned);
        allowed(&mut desk.sums, top, allow, &mut desk.list);
    }

    fn reason(&self, case: &Case, item: u32, links: &[Link<'_>]) -> Reason {
        let before = case.items.iter().filter(|&&other| other == item).count();
        if before > 0 {
            return Reason::BoughtBefore(before);
        }
        match links.iter().find_map(|link| link.reason(case, item)) {
            Some(source) => Reason::GoesWith(self.items.name(source).to_owned()),
            None if !case.items.is_empty() && self.parts.iter().any(|(method, _)| method.compares_customers()) => {
                Reason::SimilarCustomers
            }
            None => Reason::Popular,
        }
    }
}

/// Where a reason can be read.
enum Link<'a> {
    /// A matrix, with what the touches of the case say there.
    Items(Voices<'a>),
    /// Past sessions, with those that vote.
    Visits(&'a Sessions, Vec<Like>),
}

impl<'a> Link<'a> {
    fn of(method: &'a Method, case: &Case) -> Option<Self> {
        if let Method::Sessions(sessions) = method {
            return Some(Self::Visits(sessions, sessions.neighbours(case)));
        }
        let linked = method.linked()?;
        Some(Self::Items(linked.matrix.voices(case, |place| linked.fading.factor(case, place))))
    }

    /// The item of the case that speaks most for another.
    fn reason(&self, case: &Case, item: u32) -> Option<u32> {
        match self {
            Self::Items(voices) => Some(voices.reason(item)?.0),
            Self::Visits(sessions, near) => sessions.reason(case, near, item),
        }
    }
}

/// A condition on items by number; none allows all.
type Allow<'a> = Option<&'a dyn Fn(u32) -> bool>;

/// So many items more than asked for are looked at before all are: a condition mostly leaves out few.
const SPARE: usize = 16;

/// The best allowed items.
fn allowed(sums: &mut [f32], top: usize, allow: Allow, list: &mut Vec<(u32, f32)>) {
    let Some(allow) = allow else { return top::best(sums, top, list) };
    top::best(sums, top.saturating_add(SPARE), list);
    let all = list.len() < top.saturating_add(SPARE);
    list.retain(|&(item, _)| allow(item));
    if !all && list.len() < top {
        for (item, sum) in sums.iter_mut().enumerate() {
            if *sum > f32::NEG_INFINITY && !allow(top::index(item)) {
                *sum = f32::NEG_INFINITY;
            }
        }
        top::best(sums, top, list);
    }
    list.truncate(top);
}

/// Room to work in, kept between questions.
struct Desk {
    scores: Vec<f32>,
    sums: Vec<f32>,
    list: Vec<(u32, f32)>,
}

impl Desk {
    fn new(model: &Recommender) -> Self {
        let items = model.items.len();
        Self { scores: vec![0.0; items], sums: vec![0.0; items], list: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_allowed_items_are_those_that_remain_when_the_others_are_struck_out(
            scores in prop::collection::vec(-50i16..50, 0..120),
            top in 0usize..30,
            every in 1u32..40,
            keeps in proptest::bool::ANY,
        ) {
            let mut sums: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let allow = |item: u32| item.is_multiple_of(every) == keeps;
            let mut struck = sums.clone();
            struck.iter_mut().enumerate().filter(|(item, _)| !allow(top::index(*item))).for_each(|(_, sum)| *sum = f32::NEG_INFINITY);
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            top::best(&struck, top, &mut expected);
            allowed(&mut sums, top, Some(&allow), &mut found);
            prop_assert_eq!(found, expected);
        }
    }
}
