//! What was let in before its session ended, or had to be proved again, changes nothing after it.

use std::sync::Arc;

use serde_json::json;

use sesame::accounts::factor_commands::{OfferTotp, RemoveTotp, RenewRecoveryCodes};
use sesame::accounts::passkey_commands::{RemovePasskey, RenamePasskey};
use sesame::actor::command::{Command, Facts, WriteError};
use sesame::kernel::cause::Cause;
use sesame::kernel::fault::Fault as _;
use sesame::kernel::ids::{ChangeId, DeviceId, PasskeyId, SessionId, UserId};
use sesame::kernel::sheet::{Patch, Sheet};
use sesame::preferences::commands::ChangePreferences;
use sesame::preferences::model::Preferences;
use sesame::profiles::challenge::{ChallengeKind, CodeHash};
use sesame::profiles::commands::{ChangePrivacy, ChangeProfile, DeleteProfile, SetAvatar};
use sesame::profiles::model::Profile;
use sesame::profiles::verification_commands::{SendCode, ShowCode};
use sesame::sessions::commands::{ChangeDevice, EndSessions, ForgetDevice, Which};
use sesame::sessions::ending::EndReason;
use sesame::user::User;

use crate::harness::{PASSWORD, Server, SignedIn};

/// Who asks, with which session.
struct Asking<'a> {
    server: &'a Server,
    user: UserId,
    session: SessionId,
}

impl Asking<'_> {
    /// Sends a command as a handler would, and pushes its name if it is refused because its session is over.
    fn send<C: Command<Target = User>>(&self, late: &mut Vec<&str>, command: C) {
        let (state, user) = (Arc::clone(self.server.state()), self.user);
        let facts = Facts { now: state.clock.now(), cause: Cause::system("test") };
        let sent = actix_rt::System::new().block_on(async move { state.users.send(user, command, facts).await });
        let is_late = |refusal: &C::Refusal| refusal.code() == "unauthenticated";
        if sent.is_err_and(|error| matches!(&error, WriteError::Refused(refusal) if is_late(refusal))) {
            late.push(C::NAME);
        }
    }

    /// Which of one's own writes are refused because their session is over.
    fn late(&self) -> Vec<&str> {
        let (session, now, mut late) = (self.session, self.server.clock.now(), Vec::new());
        let late = &mut late;
        self.send(late, OfferTotp { sealed: Box::from(*b"sealed"), session });
        self.send(late, RemoveTotp { session, notice: None });
        self.send(late, RenewRecoveryCodes { recovery: Vec::new(), session, notice: None });
        let id = PasskeyId::generate(now);
        self.send(late, RenamePasskey { id, if_match: None, name: "mine".into(), session });
        self.send(late, RemovePasskey { id, if_match: None, session, notice: None });
        let (base, patch, change) = (Arc::new(Profile::default()), Patch::default(), ChangeId::generate(now));
        let (profile, undoes) = (|| Arc::clone(&base), None);
        self.send(late, ChangeProfile { base: profile(), patch: patch.clone(), change, undoes, session });
        self.send(late, DeleteProfile { base: profile(), changes: 0, forgotten: Vec::new(), session });
        let consents = Vec::new();
        self.send(late, ChangePrivacy { base: profile(), patch: patch.clone(), consents, change, undoes, session });
        self.send(late, SetAvatar { base: profile(), avatar: None, kept_since: now, change, undoes: None, session });
        let (kind, code) = (ChallengeKind::Phone, CodeHash::of("123456", "+4930123456"));
        self.send(late, SendCode { kind, target: "+4930123456".into(), code, mail: None, session });
        self.send(late, ShowCode { base: profile(), kind, code: "123456".into(), session, notice: None });
        let (base, own, action) = (Arc::new(Preferences::default()), Sheet::default(), "preferences.changed");
        self.send(late, ChangePreferences { base, own, change, undoes, action, session });
        let (id, asked_in) = (DeviceId::generate(now), Some(session));
        self.send(late, ChangeDevice { id, if_match: None, name: None, is_trusted: Some(true), asked_in });
        self.send(late, ForgetDevice { id, if_match: None, asked_in });
        let which = Which::OfDevice(id);
        self.send(late, EndSessions { which, reason: EndReason::RevokedByOwner, asked_in });
        std::mem::take(late)
    }
}

#[test]
fn what_was_let_in_before_its_session_ended_changes_nothing_after() {
    const ALL: [&str; 15] = [
        "offer_totp",
        "remove_totp",
        "renew_recovery_codes",
        "rename_passkey",
        "remove_passkey",
        "change_profile",
        "delete_profile",
        "change_privacy",
        "set_avatar",
        "send_code",
        "show_code",
        "change_preferences",
        "change_device",
        "forget_device",
        "end_sessions",
    ];
    let server = Server::start();
    let admin = server.admin();
    let id = admin.create_user(&json!({ "username": "ann", "password": PASSWORD }));
    let sign_in = || server.anonymous().sign_in("ann", PASSWORD);
    let asking = |by: &SignedIn| {
        let (user, session) = (UserId::parse(&by.id).unwrap(), SessionId::parse(&by.session_id).unwrap());
        Asking { server: &server, user, session }
    };
    let nothing = json!({});
    let ended = sign_in();
    assert_eq!(asking(&ended).late(), [""; 0]);
    sign_in().delete("/api/v1/users/sessions/all?keep_current=true").expect(200);
    assert_eq!(asking(&ended).late(), ALL, "its owner ended it");
    let idle = sign_in();
    server.clock.advance_seconds(30 * 86_400);
    assert_eq!(asking(&idle).late(), ALL, "nobody used it");
    let (halted, admin) = (sign_in(), server.admin());
    admin.post(&format!("/api/v1/users/{id}/suspend"), &nothing).expect(200);
    assert_eq!(asking(&halted).late(), ALL, "the account is suspended");
}
