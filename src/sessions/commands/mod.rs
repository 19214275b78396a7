//! The writes to sessions and devices.

mod device;
mod ending;
mod refresh;
mod start;
mod suspect;

pub use device::{ChangeDevice, ForgetDevice};
pub use ending::{CatchUpSessions, EndSessions, Which};
pub use refresh::{RefreshSession, Refreshed, RenewSession};
pub use start::{Begun, DeviceClaim, StartSession};
pub use suspect::SuspectSession;
