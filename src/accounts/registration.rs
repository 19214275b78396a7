//! Who may register.

use std::fmt;
use std::str::FromStr;

use crate::kernel::fault::Malformed;
use crate::kernel::setting::text_setting;

/// Who may make an account for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Whom an administrator invited.
    Invitation,
    /// Nobody.
    Closed,
}

impl Registration {
    const ALL: [Self; 3] = [Self::Open, Self::Invitation, Self::Closed];

    const fn text(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invitation => "invitation",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for Registration {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = Self::ALL.into_iter().find(|one| one.text() == text);
        found.ok_or_else(|| Malformed::new("expected open, invitation or closed"))
    }
}

text_setting!(Registration, "open, invitation or closed");
