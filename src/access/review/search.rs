//! What searches find: every subject that a permission is allowed to in one place, and other things by name.

use std::sync::Arc;

use crate::access::holders::List;
use crate::access::passed::Passed;
use crate::access::pattern::{PermissionName, Scope};
use crate::access::review::open::{Looks, Right, Side};
use crate::access::review::preview::patterns_about;
use crate::access::review::shelf::Weigh;
use crate::access::review::survey::Question;
use crate::access::role_book::RoleBook;
use crate::access::subject::{self, Subject, SubjectRule};
use crate::access::variables::Asked;
use crate::accounts::model::{Account, Name, Nature, subject_text};
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::text::ExternalId;
use crate::store::{Revision, Store, StoreError};
use crate::user::User;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A subject.
    Subject(FoundSubject),
    /// Anything else, by its name.
    Text(Box<str>),
}

/// A subject that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSubject {
    /// Its id.
    pub id: UserId,
    /// Person or application.
    pub nature: Nature,
    /// The application's own id of it, if it has one.
    pub external_id: Option<Box<str>>,
    /// Whether it depends on what a check passes.
    pub depends: bool,
    /// What it may be called as one of the type that is sought.
    names: Vec<Box<str>>,
}

impl FoundSubject {
    fn of(subject: &User, depends: bool, calling: Option<&Calling>) -> Self {
        let (id, nature, account) = (subject.id(), subject.nature(), subject.account());
        let external_id = account.and_then(|account| account.external_id.as_ref());
        let external_id = external_id.map(ExternalId::as_str).map(Into::into);
        let names = |(account, of): (&Account, &Calling)| subject::names_of(&of.rules, &of.kind, id, account);
        Self { id, nature, external_id, depends, names: account.zip(calling).map(names).unwrap_or_default() }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.external_id.iter().chain(&self.names).map(|text| &**text)
    }
}

/// How subjects that are found are named: as evaluations call those of a type.
#[derive(Debug, Clone)]
pub struct Calling {
    /// By these rules.
    pub rules: Vec<SubjectRule>,
    /// The type.
    pub kind: Box<str>,
}

impl Calling {
    /// By what an evaluation means this very subject; none: by nothing, it does not know it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn name_of(&self, store: &dyn Store, found: &FoundSubject) -> Result<Option<Box<str>>, StoreError> {
        for name in &found.names {
            if self.means(store, name, found.id)? {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    fn means(&self, store: &dyn Store, text: &str, id: UserId) -> Result<bool, StoreError> {
        let names: Box<[Name]> = match subject::subject_of(&self.rules, &self.kind, text) {
            Subject::OfNature(meant, _) => return Ok(meant == id),
            Subject::Named(name) => [name].into(),
            Subject::Called(names) => names,
            _ => return Ok(false),
        };
        for name in names {
            if let Some(claim) = store.read(&name.claim())? {
                return Ok(claim.value == id.bytes());
            }
        }
        Ok(false)
    }
}

/// One line of an answer.
pub trait Row {
    /// How many bytes it takes in memory, about.
    fn bytes(&self) -> usize;

    /// Whether it depends on what a check passes.
    fn depends(&self) -> bool {
        false
    }
}

impl Row for Found {
    fn bytes(&self) -> usize {
        let text = |text: &str| text.len() + 16;
        size_of::<Self>()
            + match self {
                Self::Subject(subject) => subject.texts().map(text).sum(),
                Self::Text(name) => text(name),
            }
    }

    fn depends(&self) -> bool {
        matches!(self, Self::Subject(FoundSubject { depends: true, .. }))
    }
}

impl Found {
    /// As AuthZEN names it.
    pub fn text(&self) -> String {
        match self {
            Self::Subject(FoundSubject { id, nature, .. }) => subject_text(*id, *nature),
            Self::Text(text) => text.to_string(),
        }
    }
}

/// The answer to a search.
#[derive(Debug)]
pub struct Findings<T = Found> {
    /// What was asked, in a form of its own for each question.
    pub question: String,
    /// As everything is at this revision.
    pub revision: Revision,
    /// All of it, in an order that does not change.
    pub found: Vec<T>,
    /// So many subjects of it for whom it depends on what a check passes.
    pub depending: usize,
}

impl<T: Row> Findings<T> {
    /// The answer to this question.
    pub fn of(question: String, revision: Revision, found: Vec<T>) -> Self {
        let depending = found.iter().filter(|one| one.depends()).count();
        Self { question, revision, found, depending }
    }
}

impl<T: Row> Weigh for Findings<T> {
    fn bytes(&self) -> usize {
        self.question.len() + self.found.iter().map(Row::bytes).sum::<usize>()
    }
}

/// What subjects are searched for.
#[derive(Debug, Clone, Default)]
pub struct Sought {
    /// The permission that they must hold.
    pub permission: String,
    /// Where.
    pub place: Scope,
    /// Only persons, or only applications; none: both.
    pub nature: Option<Nature>,
    /// What conditions may look at; none: whatever a check passes, and those are sought, too, for whom it depends on that.
    pub passed: Option<Passed>,
    /// How they are named, if not by their ids; whom that does not name is not found.
    pub calling: Option<Calling>,
}

/// The question who may do something.
pub struct WhoMay {
    book: Arc<RoleBook>,
    permission: Option<(PermissionName, u32)>,
    place: Scope,
    nature: Option<Nature>,
    passed: Option<Passed>,
    calling: Option<Calling>,
    now: Timestamp,
    looks: Looks,
    bytes: usize,
}

impl WhoMay {
    /// Who holds this permission in this place at this moment; only persons, or only applications, if one of them is
    /// named. A permission that is not defined nobody holds.
    pub fn new(book: &Arc<RoleBook>, sought: &Sought, now: Timestamp) -> Self {
        let defined = book.permission_named(&sought.permission);
        let permission = defined.map(|permission| (permission.name.clone(), permission.number));
        let Sought { place, nature, passed, calling, .. } = sought.clone();
        Self {
            book: Arc::clone(book),
            permission,
            place,
            nature,
            passed,
            calling,
            now,
            looks: Looks::default(),
            bytes: 0,
        }
    }
}

impl Question for WhoMay {
    type Finding = Found;

    fn lists(&self) -> Vec<List> {
        let Some((name, number)) = &self.permission else { return Vec::new() };
        let gives = |role| self.book.closure(role).is_some_and(|closure| closure.may_allow(*number));
        let roles = self.book.roles().map(|role| role.id).filter(|role| gives(*role)).map(List::Role);
        roles.chain(patterns_about(name).map(List::Pattern)).collect()
    }

    fn judge(&mut self, subject: &User) -> Option<Found> {
        let (name, _) = self.permission.as_ref()?;
        if self.nature.is_some_and(|nature| nature != subject.nature()) {
            return None;
        }
        let right = match &self.passed {
            Some(passed) => {
                let plain = Asked::plain(subject, name.as_str(), &self.place, self.now);
                Right::of(Asked { passed, ..plain }.decide(&self.book))
            }
            None => Side::of(subject, &self.book, self.now).find(name, &self.place, &mut self.looks).right(),
        };
        let depends = right == Right::Depends;
        let found = (right != Right::Denied).then(|| FoundSubject::of(subject, depends, self.calling.as_ref()))?;
        let found = Found::Subject(found);
        self.bytes += found.bytes();
        Some(found)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
