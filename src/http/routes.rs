//! The table of routes: a method, a path, who may call, and the handler.
//!
//! The router looks for what is asked often first, then for other paths without parameters in the order of registration,
//! then for those with parameters, so that `/users/me` is found before `/users/{user_id}`.

use actix_web::http::{Method, StatusCode};
use futures_util::future::LocalBoxFuture;
use utoipa::ToSchema;

use super::body::Body;
use super::call::Call;
use super::handler::{Handler, Outcome};
use super::openapi::Description;
use super::settings::Settings;
use crate::access::product::ProductPermission;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody; credentials are not looked at.
    Anyone,
    /// A person with a session.
    SignedIn,
    /// A person who proved a short while ago who they are (`accounts.recent_authentication_seconds`).
    SignedInRecently,
    /// A service account with any API key.
    App,
    /// Whoever holds the permission.
    Holding(ProductPermission),
}

impl Who {
    /// The rule in one word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::SignedIn => "signed in",
            Self::SignedInRecently => "signed in recently",
            Self::App => "app",
            Self::Holding(permission) => permission.name(),
        }
    }
}

/// How large a route's body may be.
#[derive(Debug, Clone, Copy)]
enum BodyLimit {
    Usual,
    Batch,
    Bytes(usize),
}

/// What a costly request counts as.
const COSTLY: u32 = 10;

type Run = Box<dyn Fn(Call, &Body) -> LocalBoxFuture<'static, Outcome> + Send + Sync>;

/// One route.
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) who: Who,
    pub(super) run: Run,
    pub(super) reads_body: bool,
    /// It honours `Idempotency-Key`.
    pub(super) creates: bool,
    pub(super) wrong_type: StatusCode,
    pub(super) is_asked_often: bool,
    pub(super) is_upload: bool,
    /// It answers other methods, too.
    pub(super) is_of_any_method: bool,
    /// It finds out by itself who calls.
    pub(super) asks_who: bool,
    /// So many requests are counted for one.
    pub(super) cost: u32,
    /// A write that would pass over an `If-Match`.
    pub(super) refuses_if_match: bool,
    /// A write that would pass over an `If-None-Match`.
    pub(super) refuses_if_none_match: bool,
    pub(super) description: Description,
    body_limit: BodyLimit,
}

impl Route {
    /// Says in one sentence what the route does.
    pub fn about(&mut self, summary: &'static str) -> &mut Self {
        self.description.summary = summary;
        self
    }

    /// Documents an answer with a JSON body.
    pub fn answers<T: ToSchema>(&mut self, status: u16) -> &mut Self {
        let schema = self.description.schema_of::<T>();
        self.description.answers.push((status, Some(("application/json", Some(schema)))));
        self
    }

    /// Documents what an answer of a generic type is made of.
    pub fn made_of<T: ToSchema>(&mut self) -> &mut Self {
        self.description.schema_of::<T>();
        self
    }

    /// Documents an answer with a body of this type, of which no more is said.
    pub fn answers_as(&mut self, status: u16, content_type: &'static str) -> &mut Self {
        self.description.answers.push((status, Some((content_type, None))));
        self
    }

    /// Documents an answer without a body.
    pub fn answers_with(&mut self, status: u16) -> &mut Self {
        self.description.answers.push((status, None));
        self
    }

    /// It changes nothing, and its answers say no more of themselves than they must: a success no id that nobody sent, and
    /// nothing of a limit of which half is left.
    pub fn asked_often(&mut self) -> &mut Self {
        self.is_asked_often = true;
        self.refuses_if_match = false;
        self
    }

    /// Counts among uploads, of which so many are read at a time as the settings say: others are refused before their
    /// body is read.
    pub fn is_an_upload(&mut self) -> &mut Self {
        self.is_upload = true;
        self
    }

    /// Of a route that anyone may call: the handler looks at the credentials by [`Call::identify`] or [`Call::recognise`]
    /// before anything else, so that a request with one is counted there.
    pub fn asks_who_calls(&mut self) -> &mut Self {
        self.asks_who = true;
        self
    }

    /// Answers every method that its path has no other route for, OPTIONS as well, which is otherwise answered with those that
    /// there are.
    pub fn answers_any_method(&mut self) -> &mut Self {
        self.is_of_any_method = true;
        self
    }

    /// Takes the work of many requests, and is counted as so many.
    pub fn is_costly(&mut self) -> &mut Self {
        self.cost = COSTLY;
        self
    }

    /// Is answered however often it is asked.
    pub fn is_never_limited(&mut self) -> &mut Self {
        self.cost = 0;
        self
    }

    /// Looks at `If-Match` itself, or leaves it to whom it is meant for. Every other POST, PUT, PATCH and DELETE refuses what
    /// demands a version (RFC 9110 section 13.1.1: it must not be carried out unless that is met).
    pub fn takes_if_match(&mut self) -> &mut Self {
        self.refuses_if_match = false;
        self
    }

    /// Looks at `If-None-Match` itself: what it writes need not be there. Every other PUT, PATCH and DELETE is of what is there,
    /// and refuses to be carried out on the condition that it is not (RFC 9110 section 13.1.2).
    pub fn takes_if_none_match(&mut self) -> &mut Self {
        self.refuses_if_none_match = false;
        self
    }

    /// Whether it is a write that looks at `If-Match`.
    pub(super) fn looks_at_if_match(&self) -> bool {
        !(self.method.is_safe() || self.refuses_if_match || self.is_asked_often)
    }

    /// Whether it is a write that looks at `If-None-Match`.
    pub(super) fn looks_at_if_none_match(&self) -> bool {
        let is_of_one = !self.method.is_safe() && self.method != Method::POST;
        is_of_one && !self.refuses_if_none_match
    }

    /// Leaves the route out of the document.
    pub fn undocumented(&mut self) -> &mut Self {
        self.description.is_hidden = true;
        self
    }

    /// Lets the body be as large as a batch may be.
    pub fn takes_batches(&mut self) -> &mut Self {
        self.body_limit = BodyLimit::Batch;
        self
    }

    /// Limits the body.
    pub fn body_limit_bytes(&mut self, bytes: usize) -> &mut Self {
        self.body_limit = BodyLimit::Bytes(bytes);
        self
    }

    /// Answers a wrong content type with another status than 415.
    pub fn content_type_error(&mut self, status: StatusCode) -> &mut Self {
        self.wrong_type = status;
        self
    }

    pub(super) fn limit_bytes(&self, settings: &Settings) -> usize {
        match self.body_limit {
            BodyLimit::Usual => settings.body_limit_bytes,
            BodyLimit::Batch => settings.batch_body_limit_bytes,
            BodyLimit::Bytes(bytes) => bytes,
        }
    }
}

/// All routes of one listener.
#[derive(Default)]
pub struct Routes {
    list: Vec<Route>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident;)+) => {$(
        $(#[$doc])*
        pub fn $name<H: Handler<Inputs>, Inputs>(&mut self, path: &'static str, who: Who, handler: H) -> &mut Route {
            self.register(Method::$method, path, who, handler)
        }
    )+};
}

impl Routes {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    methods! {
        /// Registers a read; it answers HEAD too.
        get GET;
        /// Registers a POST.
        post POST;
        /// Registers a PUT.
        put PUT;
        /// Registers a PATCH.
        patch PATCH;
        /// Registers a DELETE.
        delete DELETE;
    }

    /// Method, path and who may call, in the order of registration.
    pub fn table(&self) -> Vec<(String, &'static str, &'static str)> {
        self.list.iter().map(|route| (route.method.to_string(), route.path, route.who.text())).collect()
    }

    /// The routes that create something, and so honour `Idempotency-Key`, in the order of registration.
    pub fn creating(&self) -> Vec<String> {
        let creating = self.list.iter().filter(|route| route.creates);
        creating.map(|route| format!("{} {}", route.method, route.path)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.list.iter()
    }

    pub(super) fn into_list(self) -> Vec<Route> {
        self.list
    }

    fn register<H: Handler<Inputs>, Inputs>(
        &mut self,
        method: Method,
        path: &'static str,
        who: Who,
        handler: H,
    ) -> &mut Route {
        let mut description = Description::default();
        H::describe(&mut description);
        let refuses_if_match = !method.is_safe();
        let refuses_if_none_match = refuses_if_match && method != Method::POST;
        let route = Route {
            method,
            path,
            who,
            run: Box::new(move |call, body| handler.handle(call, body)),
            reads_body: H::READS_BODY,
            creates: H::CREATES,
            wrong_type: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            is_asked_often: false,
            is_upload: false,
            is_of_any_method: false,
            asks_who: false,
            cost: 1,
            refuses_if_match,
            refuses_if_none_match,
            description,
            body_limit: BodyLimit::Usual,
        };
        self.list.push_mut(route)
    }
}
