//! Delivers mail by SMTP, again and again if need be, within bounds; without a server, mail stays where it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use prometheus::IntCounter;
use tokio::sync::Notify;

use crate::actor::command::Facts;
use crate::actor::directory::{Directory, LoadError};
use crate::kernel::cause::Cause;
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::page::{Page, Paging};
use crate::kernel::secret::ExposeSecret;
use crate::mail::commands::SettleMail;
use crate::mail::letter::Letter;
use crate::mail::listing;
use crate::mail::model::{Delivery, Mail};
use crate::mail::settings::Settings;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::store::SharedStore;

/// How long one delivery may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many mails are delivered at once.
const AT_ONCE: usize = 4;
/// How many mails are in memory at once.
const BATCH: usize = 32;
/// How often the outbox is looked through, beside when something is put there.
const ROUND: Duration = Duration::from_secs(5);
/// The wait after the first failure; it doubles with every further one.
const FIRST_WAIT_SECONDS: i64 = 30;
/// The longest wait.
const LONGEST_WAIT_SECONDS: i64 = 3600;

/// Mail cannot be delivered as it was configured.
#[derive(Debug, thiserror::Error)]
pub enum PostmanError {
    /// The server's address.
    #[error("mail.smtp_url: {0}")]
    Server(#[from] SmtpError),
    /// The sender's address.
    #[error("mail.from: {0}")]
    From(#[from] lettre::address::AddressError),
}

/// What the postman walks between.
pub struct Route {
    /// The mails.
    pub letters: Directory<Letter>,
    /// Where they are kept.
    pub store: SharedStore,
    /// The threads that read there.
    pub loader: Arc<Pool>,
    /// The time.
    pub clock: Clock,
}

/// Delivers mail.
pub struct Postman {
    route: Route,
    server: Option<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
    max_attempts: u32,
    retention_seconds: i64,
    posted: Notify,
    delivered: IntCounter,
    delayed: IntCounter,
    given_up: IntCounter,
}

impl Postman {
    /// As the settings say.
    ///
    /// # Errors
    /// When the server's or the sender's address is none.
    pub fn new(route: Route, settings: &Settings, metrics: &Metrics) -> Result<Self, PostmanError> {
        let url = settings.smtp_url.expose_secret();
        let server = if url.is_empty() {
            None
        } else {
            Some(AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.timeout(Some(PATIENCE)).build())
        };
        let count = |outcome| metrics.mails_total.with_label_values(&[outcome]);
        Ok(Self {
            route,
            server,
            from: settings.from.parse()?,
            max_attempts: settings.max_attempts,
            retention_seconds: i64::try_from(settings.retention_days.saturating_mul(86_400)).unwrap_or(i64::MAX),
            posted: Notify::new(),
            delivered: count("delivered"),
            delayed: count("delayed"),
            given_up: count("given_up"),
        })
    }

    /// Says that there is a new mail in the outbox.
    pub fn posted(&self, mail: &Mail) {
        if self.server.is_none() {
            tracing::info!(mail = %mail.id, occasion = mail.occasion.name(), "no mail server is set: the mail stays in the outbox");
        }
        self.posted.notify_one();
    }

    /// Goes round until it is dropped, a batch at a time. What is posted while it is on its way is seen to before it goes
    /// on: a long outbox, or a server that takes its time, makes nobody wait for a whole round.
    pub async fn run(&self) {
        let mut rounds = tokio::time::interval(ROUND);
        let mut after = None;
        loop {
            if after.is_none() {
                tokio::select! {
                    _ = rounds.tick() => {}
                    () = self.posted.notified() => {}
                }
            } else if self.posted.notified().now_or_never().is_some() {
                // New mail is at the head.
                self.batch(None).await;
            }
            after = self.batch(after).await;
        }
    }

    /// Sees to the mails behind this place; the place behind them, if there are more. What cannot be read is read again in
    /// the next round.
    async fn batch(&self, after: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let page = match self.load(after).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                return None;
            }
        };
        let now = self.route.clock.now();
        let calls = page.items.into_iter().map(|mail| self.see_to(mail, now));
        stream::iter(calls).buffer_unordered(AT_ONCE).collect::<()>().await;
        page.next_cursor.and_then(|cursor| Paging::parse(None, Some(&cursor)).ok()).and_then(|next| next.after)
    }

    async fn load(&self, after: Option<Vec<u8>>) -> Result<Page<Mail>, LoadError> {
        let (store, paging) = (Arc::clone(&self.route.store), Paging { limit: BATCH, after });
        Ok(self.route.loader.run(move || listing::mails(&*store, None, &paging)).await??)
    }

    /// Does for one mail what there is to do.
    async fn see_to(&self, mail: Mail, now: Timestamp) {
        let is_over = mail.created_at.plus_seconds(self.retention_seconds) <= now;
        let is_useless = mail.expires_at.is_some_and(|end| end <= now);
        let outcome = match (&self.server, mail.is_due(now)) {
            _ if is_over => SettleMail::Discard,
            (Some(_), true) if is_useless => SettleMail::GiveUp("it was not delivered while it was of use".into()),
            (Some(server), true) => self.deliver(server, &mail, now).await,
            _ => return,
        };
        match &outcome {
            SettleMail::Delivered => self.delivered.inc(),
            SettleMail::Retry { .. } => self.delayed.inc(),
            SettleMail::GiveUp(_) => self.given_up.inc(),
            SettleMail::Discard => {}
        }
        let facts = Facts { now, cause: Cause::system("mail") };
        if let Err(error) = self.route.letters.send(mail.id, outcome, facts).await {
            tracing::warn!(mail = %mail.id, %error, "what became of a mail could not be written");
        }
    }

    async fn deliver(&self, server: &AsyncSmtpTransport<Tokio1Executor>, mail: &Mail, now: Timestamp) -> SettleMail {
        let message = match self.message(mail) {
            Ok(message) => message,
            Err(error) => return SettleMail::GiveUp(error.into()),
        };
        let (error, is_final) = match tokio::time::timeout(PATIENCE, server.send(message)).await {
            Ok(Ok(_)) => return SettleMail::Delivered,
            Ok(Err(error)) => (described(&error), is_final(&error)),
            Err(_) => ("the server took too long".to_owned(), false),
        };
        let tried = if let Delivery::Waiting { attempts, .. } = mail.delivery { attempts + 1 } else { 1 };
        tracing::warn!(mail = %mail.id, tried, error, "a mail could not be delivered");
        if is_final || tried >= self.max_attempts {
            return SettleMail::GiveUp(error.into());
        }
        let wait = FIRST_WAIT_SECONDS.saturating_mul(1 << tried.saturating_sub(1).min(20)).min(LONGEST_WAIT_SECONDS);
        SettleMail::Retry { not_before: now.plus_seconds(wait), error: error.into() }
    }

    fn message(&self, mail: &Mail) -> Result<Message, String> {
        let to = mail.to.as_str().parse().map_err(|error| format!("the address cannot be written to: {error}"))?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&*mail.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .multipart(MultiPart::alternative_plain_html(mail.text.to_string(), mail.html.to_string()))
            .map_err(|error| error.to_string())
    }
}

/// Whether the server will never take this mail. That it does not let us in is a mistake that somebody mends.
fn is_final(error: &SmtpError) -> bool {
    let is_about_us = error.status().is_some_and(|code| code.to_string().starts_with("53"));
    error.is_permanent() && !is_about_us
}

/// The error and its cause, for whoever reads the outbox.
fn described(error: &SmtpError) -> String {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    let text = format!("{error}{cause}");
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}
