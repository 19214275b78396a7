//! Who may: every subject that a permission is allowed to, in one place.

use std::sync::Arc;

use crate::access::holders::List;
use crate::access::pattern::{PermissionName, Scope};
use crate::access::review::preview::patterns_about;
use crate::access::review::shelf::Weigh;
use crate::access::review::survey::Question;
use crate::access::role_book::RoleBook;
use crate::accounts::model::Nature;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::text::ExternalId;
use crate::store::Revision;
use crate::user::User;

/// A subject as answers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Person or application.
    pub nature: Nature,
    /// The application's own id of it, if it has one.
    pub external_id: Option<Box<str>>,
}

impl Named {
    fn of(subject: &User) -> Self {
        let external_id = subject.account().and_then(|account| account.external_id.as_ref());
        Self { nature: subject.nature(), external_id: external_id.map(ExternalId::as_str).map(Into::into) }
    }
}

/// The question who may do something.
pub struct WhoMay {
    book: Arc<RoleBook>,
    permission: Option<(PermissionName, u32)>,
    place: Scope,
    nature: Option<Nature>,
    now: Timestamp,
}

impl WhoMay {
    /// Who holds this permission in this place at this moment; only persons, or only applications, if one of them is
    /// named. A permission that is not defined nobody holds.
    pub fn new(book: &Arc<RoleBook>, permission: &str, place: Scope, nature: Option<Nature>, now: Timestamp) -> Self {
        let defined = book.permission_named(permission);
        let permission = defined.map(|permission| (permission.name.clone(), permission.number));
        Self { book: Arc::clone(book), permission, place, nature, now }
    }
}

impl Question for WhoMay {
    type Finding = Named;

    fn lists(&self) -> Vec<List> {
        let Some((name, number)) = &self.permission else { return Vec::new() };
        let gives = |role| self.book.closure(role).is_some_and(|closure| closure.allow.contains(*number));
        let roles = self.book.roles().map(|role| role.id).filter(|role| gives(*role)).map(List::Role);
        roles.chain(patterns_about(name).map(List::Pattern)).collect()
    }

    fn judge(&mut self, subject: &User) -> Option<Named> {
        let (_, number) = self.permission.as_ref()?;
        let is_meant = self.nature.is_none_or(|nature| nature == subject.nature());
        let may = || subject.holdings.decide(&self.book, *number, &self.place, self.now).allows();
        (is_meant && subject.is_active() && may()).then(|| Named::of(subject))
    }
}

/// Everybody who was found.
#[derive(Debug)]
pub struct Subjects {
    /// As everything is at this revision.
    pub revision: Revision,
    /// By id.
    pub found: Vec<(UserId, Named)>,
}

impl Weigh for Subjects {
    fn bytes(&self) -> usize {
        let texts = self.found.iter().filter_map(|(_, named)| named.external_id.as_ref());
        self.found.len() * size_of::<(UserId, Named)>() + texts.map(|text| text.len() + 16).sum::<usize>()
    }
}
