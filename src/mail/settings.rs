//! The settings of mail.

use lettre::SmtpTransport;
use lettre::message::Mailbox;

use crate::kernel::fault::Malformed;
use crate::kernel::secret::{ExposeSecret, SecretText};
use crate::kernel::setting::settings;

settings! {
    /// Mail to people.
    pub struct Settings {
        /// The server that delivers mail, such as `smtps://user:password@smtp.example.org` (TLS) or
        /// `smtp://smtp.example.org?tls=required` (STARTTLS). Empty: mail stays in the outbox, where a holder of
        /// `sesame.outbox:read` finds it.
        smtp_url: SecretText = SecretText::default(), rule is_smtp, alias "SMTP_URL";
        /// Whom mail is from.
        from: String = "Sesame <sesame@localhost>".to_owned(), rule is_sender;
        /// Where the application's pages for mailed links are; empty: `http.public_url`. The token follows behind a `#`,
        /// so that it is in no log: `/verify-email#token=…`, `/reset-password#token=…`, `/accept-invitation#token=…`,
        /// `/confirm-sign-in#token=…` (beside the password, where a session looked unusual).
        links_url: String = String::new(), rule is_web_address;
        /// A folder with other templates, each beside a name such as `reset-password.txt` and `reset-password.html`.
        templates_directory: String = String::new();
        /// How often a mail is tried, at longer and longer intervals.
        max_attempts: u32 = 8, in 1..=50;
        /// How long a mail that could not be delivered is kept.
        retention_days: u64 = 7, in 1..=365;
    }
}

fn is_smtp(url: &SecretText) -> Result<(), Malformed> {
    let url = url.expose_secret();
    if url.is_empty() {
        return Ok(());
    }
    let read = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host());
    read.ok_or_else(|| Malformed::new("expected smtp:// or smtps:// with a host, or nothing"))?;
    SmtpTransport::from_url(url).map(drop).map_err(|error| Malformed(error.to_string()))
}

fn is_sender(from: &str) -> Result<(), Malformed> {
    let expected = "expected an address such as sesame@example.org, or Sesame <sesame@example.org>";
    from.parse::<Mailbox>().map(drop).map_err(|_| Malformed::new(expected))
}

fn is_web_address(url: &str) -> Result<(), Malformed> {
    let is_good = url.is_empty()
        || url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.fragment().is_none());
    is_good.then_some(()).ok_or_else(|| Malformed::new("expected https:// or http://, or nothing"))
}
