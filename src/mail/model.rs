//! A mail, and how far its delivery has come.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{MailId, UserId};
use crate::kernel::text::Email;
use crate::store::Key;
use crate::store::codec::Stored;
use crate::store::key::Kind;

/// Declares what mails are about: the stored order, and the name of the templates.
macro_rules! occasions {
    ($($(#[$doc:meta])* $occasion:ident = $name:literal;)+) => {
        /// What a mail is about. Stored: new ones come last.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Occasion { $($(#[$doc])* $occasion,)+ }

        impl Occasion {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$occasion),+];

            /// Its name, which is also that of its templates.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$occasion => $name),+ }
            }

            /// The texts that ship with the program: plain, with the subject in the first line, and HTML.
            pub const fn shipped(self) -> (&'static str, &'static str) {
                match self { $(Self::$occasion => (
                    include_str!(concat!("../../data/mail/", $name, ".txt")),
                    include_str!(concat!("../../data/mail/", $name, ".html")),
                )),+ }
            }
        }
    };
}

occasions! {
    /// Somebody says that this is their address.
    VerifyEmail = "verify-email";
    /// Somebody wanted an account with the address of an account that there is.
    AddressInUse = "address-in-use";
    /// Somebody forgot the password.
    ResetPassword = "reset-password";
    /// An administrator made an account for somebody.
    Invitation = "invitation";
    /// The password is another one.
    PasswordChanged = "password-changed";
    /// The address is another one; told to the old one.
    EmailChanged = "email-changed";
    /// A second factor came or went.
    FactorsChanged = "factors-changed";
    /// A sign-in or a session was unusual.
    SecurityAlert = "security-alert";
    /// A code that shows that this is their address.
    VerificationCode = "verification-code";
    /// A session that looked unusual is to be proved by somebody who reads this.
    ConfirmSignIn = "confirm-sign-in";
}

/// How far the delivery has come. A mail that was delivered is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// It is to be delivered.
    Waiting {
        /// How often it was tried.
        attempts: u32,
        /// When it is tried next.
        not_before: Timestamp,
        /// What went wrong last.
        last_error: Option<Box<str>>,
    },
    /// Nobody tries any more.
    GivenUp {
        /// Since when.
        at: Timestamp,
        /// Why.
        error: Box<str>,
    },
}

/// One mail to one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Its id.
    pub id: MailId,
    /// Whom it is about, who is usually whom it is to.
    pub user: UserId,
    /// Where to.
    pub to: Email,
    /// What about.
    pub occasion: Occasion,
    /// The subject.
    pub subject: Box<str>,
    /// The plain text.
    pub text: Box<str>,
    /// The same in HTML.
    pub html: Box<str>,
    /// When it was written.
    pub created_at: Timestamp,
    /// From when on it is of no use to anybody.
    pub expires_at: Option<Timestamp>,
    /// How far it has come.
    pub delivery: Delivery,
}

impl Stored for Mail {
    const VERSION: u8 = 1;
}

impl Mail {
    /// Where it is kept.
    pub fn key(&self) -> Key {
        key_of(self.id)
    }

    /// Whether it is to be tried at this moment.
    pub fn is_due(&self, now: Timestamp) -> bool {
        matches!(self.delivery, Delivery::Waiting { not_before, .. } if not_before <= now)
    }
}

/// The key of a mail: its id with every bit turned, so that key order is newest first.
pub fn key_of(id: MailId) -> Key {
    Key::of(Kind::Mail, &[&id.bytes().map(|byte| !byte)])
}
