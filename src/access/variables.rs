//! A question about a user, its decision, and the variables of conditions: found in the user, its session, the role book
//! and what the caller passed; built when a condition is met that can decide, and of each only what is asked for.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use crate::access::activation::{self, Narrowed};
use crate::access::condition::budget::Allowance;
use crate::access::condition::datum::{Datum, Variable, Variables};
use crate::access::condition::{Condition, Truth};
use crate::access::effective::{Reason, Setting};
use crate::access::passed::{Passed, Standing, Told};
use crate::access::pattern::{Effect, Scope};
use crate::access::role_book::RoleBook;
use crate::kernel::clock::Timestamp;
use crate::sessions::model::{AuthenticationMethod, Session};
use crate::user::User;

/// The most roles of a subject, inherited ones too, that conditions look at: one that looks at more errs.
pub const MAX_ROLES: usize = 250;

/// One question about one user, and everything that conditions may look at.
#[derive(Debug)]
pub struct Asked<'a> {
    /// About whom.
    pub user: &'a User,
    /// In which session, if one was shown: only what is active in it counts.
    pub session: Option<&'a Session>,
    /// The permission's name.
    pub permission: &'a str,
    /// Where.
    pub scope: &'a Scope,
    /// When.
    pub now: Timestamp,
    /// What the caller told.
    pub passed: &'a Passed,
    /// How many conditions could not be evaluated.
    pub errors: Cell<u32>,
    /// What conditions may still look at.
    pub allowance: Allowance,
    /// A condition that is taken as met, to find out what would be if it were.
    pub met: Option<&'a Condition>,
    /// The permission's number, once it was found.
    pub number: Cell<Option<u32>>,
}

impl<'a> Asked<'a> {
    /// A question with nothing passed.
    pub const fn plain(user: &'a User, permission: &'a str, scope: &'a Scope, now: Timestamp) -> Self {
        let (session, passed, errors, number) = (None, Passed::NOTHING, Cell::new(0), Cell::new(None));
        let (allowance, met) = (Allowance::whole(), None);
        Self { user, session, permission, scope, now, passed, errors, allowance, met, number }
    }

    /// Whether this subject has this permission in this place at this moment: the one evaluator of the product.
    pub fn decide(&self, book: &RoleBook) -> Reason {
        if !self.user.is_active() {
            return Reason::SubjectSuspended;
        }
        let Some((number, conditions)) = book.find(self.permission) else { return Reason::UnknownPermission };
        self.number.set(Some(number));
        if self.passed.standing.as_ref().is_some_and(|standing| standing.is_elsewhere) {
            return Reason::ResourceElsewhere;
        }
        let reason = self.held(book, number);
        if conditions.is_empty() || !reason.allows() {
            return reason;
        }
        self.missed(conditions, book).unwrap_or(reason)
    }

    /// What the subject holds says of the permission with this number, as far as it is in force in the session; the
    /// permission's own conditions are not looked at.
    pub fn held(&self, book: &RoleBook, number: u32) -> Reason {
        let holdings = &self.user.holdings;
        match self.session.filter(|session| may_be_narrow(session, book)) {
            None => holdings.decide(book, number, self.scope, self.now, self),
            Some(session) => {
                activation::decide(holdings, book, session.chosen_roles(), (number, self.scope), self.now, self)
            }
        }
    }

    /// The roles in force in the session; none: all, or there is no session.
    pub fn in_force(&self, book: &RoleBook) -> Option<Arc<Narrowed>> {
        in_force(self.user, self.session, book, self.now)
    }

    /// Why a permission cannot be had, given its own conditions; none: it can.
    fn missed(&self, conditions: &[Condition], book: &RoleBook) -> Option<Reason> {
        let mut missed = None;
        self.look(book, Effect::Allow, &mut |variables| {
            missed = conditions.iter().find_map(|condition| match self.judge(condition, variables) {
                Truth::Holds => None,
                Truth::Fails => Some(Reason::ConditionNotMet),
                Truth::Errs => Some(Reason::ConditionError),
            });
        });
        missed
    }
}

impl Setting for Asked<'_> {
    fn look(&self, book: &RoleBook, effect: Effect, see: &mut dyn FnMut(&dyn Variables)) {
        see(&View::of(self, book, effect));
    }

    fn judge(&self, condition: &Condition, variables: &dyn Variables) -> Truth {
        if self.met == Some(condition) {
            return Truth::Holds;
        }
        let truth = condition.truth(variables, &self.allowance);
        if truth == Truth::Errs {
            self.errors.set(self.errors.get() + 1);
        }
        truth
    }
}

/// Whether not all that is held may be in force in a session.
fn may_be_narrow(session: &Session, book: &RoleBook) -> bool {
    session.chosen_roles().is_some() || book.separation().has_dynamic()
}

fn in_force(user: &User, session: Option<&Session>, book: &RoleBook, now: Timestamp) -> Option<Arc<Narrowed>> {
    let session = session.filter(|session| may_be_narrow(session, book))?;
    let narrowed = activation::narrowed(&user.holdings, book, session.chosen_roles(), now);
    Some(narrowed).filter(|narrowed| narrowed.in_force.is_narrow())
}

/// The variables themselves.
#[derive(Debug)]
pub struct View<'a> {
    effect: Effect,
    user: &'a User,
    session: Option<&'a Session>,
    now: Timestamp,
    passed: &'a Passed,
    place: Place<'a>,
    parts: Parts<'a>,
    id: OnceLock<String>,
    roles: OnceLock<Option<Vec<Box<str>>>>,
    properties: OnceLock<Value>,
    session_facts: OnceLock<Value>,
}

/// What roles are looked up in.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    book: &'a RoleBook,
    scope: &'a Scope,
}

/// The two halves of the permission's name.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    resource: &'a str,
    action: &'a str,
}

impl<'a> View<'a> {
    /// Of one question, as conditions of what gives, or takes, see it: in a session that chose roles, `subject.roles` are
    /// those in force where something would be given, and all that are held where it would be taken.
    pub fn of(asked: &Asked<'a>, book: &'a RoleBook, effect: Effect) -> Self {
        let (resource, action) = asked.permission.split_once(':').unwrap_or((asked.permission, ""));
        Self {
            effect,
            user: asked.user,
            session: asked.session,
            now: asked.now,
            passed: asked.passed,
            place: Place { book, scope: asked.scope },
            parts: Parts { resource, action },
            id: OnceLock::new(),
            roles: OnceLock::new(),
            properties: OnceLock::new(),
            session_facts: OnceLock::new(),
        }
    }

    fn subject(&self, name: &str) -> Option<Datum<'_>> {
        let account = self.user.account()?;
        match name {
            "id" => Some(Datum::Text(match &account.external_id {
                Some(id) => id.as_str(),
                None => self.id.get_or_init(|| self.user.id_text()),
            })),
            "type" => {
                Some(Datum::Text(self.passed.subject_type.as_deref().unwrap_or_else(|| account.nature.id_prefix())))
            }
            "username" => Some(Datum::Text(account.username.as_str())),
            "email" => account.email.as_ref().map(|email| Datum::Text(email.as_str())),
            "roles" => self.roles.get_or_init(|| self.role_names()).as_deref().map(Datum::Texts),
            "properties" => {
                let stored = self.properties.get_or_init(|| account.properties.object());
                layers(self.passed.subject_properties.as_ref(), stored.as_object())
            }
            _ => None,
        }
    }

    /// The names of the roles that the subject holds here and now, inherited ones too; none where there are more than
    /// conditions look at.
    fn role_names(&self) -> Option<Vec<Box<str>>> {
        let book = self.place.book;
        let session = self.session.filter(|_| self.effect == Effect::Allow);
        let in_force = in_force(self.user, session, book, self.now);
        let holdings = &self.user.holdings;
        let mut waiting: Vec<_> = holdings
            .assignments
            .iter()
            .filter(|held| held.bounds.hold_at(self.now) && held.bounds.scope.contains(self.place.scope))
            .flat_map(|held| match &in_force {
                None => vec![held.role_id],
                Some(narrowed) => narrowed.in_force.led_to(held.role_id, book),
            })
            .collect();
        let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
        while let Some(id) = waiting.pop() {
            if let Some(role) = book.role(id).filter(|role| role.is_active && seen.insert(role.id)) {
                if names.len() == MAX_ROLES {
                    return None;
                }
                names.insert(Box::from(role.name.as_str()));
                waiting.extend(&role.parent_role_ids);
            }
        }
        Some(names.into_iter().collect())
    }

    fn session(&self, name: &str) -> Option<Datum<'_>> {
        let session = self.session?;
        match name {
            "created_at" => Some(Datum::Time(session.created_at)),
            "authenticated_at" => Some(Datum::Time(session.authenticated_at)),
            _ => self.session_facts.get_or_init(|| self.facts_of(session)).get(name).map(Datum::Json),
        }
    }

    fn facts_of(&self, session: &Session) -> Value {
        let device = session.device.and_then(|id| self.user.sessions.find_device(id));
        json!({
            "id": session.id,
            "authentication_methods": session.methods.iter().map(AuthenticationMethod::amr).collect::<Vec<_>>(),
            "device": { "id": session.device, "trusted": device.is_some_and(|device| device.is_trusted) },
            "risk": { "level": session.risk.level().text(), "reasons": session.risk.reasons() },
        })
    }
}

/// Two objects as one; none where the upper one cannot be read.
fn layers<'v>(told: Option<&'v Told>, stored: Option<&'v Map<String, Value>>) -> Option<Datum<'v>> {
    match told {
        None => Some(Datum::Layers(None, stored)),
        Some(told) => Some(Datum::Layers(Some(told.object()?), stored)),
    }
}

impl Variables for View<'_> {
    fn whole(&self, variable: Variable) -> Option<Datum<'_>> {
        match variable {
            Variable::Now => Some(Datum::Time(self.now)),
            Variable::Context => layers(self.passed.context.as_ref(), None),
            _ => None,
        }
    }

    fn part(&self, variable: Variable, name: &str) -> Option<Datum<'_>> {
        match (variable, name) {
            (Variable::Subject, _) => self.subject(name),
            (Variable::Session, _) => self.session(name),
            (Variable::Action, "name") => Some(Datum::Text(self.parts.action)),
            (Variable::Action, "properties") => layers(self.passed.action_properties.as_ref(), None),
            (Variable::Resource, "type") => {
                Some(Datum::Text(self.passed.resource_type.as_deref().unwrap_or(self.parts.resource)))
            }
            (Variable::Resource, "id") => self.passed.resource_id.as_deref().map(Datum::Text),
            (Variable::Resource, "properties") => {
                let stored = self.passed.standing.as_ref().and_then(Standing::properties);
                layers(self.passed.resource_properties.as_ref(), stored)
            }
            _ => None,
        }
    }
}
