//! What the settings name outside of the store: files, folders, addresses, domains. Read once, in one place, before anything
//! is made: `check-config` and a start ask the same, and so say the same.

use std::path::Path;
use std::sync::Arc;

use crate::accounts::letters::Letters;
use crate::accounts::relying_party::Ceremonies;
#[cfg(feature = "passkeys")]
use crate::accounts::webauthn::WebAuthn;
use crate::config::{Complaint, Complaints, Config};
use crate::mail::templates::Templates;
use crate::profiles::painter::Painter;
use crate::sessions::atlas::Atlas;
use crate::webhook::Webhook;

/// What was found there.
pub struct Tools {
    /// The operator's database of places.
    pub atlas: Option<Arc<Atlas>>,
    /// Writes mails.
    pub letters: Arc<Letters>,
    /// The protocol of passkeys: none where the site has no domain, or the program was built without them.
    pub passkeys: Option<Arc<dyn Ceremonies>>,
    /// Sends text messages.
    pub messenger: Option<Webhook>,
    /// Reads pictures.
    pub painter: Painter,
}

impl Tools {
    /// Reads and looks at all of it.
    ///
    /// # Errors
    /// Everything that cannot be used, by the names of its settings.
    pub fn of(config: &Config) -> Result<Self, Complaints> {
        match (atlas(config), letters(config), passkeys(config), messenger(config), painter(config)) {
            (Ok(atlas), Ok(letters), Ok(passkeys), Ok(messenger), Ok(painter)) => {
                Ok(Self { atlas, letters, passkeys, messenger, painter })
            }
            (atlas, letters, passkeys, messenger, painter) => {
                let complaints = [atlas.err(), letters.err(), passkeys.err(), messenger.err(), painter.err()];
                Err(Complaints(complaints.into_iter().flatten().collect()))
            }
        }
    }
}

fn complaint(place: &str, message: impl ToString) -> Complaint {
    Complaint { place: place.to_owned(), message: message.to_string() }
}

fn atlas(config: &Config) -> Result<Option<Arc<Atlas>>, Complaint> {
    let file = &config.sessions.places_file;
    if file.is_empty() {
        return Ok(None);
    }
    let atlas = Atlas::open(Path::new(file));
    let unusable = |error| complaint("sessions.places_file", format!("{file} cannot be used: {error}"));
    Ok(Some(Arc::new(atlas.map_err(unusable)?)))
}

fn letters(config: &Config) -> Result<Arc<Letters>, Complaint> {
    let folder = Some(config.mail.templates_directory.as_str()).filter(|folder| !folder.is_empty()).map(Path::new);
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(complaint("mail.templates_directory", format!("{} is not a folder", folder.display())));
    }
    let templates = Templates::load(folder).map_err(|error| complaint("mail.templates_directory", error))?;
    let site = config.http.public_url.clone();
    let links = Some(config.mail.links_url.clone()).filter(|links| !links.is_empty()).unwrap_or_else(|| site.clone());
    Ok(Arc::new(Letters::new(templates, site, links)))
}

/// Passkeys belong to a domain: where the site has none, or the program was built without them, nobody has any.
#[cfg(feature = "passkeys")]
fn passkeys(config: &Config) -> Result<Option<Arc<dyn Ceremonies>>, Complaint> {
    let (settings, site) = (&config.accounts, &config.http.public_url);
    let origins = Some(settings.passkey_origins.clone()).filter(|origins| !origins.is_empty());
    let origins = origins.unwrap_or_else(|| vec![site.clone()]);
    let protocol = WebAuthn::new(&settings.passkey_domain, &origins, &settings.issuer_name);
    let protocol = protocol.map_err(|wrong| complaint(&format!("accounts.{}", wrong.field), wrong.message))?;
    Ok(protocol.map(|protocol| Arc::new(protocol) as Arc<dyn Ceremonies>))
}

#[cfg(not(feature = "passkeys"))]
#[expect(clippy::unnecessary_wraps, reason = "with passkeys there is something to complain about")]
fn passkeys(_: &Config) -> Result<Option<Arc<dyn Ceremonies>>, Complaint> {
    Ok(None)
}

fn messenger(config: &Config) -> Result<Option<Webhook>, Complaint> {
    let profiles = &config.profiles;
    if profiles.sms_webhook_url.is_empty() {
        return Ok(None);
    }
    let (secret, allows_private) = (profiles.sms_webhook_secret.clone(), profiles.sms_webhook_private);
    let webhook = Webhook::new(&profiles.sms_webhook_url, secret, allows_private);
    Ok(Some(webhook.map_err(|error| complaint("profiles.sms_webhook_url", error))?))
}

fn painter(config: &Config) -> Result<Painter, Complaint> {
    let program = Path::new(&config.profiles.avatar_program);
    if program.as_os_str().is_empty() || program.is_file() {
        return Ok(Painter::new(program));
    }
    Err(complaint("profiles.avatar_program", format!("{} is not a file", program.display())))
}
