//! Which stored resources of a type somebody may do something to: all of them, at one revision.
//!
//! The resources are read while others write. Then the commits that came meanwhile are looked at, and what they touched is
//! asked about again, with all that stands below it, until everything is as it was at one revision (as in `survey`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::access::passed::{Passed, Standing};
use crate::access::published::PublishedBook;
use crate::access::review::search::Found;
use crate::access::review::survey::{self, Limits, SurveyError};
use crate::access::role_book::RoleBook;
use crate::access::variables::Asked;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::resources::listing::{self, Places};
use crate::resources::model::{Known, ResourceName, keys_of_children, keys_of_type};
use crate::store::key::Kind as RecordKind;
use crate::store::{Key, Revision, Store, StoreError, codec};
use crate::user::User;

/// How often the whole is begun anew, because the role book or the subject changed.
const BEGINNINGS: usize = 8;
/// How often what changed meanwhile is asked about again.
const ROUNDS: usize = 64;
/// Commits looked at in one go.
const CHANGES_AT_ONCE: usize = 100_000;
/// Resources read from the store at a time.
const READ_AT_ONCE: usize = 500;

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Sought {
    /// Who must be allowed.
    pub subject: UserId,
    /// What.
    pub permission: String,
    /// Resources of this type.
    pub kind: Box<str>,
    /// What conditions may look at.
    pub passed: Passed,
}

/// The resources that were touched, and whether each is still there.
type Touched = BTreeMap<ResourceName, bool>;
/// The ids that were found, all of it as it was at this revision.
type Settled = (Revision, Vec<Box<str>>);

/// One search under way.
struct Search<'a> {
    store: &'a dyn Store,
    sought: &'a Sought,
    passed: Passed,
    book: Arc<RoleBook>,
    subject: User,
    now: Timestamp,
    limits: &'a Limits<'a>,
    bytes: usize,
    places: Places,
}

/// Everything that is found, by id, and the revision at which it is so. May block for long.
///
/// # Errors
/// When the store fails, too much is changing, or a limit is reached.
pub fn search(
    store: &dyn Store,
    published: &PublishedBook,
    sought: &Sought,
    now: Timestamp,
    limits: &Limits<'_>,
) -> Result<(Revision, Vec<Found>), SurveyError> {
    for _ in 0..BEGINNINGS {
        let begun = store.revision();
        let Some(book) = survey::book_of_store(store, published)? else { continue };
        let Some(subject) = survey::read(store, sought.subject)? else { return Ok((begun, Vec::new())) };
        let (passed, places) = (sought.passed.clone(), Places::default());
        let mut search = Search { store, sought, passed, book, subject, now, limits, bytes: 0, places };
        let found = search.collect()?;
        match search.caught_up(found, begun) {
            Ok(Some((revision, found))) => return Ok((revision, found.into_iter().map(Found::Text).collect())),
            // The journal does not reach back so far: it is a matter of having taken too long.
            Ok(None) | Err(SurveyError::Store(StoreError::Compacted { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Err(SurveyError::Unsettled)
}

impl Search<'_> {
    /// Asks about every resource, each as it is at that moment.
    fn collect(&mut self) -> Result<Vec<Box<str>>, SurveyError> {
        let prefix = keys_of_type(&self.sought.kind);
        let (mut found, mut after) = (Vec::new(), None::<Key>);
        loop {
            self.limits.refuse(self.bytes)?;
            let page = self.store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
            let is_last = page.len() < READ_AT_ONCE;
            after = page.last().map(|record| record.key.clone());
            for record in page {
                let known = Known::new(record.revision, Some(codec::decode(&record.value)?));
                let name = listing::named_in(&record, 1)?;
                if self.allows(&name, known)? {
                    self.bytes += size_of::<Found>() + name.id().len();
                    found.push(name.id().into());
                    self.limits.refuse(self.bytes)?;
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    fn allows(&mut self, name: &ResourceName, known: Known) -> Result<bool, SurveyError> {
        let Some(resource) = &known.resource else { return Ok(false) };
        let scope = self.places.of(self.store, resource)?;
        self.passed.resource_id = Some(name.id().into());
        self.passed.standing = Some(Standing::at(Arc::new(known), scope.clone()));
        let plain = Asked::plain(&self.subject, &self.sought.permission, &scope, self.now);
        Ok(Asked { passed: &self.passed, ..plain }.decide(&self.book).allows())
    }

    /// Asks again about what changed since `begun`, until there is a revision at which everything is as it was found.
    /// `None` when the book or the subject is another one.
    fn caught_up(&mut self, found: Vec<Box<str>>, begun: Revision) -> Result<Option<Settled>, SurveyError> {
        let mut later: BTreeMap<Box<str>, bool> = BTreeMap::new();
        let (mut looked_at, mut revision) = (begun, self.store.revision());
        for _ in 0..ROUNDS {
            let Some(touched) = self.touched(looked_at, revision)? else { return Ok(None) };
            looked_at = revision;
            if self.look_again(&touched, revision, &mut later)? {
                return Ok(Some((revision, merged(found, later))));
            }
            revision = self.store.revision();
        }
        Err(SurveyError::Unsettled)
    }

    /// Asks again about these and all below them; whether everything is as it was at this revision.
    fn look_again(
        &mut self,
        touched: &Touched,
        revision: Revision,
        later: &mut BTreeMap<Box<str>, bool>,
    ) -> Result<bool, SurveyError> {
        self.places = Places::default();
        let (mut waiting, mut seen) = (touched.keys().copied().collect::<Vec<_>>(), BTreeSet::new());
        let mut is_moment = true;
        while let Some(name) = waiting.pop() {
            if !seen.insert(name) {
                continue;
            }
            self.limits.refuse(self.bytes)?;
            let known = listing::read(self.store, &name)?;
            let is_there = touched.get(&name).copied().unwrap_or(true);
            is_moment &= known.resource.is_some() == is_there && known.revision <= revision;
            if name.kind() == &*self.sought.kind {
                later.insert(name.id().into(), self.allows(&name, known)?);
            }
            waiting.extend(listing::children(self.store, &name)?);
        }
        // Who was below one of them at that revision, and is not any more, was not asked about: the next round does.
        is_moment &= !self.lost_children(&seen, revision)?;
        Ok(is_moment && self.places.revision <= revision)
    }

    /// Whether a commit after this revision took a child from one of these.
    fn lost_children(&self, from: &BTreeSet<ResourceName>, since: Revision) -> Result<bool, StoreError> {
        let (mut lost, mut looked_at, newest) = (Vec::new(), since, self.store.revision());
        while looked_at < newest {
            for change in self.store.changes_since(looked_at, CHANGES_AT_ONCE)? {
                looked_at = change.revision;
                let gone = change.writes.into_iter().filter(|write| write.value.is_none()).map(|write| write.key);
                lost.extend(gone.filter(|key| key.kind() == Some(RecordKind::ResourceChild)));
            }
        }
        if lost.is_empty() {
            return Ok(false);
        }
        let entries: Vec<Key> = from.iter().map(keys_of_children).collect();
        Ok(entries.iter().any(|own| lost.iter().any(|key| key.bytes().starts_with(own.bytes()))))
    }

    /// The resources that the commits after `from` touched, up to `to`; none: they touched the book or the subject.
    fn touched(&self, from: Revision, to: Revision) -> Result<Option<Touched>, SurveyError> {
        let (mut touched, mut looked_at) = (Touched::new(), from);
        let head = User::head(self.sought.subject);
        while looked_at < to {
            for change in self.store.changes_since(looked_at, CHANGES_AT_ONCE)? {
                if change.revision > to {
                    looked_at = to;
                    break;
                }
                looked_at = change.revision;
                for write in &change.writes {
                    match write.key.kind() {
                        Some(RecordKind::Book) => return Ok(None),
                        Some(RecordKind::Account) if write.key == head => return Ok(None),
                        Some(RecordKind::Resource) => {
                            let name = write.key.bytes().get(1..).and_then(ResourceName::from_bytes);
                            touched.extend(name.map(|name| (name, write.value.is_some())));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(Some(touched))
    }
}

/// What was found first, with what was found later in its place.
fn merged(found: Vec<Box<str>>, later: BTreeMap<Box<str>, bool>) -> Vec<Box<str>> {
    if later.is_empty() {
        return found;
    }
    let mut all: Vec<Box<str>> = found.into_iter().filter(|id| !later.contains_key(id)).collect();
    all.extend(later.into_iter().filter(|(_, is_found)| *is_found).map(|(id, _)| id));
    all.sort_unstable();
    all
}
