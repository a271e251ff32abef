//! What has happened to ids that more has happened to than one insertion.
//!
//! An entry is seen from its version on, up to the next event of its id. Of an id with one entry and no other event
//! nothing is kept here: its part says it all. So this is as large as what was changed and not yet merged away.

use crate::part::Key;
use std::collections::HashMap;

/// Never.
pub const NEVER: u64 = u64::MAX;

/// An insertion or a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When.
    pub version: u64,
    /// Which of the two. An id that is deleted and inserted at one version is deleted first.
    pub is_insert: bool,
}

/// The events of ids.
#[derive(Debug, Default)]
pub struct History {
    events: HashMap<u64, Vec<Event>>,
    /// What no checkpoint has written yet.
    pub unsaved: Vec<(u64, Event)>,
}

impl History {
    /// Notes an event; whether it is new.
    pub fn add(&mut self, id: u64, event: Event) -> bool {
        let is_new = self.restore(id, event);
        if is_new {
            self.unsaved.push((id, event));
        }
        is_new
    }

    /// Notes an event that a checkpoint has.
    pub fn restore(&mut self, id: u64, event: Event) -> bool {
        let events = self.events.entry(id).or_default();
        match events.binary_search(&event) {
            Ok(_) => false,
            Err(at) => {
                events.insert(at, event);
                true
            }
        }
    }

    /// Whether an event is known.
    pub fn has(&self, id: u64, event: Event) -> bool {
        self.of(id).binary_search(&event).is_ok()
    }

    /// The events of an id, in order.
    pub fn of(&self, id: u64) -> &[Event] {
        self.events.get(&id).map_or(&[], Vec::as_slice)
    }

    /// From when on an entry is not seen any more.
    pub fn end(&self, (id, version): Key) -> u64 {
        let after = self.of(id).iter().find(|event| event.version > version);
        after.map_or(NEVER, |event| event.version)
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many events are kept.
    pub fn len(&self) -> usize {
        self.events.values().map(Vec::len).sum()
    }

    /// All ids and their events.
    pub fn all(&self) -> impl Iterator<Item = (u64, Event)> + '_ {
        self.events.iter().flat_map(|(id, events)| events.iter().map(|event| (*id, *event)))
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.events.keys().copied()
    }

    /// Forgets what nobody at or above `since` needs, of an id that has entries of these versions.
    pub fn prune(&mut self, id: u64, since: u64, entries: &[u64]) {
        let Some(events) = self.events.get_mut(&id) else { return };
        let Some(last) = events.iter().rposition(|event| event.version <= since) else { return };
        let Some(kept) = events.get(last).copied() else { return };
        if entries.iter().any(|version| *version < kept.version) {
            return;
        }
        let from = if kept.is_insert { last } else { last + 1 };
        events.drain(..from);
        let says_nothing = match events.as_slice() {
            [] => true,
            [only] => only.is_insert,
            _ => false,
        };
        if says_nothing {
            self.events.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn event(version: u64, is_insert: bool) -> Event {
        Event { version, is_insert }
    }

    #[test]
    fn an_entry_ends_with_the_next_event() {
        let mut history = History::default();
        assert!(history.add(7, event(5, true)) && history.add(7, event(3, true)) && history.add(7, event(9, false)));
        assert!(!history.add(7, event(3, true)));
        assert_eq!([3, 5, 9].map(|version| history.end((7, version))), [5, 9, NEVER]);
        assert_eq!((history.end((8, 1)), history.unsaved.len()), (NEVER, 3));
    }

    #[test]
    fn only_what_nobody_needs_is_forgotten() {
        let make = || {
            let mut history = History::default();
            for (version, is_insert) in [(3, true), (5, true), (9, false)] {
                history.add(7, event(version, is_insert));
            }
            history
        };
        let after = |since, entries: &[u64]| {
            let mut history = make();
            history.prune(7, since, entries);
            history.len()
        };
        assert_eq!(after(4, &[3, 5]), 3, "the entry of version 3 is the one that is seen at 4");
        assert_eq!(after(6, &[3, 5]), 3, "an entry that is still there needs its end");
        assert_eq!(after(6, &[5]), 2);
        assert_eq!(after(9, &[5]), 3);
        assert_eq!(after(9, &[]), 0);
    }
}
