//! Commands: what is asked for, and what it should come to.

use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command};
use perennial_core::time::{Timestamp, Until};

use super::{Expected, Hold, Oracle, Otherwise, Purchase};

impl Oracle {
    /// What a command should come to; done if it should be.
    pub(crate) fn ask(&mut self, now: Timestamp, asked: &Asked) -> Expected {
        if matches!(asked.command, Command::Unmerge) {
            return self.part(now);
        }
        // What only both together could ask for, or may ask only once, depends on the merge.
        let alike = matches!(asked.command, Command::Adjust { points, .. } if points > 0);
        let fresh = self.who(&asked.customer).is_none_or(|who| self.answered(who, asked).is_none());
        match &self.otherwise {
            Some(other) if !self.touches(asked, other) || (alike && fresh && Self::same_standing(asked, other)) => {
                self.also(|other| {
                    let _ = other.ask(now, asked); // What it answers there nobody is told.
                });
            }
            _ => self.otherwise = None,
        }
        if let Command::Merge { from } = &asked.command {
            return self.merge(now, asked, from);
        }
        let who = match (self.who(&asked.customer), &asked.command) {
            (Some(who), _) => who,
            (None, Command::Enroll | Command::Consent { .. }) => self.create(vec![asked.customer.clone()]),
            (None, _) => return Expected::Refused("unknown_customer"),
        };
        self.wake(who, now.as_millis());
        if let Some(earlier) = self.answered(who, asked) {
            return earlier;
        }
        self.remember(who, asked);
        self.people[who].clock = self.people[who].clock.max(now.as_millis());
        let has_joined = matches!(asked.command, Command::Enroll) && self.people[who].joined.is_some();
        let decided = self.decide(who, now.as_millis(), asked);
        self.conclude(who);
        self.regroup(who);
        self.wake(who, now.as_millis()); // Points of long ago may lapse at once.
        match decided {
            Ok(()) if has_joined => Expected::Again,
            Ok(()) => Expected::Done,
            Err(code) => Expected::Refused(code),
        }
    }

    /// Whether a command is about the two who were merged.
    fn touches(&self, asked: &Asked, other: &Otherwise) -> bool {
        let about = |name: &Identifier| self.who(name).is_some_and(|who| other.sides.contains(&who));
        about(&asked.customer) || matches!(&asked.command, Command::Merge { .. })
    }

    /// Whether the named side is a member by itself.
    fn same_standing(asked: &Asked, other: &Otherwise) -> bool {
        let alone = other.all.who(&asked.customer);
        alone.is_some_and(|who| other.all.people[who].joined.is_some())
    }

    fn merge(&mut self, now: Timestamp, asked: &Asked, from: &Identifier) -> Expected {
        let (Some(into), Some(other)) = (self.who(&asked.customer), self.who(from)) else {
            return Expected::Refused("unknown_customer");
        };
        if let Some(earlier) = self.answered(into, asked) {
            return earlier;
        }
        if into != other {
            self.unite(into, other, now.as_millis());
            self.remember(into, asked);
            self.also(|without| without.remember(into, asked));
        }
        Expected::Done
    }

    fn answered(&self, who: usize, asked: &Asked) -> Option<Expected> {
        let key = self.named(asked)?;
        let answers = || self.people[who].answers.iter().rev();
        let own = answers().find(|(known, _)| *known == key);
        let (_, first) = own.or_else(|| answers().find(|(known, _)| known.1 == key.1))?;
        Some(if *first == asked.command { Expected::Again } else { Expected::KeyReused })
    }

    pub(super) fn remember(&mut self, who: usize, asked: &Asked) {
        let key = self.named(asked);
        self.people[who].answers.extend(key.map(|key| (key, asked.command.clone())));
    }

    /// A key belongs to one sort of command and one person, by whose own name they asked: two who turned out to
    /// be one are still told apart.
    fn named(&self, asked: &Asked) -> Option<(usize, String)> {
        let home = self.homes.get(&asked.customer).copied()?;
        asked.key.as_ref().map(|key| (home, format!("{}:{key}", asked.command.name())))
    }

    fn decide(&mut self, who: usize, now: i64, asked: &Asked) -> Result<(), &'static str> {
        if matches!(asked.command, Command::Enroll) {
            if self.people[who].joined.is_none() {
                self.people[who].joined = Some(now);
                self.people[who].tier = self.lowest();
            }
            return Ok(());
        }
        if matches!(asked.command, Command::Consent { .. }) {
            return Ok(());
        }
        if self.people[who].joined.is_none() {
            return Err("not_a_member");
        }
        match &asked.command {
            Command::Redeem { reward, quantity } => self.redeem(who, reward, *quantity, asked.key.as_deref()),
            Command::Adjust { points, .. } if *points > 0 => {
                self.grant(who, *points, now, now);
                Ok(())
            }
            Command::Adjust { points: 0, .. } => Err("nothing_to_do"),
            Command::Adjust { points, .. } => {
                for (lot, amount) in self.enough(who, -points)? {
                    self.lots[lot].available -= amount;
                }
                Ok(())
            }
            Command::Hold { points, length, hold } => self.hold(who, *points, now + length.millis, hold),
            Command::Capture { hold, points } => {
                let at = self.open_hold(who, hold)?;
                let held: i64 = self.people[who].holds[at].lots.iter().map(|(_, n)| n).sum();
                let asked = points.unwrap_or(held);
                if asked > held || asked <= 0 {
                    return Err("insufficient_points");
                }
                self.end_hold(who, at, asked, now);
                self.pay_by_hold(who, self.people[who].holds[at].at, now);
                Ok(())
            }
            Command::Release { hold } => {
                let at = self.open_hold(who, hold)?;
                self.end_hold(who, at, 0, now);
                Ok(())
            }
            Command::Undo { redemption } => self.undo(who, redemption, now),
            Command::SetTier { tier, until: Until::Instant(until) } => self.give(who, now, tier, until.as_millis()),
            Command::Review { activity, approve, .. } => self.judge(who, activity, *approve),
            other => unreachable!("the shop does not ask for {other:?}"),
        }
    }

    fn enough(&self, who: usize, asked: i64) -> Result<Vec<(usize, i64)>, &'static str> {
        if self.available(who) < asked { Err("insufficient_points") } else { Ok(self.earliest(who, asked, None)) }
    }

    fn redeem(&mut self, who: usize, id: &str, quantity: u32, key: Option<&str>) -> Result<(), &'static str> {
        let edition = self.edition();
        let reward = edition.rewards().into_iter().find(|reward| *reward.id == *id).ok_or("unknown_reward")?;
        let held = self.people[who].tier.as_ref().and_then(|tier| edition.position(tier.level)).unwrap_or(0);
        if reward.tier.and_then(|tier| edition.position(tier)).is_some_and(|least| held < least) {
            return Err("tier_required");
        }
        let pieces = i64::from(quantity.max(1));
        let had = self.people[who].bought.iter().filter(|b| *b.reward == *id && !b.undone).map(|b| b.pieces);
        if reward.per_member.is_some_and(|most| had.sum::<i64>() + pieces > most) {
            return Err("limit_reached");
        }
        let stock = reward.stock;
        if stock.is_some_and(|stock| stock - self.taken(id) < pieces) {
            return Err("out_of_stock");
        }
        let lots = self.enough(who, reward.price * pieces)?;
        for (lot, amount) in &lots {
            self.lots[*lot].available -= amount;
            self.lots[*lot].spent += amount;
        }
        if stock.is_some() {
            *self.taken.entry(id.into()).or_default() += pieces;
        }
        let key = key.unwrap_or_default().into();
        let at = self.people[who].clock;
        self.people[who].bought.push(Purchase { key, at, reward: id.into(), pieces, lots, undone: false });
        Ok(())
    }

    fn undo(&mut self, who: usize, key: &str, now: i64) -> Result<(), &'static str> {
        let bought = self.people[who].bought.iter_mut().find(|b| *b.key == *key).ok_or("unknown_redemption")?;
        if std::mem::replace(&mut bought.undone, true) {
            return Ok(());
        }
        let bought = bought.clone();
        for (lot, amount) in bought.lots {
            self.lots[lot].spent -= amount;
            self.lots[lot].available += amount;
            self.take_borne(who, lot, amount, bought.at);
            self.settle(who, lot);
            self.lapse(lot, now);
        }
        if let Some(taken) = self.taken.get_mut(&bought.reward) {
            *taken -= bought.pieces;
        }
        Ok(())
    }

    fn hold(&mut self, who: usize, points: i64, until: i64, name: &str) -> Result<(), &'static str> {
        if self.people[who].holds.iter().any(|h| *h.name == *name) {
            return Err("hold_exists");
        }
        let lots = self.enough(who, points)?;
        for (lot, amount) in &lots {
            self.lots[*lot].available -= amount;
            self.lots[*lot].held += amount;
        }
        let at = self.people[who].clock;
        self.people[who].holds.push(Hold { name: name.into(), at, until, lots, open: true });
        Ok(())
    }

    fn open_hold(&self, who: usize, name: &str) -> Result<usize, &'static str> {
        let holds = &self.people[who].holds;
        holds.iter().position(|h| *h.name == *name && h.open).ok_or("hold_expired")
    }
}
