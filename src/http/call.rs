//! One request, as its handler sees it.

use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{AsHeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, USER_AGENT};

use super::admission::{self, Knock};
use super::caller::Caller;
use super::credential::{self, DEVICE_COOKIE_NAME};
use super::dispatch::Frame;
use super::peer;
use super::problem::Problem;
use super::request_id::RequestId;
use super::state::State;
use crate::access::escalation::{self, Donor};
use crate::access::guardian::{self, BookChange, Permit};
use crate::access::review::change;
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Command, Facts, WriteError};
use crate::kernel::cause::Cause;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{SessionId, UserId};
use crate::repeats::keeper::Claim;
use crate::store::Revision;
use crate::user::User;

/// A request that passed its route's door. What a permission check does not need is found out when asked for.
pub struct Call {
    /// What the handlers share.
    pub state: SharedState,
    /// Who calls; [`Caller::Nobody`] where anyone may.
    pub caller: Caller,
    /// When the request arrived.
    pub now: Timestamp,
    /// The request's name.
    pub request_id: RequestId,
    /// Where an `Idempotency-Key` asks to keep the answer.
    pub(super) claim: Option<Arc<Claim>>,
    request: HttpRequest,
}

/// A subject before and after a change, by the book of the moment.
struct Looked {
    book: Arc<RoleBook>,
    before: Arc<User>,
    after: Option<User>,
}

/// The worker's own reference to the state, so that a call touches no counter of another core.
#[derive(Debug, Clone)]
pub struct SharedState(Rc<Frame>);

impl Deref for SharedState {
    type Target = Arc<State>;

    fn deref(&self) -> &Arc<State> {
        self.0.state()
    }
}

impl Call {
    pub(super) fn new(
        frame: &Rc<Frame>,
        request: &HttpRequest,
        caller: Caller,
        now: Timestamp,
        request_id: &RequestId,
    ) -> Self {
        Self {
            state: SharedState(Rc::clone(frame)),
            caller,
            now,
            request_id: request_id.clone(),
            claim: None,
            request: request.clone(),
        }
    }

    /// The circumstances a write is decided under and recorded with.
    pub fn facts(&self) -> Facts {
        let cause = Cause {
            actor: self.caller.actor(),
            ip_address: self.ip_address(),
            request_id: self.request_id.kept().to_owned(),
        };
        Facts { now: self.now, cause }
    }

    /// Lets a command to a subject through, if it takes no right over the product that the caller does not hold, and
    /// leaves an administrator. The permit goes with the command.
    ///
    /// # Errors
    /// 403 naming the right, or 409 about the last administrator; what the command itself is refused for.
    pub async fn guard<C: Command<Target = User>>(&self, id: UserId, command: &C) -> Result<Permit, Problem> {
        Ok(self.guard_by_book(id, |_| command.clone()).await?.0)
    }

    /// The same for a command that is made of the role book: of the one that counts while the permit is held.
    ///
    /// # Errors
    /// As there.
    pub async fn guard_by_book<C: Command<Target = User>>(
        &self,
        id: UserId,
        command: impl Fn(Arc<RoleBook>) -> C,
    ) -> Result<(Permit, C), Problem> {
        let guardian = &self.state.guardian;
        let made = || command(Arc::clone(&self.state.book.load()));
        // The turn first: what is read before it may have changed when it comes.
        let (permit, command) = (guardian.beside().await, made());
        let Looked { book, before, after } = self.look(id, &command).await?;
        if guardian::taken(&before, after.as_ref(), &book, self.now).is_empty() {
            return Ok((permit, command));
        }
        drop(permit);
        let (permit, command) = (guardian.alone().await, made());
        let Looked { book, before, after } = self.look(id, &command).await?;
        guardian.admit(&self.donor(&book), &before, after.as_ref()).await?;
        Ok((permit, command))
    }

    /// Lets a command to the role book through, if it takes from nobody what the caller does not hold, leaves an
    /// administrator, and joins in nobody's hands what a constraint keeps apart. The permit goes with the command.
    ///
    /// # Errors
    /// 403 naming the right; 409 about the last administrator, or naming the constraint and who would break it; what the
    /// command itself is refused for.
    pub async fn guard_book<C: Command<Target = RoleBook>>(&self, command: &C) -> Result<Permit, Problem> {
        let guardian = &self.state.guardian;
        let permit = guardian.beside().await;
        let change = self.look_at_book(command).await?;
        if !change.is_weighty() {
            return Ok(permit);
        }
        drop(permit);
        let permit = guardian.alone().await;
        let change = self.look_at_book(command).await?;
        guardian.weigh_book(&self.donor(&change.before), &change).await?;
        Ok(permit)
    }

    /// What a command would do to the role book, found out beside the requests. A command that would be refused now is
    /// refused now: when its turn comes it might not be, and nobody would have weighed it.
    async fn look_at_book<C: Command<Target = RoleBook>>(&self, command: &C) -> Result<BookChange, Problem> {
        let (before, command, facts) = (Arc::clone(&self.state.book.load()), command.clone(), self.facts());
        let look = move || {
            let mut after = RoleBook::clone(&before);
            change::apply(command, &mut after, &facts).map_err(WriteError::Refused)?;
            // What is joined with the one book is never taken for joined with the other.
            after.stamp(Revision(u64::MAX));
            Ok::<_, WriteError<C::Refusal>>(BookChange::of(before, after))
        };
        Ok(self.state.loader.run(look).await??)
    }

    /// What a command would do to a subject; refused at once as there.
    async fn look<C: Command<Target = User>>(&self, id: UserId, command: &C) -> Result<Looked, Problem> {
        let before = self.state.users.load(id).await?.ok_or(WriteError::<C::Refusal>::Missing)?;
        let mut after = User::clone(&before);
        change::apply(command.clone(), &mut after, &self.facts()).map_err(WriteError::Refused)?;
        let after = Some(after).filter(|after| !after.is_vacant());
        Ok(Looked { book: Arc::clone(&self.state.book.load()), before, after })
    }

    /// Refuses to put into the caller's hands what a subject can reach over the product, at any time and whatever its
    /// conditions ask for, and the caller does not hold.
    ///
    /// # Errors
    /// 403 naming the right.
    pub fn refuse_escalation(&self, subject: &User) -> Result<(), Problem> {
        let book = self.state.book.load();
        Ok(self.donor(&book).may_give(&escalation::reach(&book, &subject.holdings))?)
    }

    /// The caller, as somebody who gives or takes.
    pub fn donor<'a>(&'a self, book: &'a RoleBook) -> Donor<'a> {
        Donor { book, user: self.caller.user(), session: self.caller.session(), now: self.now }
    }

    /// Looks at the credentials where anyone may call, as any other route would.
    ///
    /// # Errors
    /// 401 when one is presented that is not valid, or whose session must be proved again.
    pub async fn recognise(&self) -> Result<Caller, Problem> {
        admission::recognise(self.knock()).await
    }

    /// Looks at the credentials where anyone may call, and it matters to the caller alone whose they are: a session that
    /// must be proved again is one, too.
    ///
    /// # Errors
    /// 401 when one is presented that is not valid.
    pub async fn identify(&self) -> Result<Caller, Problem> {
        admission::identify(self.knock()).await
    }

    fn knock(&self) -> Knock<'_> {
        let public_origin = self.frame().public_origin();
        Knock { request: &self.request, state: &self.state, public_origin, now: self.now, cost: 1, is_often: false }
    }

    /// Refuses a person who did not prove a short while ago who they are, for what is sensitive.
    ///
    /// # Errors
    /// 401 `reauthentication-required`.
    pub fn refuse_stale(&self) -> Result<(), Problem> {
        admission::refuse_stale(&self.caller, &self.state, self.now)
    }

    /// Whether a browser says that a page of another site makes the request.
    pub fn is_of_other_site(&self) -> bool {
        credential::is_of_other_site(self.request.headers(), self.frame().public_origin())
    }

    /// The session that asks.
    ///
    /// # Errors
    /// 401 when none does.
    pub fn session_id(&self) -> Result<SessionId, Problem> {
        let session = self.caller.session().map(|session| session.id);
        session.ok_or_else(|| Problem::unauthenticated("this needs a session"))
    }

    /// The client's address, after trusted proxies.
    pub fn ip_address(&self) -> Option<IpAddr> {
        peer::address_of(&self.request, &self.frame().settings().trusted_proxies)
    }

    /// What the client says it is.
    pub fn user_agent(&self) -> Option<&str> {
        self.header(USER_AGENT)
    }

    /// The device's token, if the browser has one.
    pub fn device_token(&self) -> Option<&str> {
        credential::cookie(self.request.headers(), DEVICE_COOKIE_NAME)
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// The version that `If-Match` demands; `*` demands none in particular.
    ///
    /// # Errors
    /// 400 when it is neither `*` nor one entity tag of this service.
    pub fn if_match(&self) -> Result<Option<Revision>, Problem> {
        let Some(value) = self.request.headers().get(IF_MATCH) else { return Ok(None) };
        match value.to_str().map(str::trim) {
            Ok("*") => Ok(None),
            Ok(tag) => parse_tag(tag).map(Some),
            Err(_) => parse_tag("").map(Some),
        }
    }

    /// Whether `If-None-Match: *` demands that what is written is not there yet (RFC 9110 section 13.1.2).
    ///
    /// # Errors
    /// 400 when it names tags, or stands beside an `If-Match`.
    pub fn demands_absence(&self) -> Result<bool, Problem> {
        let Some(value) = self.request.headers().get(IF_NONE_MATCH) else { return Ok(false) };
        if value.as_bytes().trim_ascii() == b"*" && self.header(IF_MATCH).is_none() {
            return Ok(true);
        }
        Err(Problem::invalid(vec![FieldError::new("If-None-Match", "expected *, and no If-Match beside it")]))
    }

    /// Whether `If-Match` lets a write through that would replace what has this tag (RFC 9110 section 13.1.1).
    pub fn matches(&self, tag: &HeaderValue) -> bool {
        let mut demanded = self.request.headers().get_all(IF_MATCH).peekable();
        let tag = tag.to_str().unwrap_or_default();
        let is_met = |list: &HeaderValue| {
            list.to_str().is_ok_and(|list| list.split(',').map(str::trim).any(|one| one == "*" || one == tag))
        };
        demanded.peek().is_none() || demanded.any(is_met)
    }

    /// What a write is to be carried out on alone, where `If-Match` says so: what there is, if it has the tag that is demanded.
    /// None: nothing is demanded.
    ///
    /// # Errors
    /// 412 when it has another tag, or there is nothing.
    pub fn demanded<T>(&self, seen: Option<T>, tag: impl FnOnce(&T) -> HeaderValue) -> Result<Option<T>, Problem> {
        if !self.request.headers().contains_key(IF_MATCH) {
            return Ok(None);
        }
        let met = seen.filter(|seen| self.matches(&tag(seen)));
        met.map(Some).ok_or_else(|| {
            let detail = "this has changed: it is not the version that If-Match names";
            Problem::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", detail)
        })
    }

    /// The request itself, for protocols that look at more of it (forward authentication).
    pub fn request(&self) -> &HttpRequest {
        &self.request
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.state.0
    }
}

fn parse_tag(tag: &str) -> Result<Revision, Problem> {
    tag.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|number| number.parse().ok())
        .map(Revision)
        .ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("If-Match", "expected * or one strong entity tag such as \"42\"")])
        })
}
