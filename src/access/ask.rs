//! What a check asks.

use crate::access::passed::{Passed, Standing};
use crate::access::pattern::Scope;
use crate::access::subject::Subject;
use crate::access::variables::Asked;
use crate::kernel::clock::Timestamp;
use crate::resources::desk::ResourceDesk;
use crate::resources::model::{Lineage, ResourceName};
use crate::sessions::model::Session;
use crate::user::User;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// About whom.
    pub subject: Subject,
    /// The permission's name.
    pub permission: String,
    /// Where.
    pub scope: Scope,
    /// What conditions may look at, if anything: most asks pass nothing, and are smaller for it.
    pub passed: Option<Box<Passed>>,
}

impl Ask {
    /// The question, once it is known about whom.
    pub fn about<'a>(&'a self, user: &'a User, session: Option<&'a Session>, now: Timestamp) -> Asked<'a> {
        let passed = self.passed();
        Asked { session, passed, ..Asked::plain(user, &self.permission, &self.scope, now) }
    }

    /// What conditions may look at.
    pub fn passed(&self) -> &Passed {
        self.passed.as_deref().unwrap_or(Passed::NOTHING)
    }

    /// The stored resource that it may be about.
    pub fn named(&self, resources: &ResourceDesk) -> Option<ResourceName> {
        let passed = self.passed.as_deref()?;
        let id = passed.resource_id.as_deref()?;
        let own = || self.permission.split_once(':').map(|(kind, _)| kind);
        resources.name_of(passed.resource_type.as_deref().or_else(own)?, id)
    }

    /// The same with what is stored of its resource: asked in the resource's scope, if none was passed.
    #[must_use]
    pub fn standing(&self, lineage: Option<&Lineage>) -> Self {
        let mut ask = self.clone();
        let standing = lineage.and_then(|lineage| Standing::of(lineage, &self.scope));
        let passed = ask.passed.get_or_insert_default();
        passed.standing = standing;
        if let Some(standing) = passed.standing.as_ref().filter(|standing| !standing.is_elsewhere)
            && ask.scope.is_everywhere()
        {
            ask.scope = standing.scope.clone();
        }
        ask
    }
}
