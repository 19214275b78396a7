//! The writes to sessions and devices.

mod activate;
mod device;
mod ending;
mod refresh;
mod start;
mod suspect;

pub use activate::{ActivateRoles, MAX_CHOSEN};
pub use device::{ChangeDevice, ForgetDevice};
pub use ending::{CatchUpSessions, EndSessions, Which};
pub use refresh::{RefreshSession, Refreshed, RenewSession};
pub use start::{Begun, DeviceClaim, StartSession};
pub use suspect::{NoteFailures, SuspectSession};
