//! The audit log read back: newest first, page by page.

use crate::audit::model::Entry;
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::page::{Page, Paging};
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError, codec};

/// The most entries one page looks at; a page may come out short, with a cursor to go on from.
const MOST_LOOKED_AT: usize = 20_000;
/// Entries read from the store at a time.
const READ_AT_ONCE: usize = 500;

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only what this subject did.
    pub actor: Option<UserId>,
    /// Only this action, or, ending in a dot, everything of this slice.
    pub action: Option<String>,
    /// Only what happened to this id.
    pub target: Option<String>,
    /// Only from this moment on.
    pub from: Option<Timestamp>,
    /// Only before this moment.
    pub to: Option<Timestamp>,
}

impl Filter {
    fn accepts(&self, entry: &Entry) -> bool {
        let by = |wanted: UserId| matches!(entry.actor, Actor::Person(id) | Actor::App(id) if id == wanted);
        self.actor.is_none_or(by)
            && self.action.as_ref().is_none_or(|wanted| {
                entry.action == *wanted || (wanted.ends_with('.') && entry.action.starts_with(wanted.as_str()))
            })
            && self.target.as_ref().is_none_or(|wanted| entry.target == *wanted)
            && self.from.is_none_or(|from| from <= entry.at)
            && self.to.is_none_or(|to| entry.at < to)
    }
}

/// The entries that the filter accepts, newest first. May block.
///
/// # Errors
/// When the store fails.
pub fn entries(store: &dyn Store, filter: &Filter, paging: &Paging) -> Result<Page<Entry>, StoreError> {
    let prefix = Key::of(Kind::Audit, &[]);
    let mut last = paging.after.as_ref().map(|after| Key::of(Kind::Audit, &[after]));
    let mut found = Vec::new();
    let mut looked_at = 0;
    loop {
        let page = store.scan(prefix.bytes(), last.as_ref().map(Key::bytes), READ_AT_ONCE)?;
        let is_last = page.len() < READ_AT_ONCE;
        for record in page {
            let entry: Entry = codec::decode(&record.value)?;
            looked_at += 1;
            // Ids sort by time: what follows is older still.
            if filter.from.is_some_and(|from| entry.at < from) {
                return Ok(Page::whole(found));
            }
            last = Some(record.key);
            if filter.accepts(&entry) {
                found.push(entry);
            }
            if found.len() == paging.limit || looked_at >= MOST_LOOKED_AT {
                let cursor = last.as_ref().and_then(|key| key.bytes().get(1..)).unwrap_or_default();
                return Ok(Page::new(found, Some(cursor)));
            }
        }
        if is_last {
            return Ok(Page::whole(found));
        }
    }
}
