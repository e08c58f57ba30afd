//! Who an input is about: the identifier index and the making of customers.

use perennial_core::customer::Customer;
use perennial_core::event::{Body, Event};
use perennial_core::fact::Fact;
use perennial_core::id::{CustomerId, Identifier, IdentifierKind};
use perennial_core::identity;
use perennial_core::input::Input;
use perennial_core::value::Value;
use perennial_store::Failure;

use super::Workspace;

impl Workspace {
    /// Whom an identifier names; one of our own ids names itself, or who it became part of.
    pub(super) fn owner(&mut self, id: &Identifier) -> Result<Option<CustomerId>, Failure> {
        if let (IdentifierKind::User, Ok(own)) = (&id.kind, id.value.parse()) {
            let own = self.warm.survivor(own)?;
            return Ok(self.warm.get(own)?.map(|c| c.id));
        }
        let hash = id.hashed(&self.secret());
        let Some(known) = self.warm.lookup(hash)? else { return Ok(None) };
        Ok(self.warm.get(known)?.map(|c| c.id)) // Nobody, when they were erased.
    }

    /// The root profiles of whom an identifier names.
    ///
    /// # Errors
    /// The store's failure.
    pub fn roots_of(&mut self, who: &Identifier) -> Result<Option<Vec<CustomerId>>, Failure> {
        let Some(id) = self.owner(who)? else { return Ok(None) };
        Ok(self.warm.get(id)?.map(|customer| customer.roots.clone()))
    }

    /// Adds the names that an event's traits and alias say; which one the alias says.
    pub(super) fn name_fully(&mut self, event: &mut Event) -> Result<Option<Identifier>, Failure> {
        self.name_by_traits(event);
        self.name_by_alias(event)
    }

    /// The customer of an event, made or merged as its identifiers say, with everything due before
    /// the event done. Facts of its making are added to `made`; nothing wakes once there are some.
    pub(super) fn resolve(&mut self, event: &mut Event, made: &mut Vec<Fact>) -> Result<CustomerId, Failure> {
        self.name_fully(event)?;
        let secret = self.secret();
        let warm = std::cell::RefCell::new(&mut self.warm);
        let found = identity::resolve(
            &event.ids,
            |id| warm.borrow_mut().lookup(id.hashed(&secret)),
            |customer| {
                let mut warm = warm.borrow_mut();
                let names = warm.get(customer)?.map(|c| c.identifiers.iter().map(|(id, _)| id.clone()).collect());
                Ok::<_, Failure>(names.unwrap_or_default())
            },
        )?;
        let id = if let Some(id) = found.customer {
            self.wake(id, event.at)?;
            id
        } else {
            let first = found.link.iter().min().or(event.ids.first()).cloned();
            let first = first.ok_or_else(|| super::misfit("resolve an event", "it names nobody"))?;
            self.create(&first, made)?
        };
        // Before there is a programme nothing can follow: they stay two until they are named together again.
        let merge = if self.rules.latest().is_some() { found.merge } else { Vec::new() };
        for other in merge {
            self.join(id, other, event.at, Input::Joined { at: event.at })?;
        }
        let root = self.warm.get(id)?.map_or(id, |c| c.root_of(&event.ids));
        for name in &found.link {
            self.link(id, name, root, made)?;
        }
        made.extend(found.left_out.iter().map(|name| Fact::Unlinked(name.hashed(&secret))));
        Ok(id)
    }

    /// The earlier name of an alias call names the customer too. The wire does not say what sort of
    /// name it is: the sort that somebody is known by wins. Two accounts stay two: only a merge by
    /// hand makes them one.
    fn name_by_alias(&mut self, event: &mut Event) -> Result<Option<Identifier>, Failure> {
        let Body::Alias { previous } = &event.body else { return Ok(None) };
        let mut name = previous.clone();
        let is_user = name.kind == IdentifierKind::User;
        let other = if is_user { IdentifierKind::Anonymous } else { IdentifierKind::User };
        if !self.is_known(&name)?
            && let Some(other) = Identifier::new(other, &name.value)
            && self.is_known(&other)?
        {
            name = other;
        }
        let account = |id: &Identifier| id.kind == IdentifierKind::User;
        let second_account = account(&name) && event.ids.iter().any(account);
        if !second_account && !event.ids.contains(&name) {
            event.ids.push(name.clone());
        }
        Ok(Some(name))
    }

    /// Whether a name is somebody's, or was until they were erased.
    fn is_known(&mut self, name: &Identifier) -> Result<bool, Failure> {
        Ok(self.owner(name)?.is_some() || self.is_erased(name)?)
    }

    /// Traits that the programme declares as identifying name the customer too.
    fn name_by_traits(&self, event: &mut Event) {
        let Some(edition) = self.rules.latest() else { return };
        for (name, declared) in &edition.program.traits {
            let Some(kind) = &declared.identifies else { continue };
            let said = event.traits.get(name).and_then(Value::as_text);
            let id = said.and_then(|text| Identifier::new(kind.clone(), text));
            if let Some(id) = id.filter(|id| !event.ids.contains(id)) {
                event.ids.push(id);
            }
        }
    }

    /// Makes a customer under an identifier.
    pub(super) fn create(&mut self, first: &Identifier, made: &mut Vec<Fact>) -> Result<CustomerId, Failure> {
        let mut nth = 0;
        let id = loop {
            let id = CustomerId::derive(&self.secret(), first, nth);
            if self.warm.get(id)?.is_none() && self.warm.survivor(id)? == id {
                break id;
            }
            nth += 1;
        };
        let (features, version) =
            self.rules.latest().map_or((Vec::new(), 0), |e| (e.blank_features(), e.program.version));
        self.warm.put(Customer::new(id, features, version), true);
        made.push(Fact::Created);
        self.link(id, first, id, made)?;
        Ok(id)
    }

    /// A name for a customer; it belongs to the root profile whose name came with it.
    fn link(
        &mut self,
        id: CustomerId,
        name: &Identifier,
        root: CustomerId,
        made: &mut Vec<Fact>,
    ) -> Result<(), Failure> {
        let hash = name.hashed(&self.secret());
        if self.warm.lookup(hash)? == Some(id) {
            return Ok(());
        }
        self.warm.link(hash, id);
        if let Some(customer) = self.warm.get_mut(id)? {
            customer.identifiers.push((name.clone(), root));
        }
        made.push(Fact::Linked(hash));
        Ok(())
    }
}
