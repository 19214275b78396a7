//! What a new password must be: long enough, not too long (NIST SP 800-63B section 3.1.1: length, no composition rules).

use crate::accounts::settings::Settings;
use crate::kernel::fault::FieldError;
use crate::kernel::secret::{ExposeSecret, SecretString};

impl Settings {
    /// Accepts a new password, or says what is wrong with it.
    ///
    /// # Errors
    /// Names the field `password`, never the password.
    pub fn accept_password(&self, password: &SecretString) -> Result<(), FieldError> {
        let characters = password.expose_secret().chars().count();
        if (self.password_min_length..=self.password_max_length).contains(&characters) {
            return Ok(());
        }
        let (least, most) = (self.password_min_length, self.password_max_length);
        Err(FieldError::new("password", format!("expected {least} to {most} characters")))
    }
}
