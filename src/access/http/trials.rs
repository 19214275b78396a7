//! Conditions tried out over HTTP: against a sample of everything that they may look at.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::checks::{Ask, Subject};
use crate::access::http::explanations::{JudgedView, refuse_untold};
use crate::access::http::given;
use crate::access::matched::Judged;
use crate::access::passed::{Passed, Told};
use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::accounts::error::AccountError;
use crate::accounts::model::SubjectId;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Problem, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{DeviceId, SessionId, UserId};
use crate::kernel::secret::SecretHash;
use crate::sessions::agent::ClientText;
use crate::sessions::device::Device;
use crate::sessions::model::{AuthenticationMethod, NewSession, Session};
use crate::sessions::risk::{Oddity, Risk};
use crate::store::Revision;
use crate::user::User;

pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/conditions/test", Who::Holding(ProductPermission::RolesRead), test)
        .about("Evaluates a condition against a sample")
        .answers::<Trial>(200);
}

/// A condition to try, and what about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TrialInput {
    /// In CEL.
    condition: String,
    /// A user's id: its stored names, roles and properties count. Absent: yourself.
    #[schema(value_type = Option<String>)]
    subject: Option<SubjectId>,
    /// What is passed about the subject; wins over what is stored.
    #[schema(value_type = Option<Object>)]
    subject_properties: Option<Told>,
    /// The permission's name, `resource:action`; it is `resource.type` and `action.name`. Absent: `resource:action`.
    permission: Option<String>,
    #[schema(value_type = Option<Object>)]
    action_properties: Option<Told>,
    resource_id: Option<Box<str>>,
    #[schema(value_type = Option<Object>)]
    resource_properties: Option<Told>,
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    /// A session to ask in. Absent: your own, about yourself; about others none.
    session: Option<SessionSample>,
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
    /// The moment; absent: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    now: Option<Timestamp>,
}

/// A session as it might be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionSample {
    /// How the person proved who they are: `pwd`, `otp`, `recovery`, `pop`.
    #[serde(default)]
    authentication_methods: Vec<String>,
    /// Whether it belongs to a device that its owner trusts.
    #[serde(default)]
    device_trusted: bool,
    /// What is unusual about it, such as `new_device`; `risk.level` is what that comes to.
    #[serde(default)]
    risk_reasons: Vec<String>,
    /// Absent: the moment that is asked about.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// Absent: when it was created.
    #[schema(value_type = Option<String>, format = DateTime)]
    authenticated_at: Option<Timestamp>,
}

/// What a condition came to.
#[derive(Serialize, ToSchema)]
#[schema(as = ConditionTrial)]
struct Trial {
    #[serde(flatten)]
    judged: JudgedView,
}

impl TrialInput {
    /// The question that the sample is.
    fn ask(self, user: UserId) -> Ask {
        let passed = Some(Box::new(Passed {
            subject_properties: self.subject_properties,
            action_properties: self.action_properties,
            resource_id: self.resource_id,
            resource_properties: self.resource_properties,
            context: self.context,
            ..Passed::default()
        }));
        let permission = self.permission.unwrap_or_else(|| "resource:action".to_owned());
        Ask { subject: Subject::Id(user), permission, scope: self.scope.unwrap_or_default(), passed }
    }
}

impl SessionSample {
    /// The session and its device.
    fn made(&self, now: Timestamp) -> Result<(Session, Arc<Device>), Problem> {
        let mut wrong = Vec::new();
        let methods = (&*self.authentication_methods, "authentication_methods");
        let methods = named(methods, AuthenticationMethod::ALL, AuthenticationMethod::amr, &mut wrong);
        let reasons = named((&self.risk_reasons, "risk_reasons"), Oddity::ALL, Oddity::text, &mut wrong);
        if !wrong.is_empty() {
            return Err(Problem::invalid(wrong));
        }
        let (created_at, id, secret) = (self.created_at.unwrap_or(now), DeviceId::generate(now), SecretHash::of(b""));
        let mut device = Device::first_seen(id, secret, None, ClientText::default(), None, created_at);
        device.is_trusted = self.device_trusted;
        let new = NewSession {
            id: SessionId::generate(now),
            secret,
            lifetime_seconds: u32::MAX,
            idle_seconds: u32::MAX,
            methods: methods.into_iter().collect(),
            ip_address: None,
            user_agent: None,
            device: Some(id),
            refresh: None,
            is_remembered: false,
        };
        let mut session = Session::begin(new, created_at);
        session.risk = reasons.into_iter().fold(Risk::NONE, Risk::with);
        session.authenticated_at = self.authenticated_at.unwrap_or(created_at);
        Ok((session, Arc::new(device)))
    }
}

/// Those of some things that are named in this field of the session; what names none of them is wrong.
fn named<T: Copy, const N: usize>(
    (names, field): (&[String], &str),
    all: [T; N],
    text: impl Fn(T) -> &'static str,
    wrong: &mut Vec<FieldError>,
) -> Vec<T> {
    let mut found = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(one) = all.into_iter().find(|one| text(*one) == name) {
            found.push(one);
        } else {
            let known = format!("expected one of {}", all.map(&text).join(", "));
            wrong.push(FieldError::new(format!("session.{field}[{at}]"), known));
        }
    }
    found
}

async fn test(call: Call, Json(input): Json<TrialInput>) -> Outcome {
    let own = call.caller.user().ok_or(AccountError::Missing)?;
    let other = input.subject.as_ref().map(|SubjectId(id)| *id);
    let (source, now) = (input.condition.clone(), input.now.unwrap_or(call.now));
    let sample = input.session.as_ref().map(|sample| sample.made(now)).transpose()?;
    let ask = input.ask(other.unwrap_or(own.id()));
    if other.is_some() || call.state.checks.may_name_stored(&ask) {
        // What a condition reads of somebody, or of something stored, is shown.
        refuse_untold(&call, &ask)?;
    }
    let mut made = given::conditions(&call, vec![("condition".to_owned(), source)]).await?;
    let condition = made.pop().ok_or(AccountError::Missing)?;
    let other = match other {
        Some(id) => Some(call.state.users.load(id).await?.ok_or(AccountError::Missing)?),
        None => None,
    };
    let mut user = User::clone(other.as_ref().unwrap_or(own));
    // Only what is one's own is asked with one's session.
    let mut session = call.caller.session().filter(|_| other.is_none());
    if let Some((sample, device)) = &sample {
        Arc::make_mut(&mut user.sessions).devices.push(Arc::clone(device));
        session = Some(sample);
    }
    let judge = async |ask: Ask| {
        let judged = Judged::of(&condition, &ask.about(&user, session, now), &call.state.book.load());
        Ok::<_, Problem>((judged, Revision::default()))
    };
    let (judged, _) = call.state.checks.with_standing(&ask, judge).await?;
    Ok(Answer::ok(&Trial { judged: JudgedView::of(&judged) }))
}
