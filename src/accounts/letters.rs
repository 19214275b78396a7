//! Writes mails about accounts: with a token to prove something by, or to tell what happened.

use crate::accounts::proof::{Proof, ProofPurpose};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::Facts;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::{MailId, ProofId, UserId};
use crate::kernel::secret::NoRandomness;
use crate::kernel::text::{Email, Username};
use crate::mail::model::{Delivery, Mail, Occasion};
use crate::mail::templates::{TemplateError, Templates, Words};
use crate::sessions::risk::{Response, SecurityEvent};
use crate::sessions::token::{Purpose, Token};
use crate::user::User;

/// Whom a mail is about, and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Addressee<'a> {
    /// The person.
    pub user: UserId,
    /// Their sign-in name.
    pub username: &'a Username,
    /// The address.
    pub to: &'a Email,
}

/// What only some mails tell.
struct Told<'a> {
    link: &'a str,
    token: &'a str,
    lifetime: &'a str,
    reasons: &'a str,
    outcome: &'a str,
    program: &'a str,
}

impl Told<'_> {
    const NOTHING: Self = Self { link: "", token: "", lifetime: "", reasons: "", outcome: "", program: "" };
}

/// A mail could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// No token.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// No text.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Fault for LetterError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoRandomness(error) => error.kind(),
            Self::Template(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::NoRandomness(error) => error.code(),
            Self::Template(error) => error.code(),
        }
    }
}

/// Writes mails.
#[derive(Debug)]
pub struct Letters {
    templates: Templates,
    site: String,
    links: String,
}

impl Letters {
    /// With these texts, about this site; `links` is where the application's pages are.
    pub const fn new(templates: Templates, site: String, links: String) -> Self {
        Self { templates, site, links }
    }

    /// A mail with a new token, and what is kept of it. `occasion` may tell something else than the purpose: then the
    /// token is made and not told, so that both cost the same.
    ///
    /// # Errors
    /// See [`LetterError`].
    pub fn with_proof(
        &self,
        purpose: ProofPurpose,
        occasion: Occasion,
        addressee: Addressee<'_>,
        facts: &Facts,
    ) -> Result<(Proof, Mail), LetterError> {
        let id = ProofId::generate(facts.now);
        let (token, secret) = Token::issue(Purpose::Mailed, addressee.user, id.bytes())?;
        let (seconds, lifetime) = purpose.lifetime();
        let expires_at = facts.now.plus_seconds(seconds);
        let email = addressee.to.clone();
        let proof = Proof { id, secret, purpose, email, made_at: facts.now, expires_at, session: None };
        let page = match purpose {
            ProofPurpose::VerifyEmail => "verify-email",
            ProofPurpose::ResetPassword => "reset-password",
            ProofPurpose::Invitation => "accept-invitation",
            ProofPurpose::Reauthentication => "confirm-sign-in",
        };
        let link = format!("{}/{page}#token={token}", self.links.trim_end_matches('/'));
        let mut mail =
            self.write(occasion, addressee, Told { link: &link, token: &token, lifetime, ..Told::NOTHING }, facts)?;
        mail.expires_at = Some(expires_at);
        Ok((proof, mail))
    }

    /// A mail with a code.
    ///
    /// # Errors
    /// See [`LetterError`].
    pub fn with_code(&self, code: &str, addressee: Addressee<'_>, facts: &Facts) -> Result<Mail, LetterError> {
        let told = Told { token: code, lifetime: "10 minutes", ..Told::NOTHING };
        let mut mail = self.write(Occasion::VerificationCode, addressee, told, facts)?;
        mail.expires_at = Some(facts.now.plus_seconds(600));
        Ok(mail)
    }

    /// A mail that tells what happened.
    ///
    /// # Errors
    /// See [`LetterError`].
    pub fn notice(&self, occasion: Occasion, addressee: Addressee<'_>, facts: &Facts) -> Result<Mail, LetterError> {
        self.write(occasion, addressee, Told::NOTHING, facts)
    }

    /// A mail that tells a person of what was unusual, if that is to be told and they have an address.
    ///
    /// # Errors
    /// See [`LetterError`].
    pub fn alert(&self, user: &User, event: &SecurityEvent, facts: &Facts) -> Result<Option<Mail>, LetterError> {
        let account = user.account().and_then(|account| Some((account, account.email.as_ref()?)));
        let Some((account, to)) = account.filter(|_| event.response >= Response::Notify) else { return Ok(None) };
        let addressee = Addressee { user: user.id(), username: &account.username, to };
        let program = event.user_agent.as_deref().unwrap_or("an unknown program");
        let told =
            Told { reasons: &event.risk.in_words(), outcome: event.response.in_words(), program, ..Told::NOTHING };
        self.write(Occasion::SecurityAlert, addressee, told, facts).map(Some)
    }

    fn write(
        &self,
        occasion: Occasion,
        addressee: Addressee<'_>,
        told: Told<'_>,
        facts: &Facts,
    ) -> Result<Mail, LetterError> {
        let ip_address = facts.cause.ip_address.map_or_else(|| "an unknown address".into(), |it| it.to_string());
        let words = Words {
            username: addressee.username.as_str(),
            site: &self.site,
            link: told.link,
            token: told.token,
            lifetime: told.lifetime,
            reasons: told.reasons,
            outcome: told.outcome,
            program: told.program,
            moment: &facts.now.to_string(),
            ip_address: &ip_address,
        };
        let texts = self.templates.write(occasion, &words)?;
        Ok(Mail {
            id: MailId::generate(facts.now),
            user: addressee.user,
            to: addressee.to.clone(),
            occasion,
            subject: texts.subject,
            text: texts.text,
            html: texts.html,
            created_at: facts.now,
            expires_at: None,
            delivery: Delivery::Waiting { attempts: 0, not_before: facts.now, last_error: None },
        })
    }
}
