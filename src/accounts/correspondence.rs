//! Mail that people ask for: bounded by who asks, and done where the answer's time does not tell whether there was
//! anybody to write to.

use std::net::IpAddr;
use std::sync::Arc;

use actix_rt::ArbiterHandle;
use tokio::sync::Semaphore;

use crate::accounts::error::AccountError;
use crate::accounts::letters::{Addressee, LetterError, Letters};
use crate::accounts::model::{Account, Name};
use crate::accounts::names::Finder;
use crate::accounts::proof::{Proof, ProofPurpose};
use crate::accounts::proof_commands::{MailProof, Mailed};
use crate::accounts::throttle::{Budget, Throttle, Whose};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Facts, WriteError};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind, Malformed};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::text::{Email, Username};
use crate::mail::model::{Mail, Occasion};
use crate::mail::postman::Postman;
use crate::sessions::error::SessionError;
use crate::store::Revision;
use crate::user::User;

/// How many requests are being seen to after they were answered; further ones are dropped.
const MOST_LATER: usize = 64;

/// A token could not be mailed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The mail could not be written.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// It could not be committed.
    #[error(transparent)]
    Write(#[from] WriteError<AccountError>),
}

impl Fault for VerifyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Letter(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Letter(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }
}

/// Writes and posts mails.
pub struct Correspondence {
    /// Writes them.
    pub letters: Arc<Letters>,
    finder: Finder,
    postman: Arc<Postman>,
    requests: Throttle,
    /// A thread that answers no requests.
    aside: ArbiterHandle,
    later: Arc<Semaphore>,
    stand_in: (Username, Email),
}

impl Correspondence {
    /// With these parts; `requests` bounds how much mail one address may ask for, and `aside` is the thread for what is done
    /// after the answer: one that answers no requests.
    ///
    /// # Errors
    /// When nobody can have the name of whom is written to in vain.
    pub fn new(
        letters: Arc<Letters>,
        finder: Finder,
        postman: Arc<Postman>,
        requests: Throttle,
        aside: ArbiterHandle,
    ) -> Result<Self, Malformed> {
        let stand_in = (Username::parse("nobody")?, Email::parse("nobody@example.invalid")?);
        let later = Arc::new(Semaphore::new(MOST_LATER));
        Ok(Self { letters, finder, postman, requests, aside, later, stand_in })
    }

    /// Counts a request for mail, whatever comes of it.
    ///
    /// # Errors
    /// When there were too many.
    pub fn admit(&self, about: &Whose, address: Option<IpAddr>, now: Timestamp) -> Result<(), SessionError> {
        let budget = Budget::Network(address);
        self.requests.attempt(about, budget, now).map(drop).map_err(SessionError::TooManyFailures)
    }

    /// Counts a request for mail of somebody who is signed in: with their network's, and with all of their account.
    ///
    /// # Errors
    /// When there were too many.
    pub fn admit_of(&self, user: UserId, address: Option<IpAddr>, now: Timestamp) -> Result<(), SessionError> {
        let whose = Whose::Account(user);
        self.admit(&whose, address, now)?;
        self.requests.attempt(&whose, Budget::Everywhere, now).map(drop).map_err(SessionError::TooManyFailures)
    }

    /// Says that this mail, if there is one, was committed.
    pub fn posted(&self, mail: Option<&Mail>) {
        if let Some(mail) = mail {
            self.postman.posted(mail);
        }
    }

    /// Does something beside the answer, on another thread: the next request to this one does not wait for it either.
    pub fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.later).try_acquire_owned() else {
            tracing::warn!("too many requests for mail at once: one was dropped");
            return;
        };
        let is_taken = self.aside.spawn(async move {
            work.await;
            drop(permit);
        });
        if !is_taken {
            tracing::warn!("a request for mail came while the program stops: it was dropped");
        }
    }

    /// How many requests that were answered are still being seen to.
    pub fn under_way(&self) -> usize {
        MOST_LATER - self.later.available_permits()
    }

    /// Whether an account bears the name; looked up in the same way, and with as much work, whether it does or not.
    pub async fn is_taken(&self, name: &Name, now: Timestamp) -> bool {
        // What cannot be looked up is refused by the claim in the commit.
        self.finder.load_evenly(Some(name), now).await.is_ok_and(|user| user.is_some())
    }

    /// Mails a token for another password to whoever bears the name, if anybody does, may act and has an address. For
    /// everybody else, and for what is no name, as much is read and a letter is written that nobody gets: what goes on after
    /// the answer does not tell either.
    pub async fn send_reset(&self, name: Option<&Name>, facts: Facts) {
        let user = match self.finder.load_evenly(name, facts.now).await {
            Ok(user) => user,
            Err(error) => return tracing::error!(%error, "an account could not be looked up for a reset"),
        };
        let sent = match user.filter(|user| addressee(user).is_some()) {
            Some(user) => self.send_proof(&user, ProofPurpose::ResetPassword, facts).await.map(drop),
            None => self.write_in_vain(&facts).map_err(|error| error.to_string()),
        };
        if let Err(error) = sent {
            tracing::error!(error, "a reset could not be mailed");
        }
    }

    fn write_in_vain(&self, facts: &Facts) -> Result<(), LetterError> {
        let (username, to) = &self.stand_in;
        let nobody = Addressee { user: UserId::generate(facts.now), username, to };
        self.letters.with_proof(ProofPurpose::ResetPassword, Occasion::ResetPassword, nobody, facts).map(drop)
    }

    /// Mails a token to the user's own address. False: there is none, or one was mailed just before.
    ///
    /// # Errors
    /// In words, when it cannot be written.
    pub async fn send_proof(&self, user: &User, purpose: ProofPurpose, facts: Facts) -> Result<bool, String> {
        let Some(addressee) = addressee(user) else { return Ok(false) };
        let occasion = match purpose {
            ProofPurpose::VerifyEmail => Occasion::VerifyEmail,
            ProofPurpose::ResetPassword => Occasion::ResetPassword,
            ProofPurpose::Invitation => Occasion::Invitation,
            ProofPurpose::Reauthentication => Occasion::ConfirmSignIn,
        };
        let written = self.letters.with_proof(purpose, occasion, addressee, &facts);
        let (proof, mail) = written.map_err(|error| error.to_string())?;
        let command = MailProof { proof, mail: mail.clone(), session: None };
        let done = self.finder.users.send(user.id(), command, facts).await.map_err(|error| error.to_string())?;
        let is_sent = done.reply == Mailed::Sent;
        self.posted(Some(&mail).filter(|_| is_sent));
        Ok(is_sent)
    }

    /// Whether an address is another account's. It is looked up whether it is or not.
    pub async fn is_anothers(&self, account: &Account, address: &Email, now: Timestamp) -> bool {
        let name = Name::Email(address.clone());
        !account.bears(&name) && self.is_taken(&name, now).await
    }

    /// Mails a token to an address that somebody says is theirs, or tells its owner that they have an account already.
    ///
    /// # Errors
    /// When it cannot be written or sent.
    pub async fn verify(
        &self,
        user: &User,
        session: SessionId,
        to: &Email,
        facts: Facts,
    ) -> Result<(Mailed, Revision), VerifyError> {
        let Some(account) = user.account() else { return Err(VerifyError::Write(WriteError::Missing)) };
        let is_taken = self.is_anothers(account, to, facts.now).await;
        let occasion = if is_taken { Occasion::AddressInUse } else { Occasion::VerifyEmail };
        let addressee = Addressee { user: user.id(), username: &account.username, to };
        let (proof, mail) = self.letters.with_proof(ProofPurpose::VerifyEmail, occasion, addressee, &facts)?;
        self.mail(user, proof, mail, session, facts).await
    }

    /// Mails a token to the address that is known to be the user's, which this session shows with the password.
    ///
    /// # Errors
    /// When there is no such address, or it cannot be written or sent.
    pub async fn confirm(&self, user: &User, session: SessionId, facts: Facts) -> Result<Revision, VerifyError> {
        let account = user.account().and_then(|account| Some((account, account.verified_email()?)));
        let (account, to) = account.ok_or(WriteError::Refused(AccountError::NoAddress))?;
        let addressee = Addressee { user: user.id(), username: &account.username, to };
        let (purpose, occasion) = (ProofPurpose::Reauthentication, Occasion::ConfirmSignIn);
        let (proof, mail) = self.letters.with_proof(purpose, occasion, addressee, &facts)?;
        self.mail(user, proof, mail, session, facts).await.map(|(_, revision)| revision)
    }

    async fn mail(
        &self,
        user: &User,
        proof: Proof,
        mail: Mail,
        session: SessionId,
        facts: Facts,
    ) -> Result<(Mailed, Revision), VerifyError> {
        let command = MailProof { proof, mail: mail.clone(), session: Some(session) };
        let done = self.finder.users.send(user.id(), command, facts).await?;
        self.posted(Some(&mail).filter(|_| done.reply == Mailed::Sent));
        Ok((done.reply, done.revision))
    }

    /// A mail that tells a person what happened to their account; none without an address.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn notice(&self, occasion: Occasion, user: &User, facts: &Facts) -> Result<Option<Mail>, LetterError> {
        let Some((account, to)) = user.account().and_then(|account| Some((account, account.email.as_ref()?))) else {
            return Ok(None);
        };
        let addressee = Addressee { user: user.id(), username: &account.username, to };
        self.letters.notice(occasion, addressee, facts).map(Some)
    }
}

/// Whom a mail to the user's own address is for: nobody, if they may not act or have none.
fn addressee(user: &User) -> Option<Addressee<'_>> {
    let account = user.account().filter(|account| account.is_active())?;
    Some(Addressee { user: user.id(), username: &account.username, to: account.email.as_ref()? })
}
