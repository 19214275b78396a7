//! The permissions of the product itself: who may administer it, and who may ask it.

/// A permission that a route of the product may require.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductPermission {
    /// See accounts.
    UsersRead,
    /// Create, change and remove accounts.
    UsersWrite,
    /// See roles, permissions and who holds them.
    RolesRead,
    /// Change roles, permissions and who holds them.
    RolesWrite,
    /// See service accounts.
    AppsRead,
    /// Create service accounts and their keys.
    AppsWrite,
    /// Read the audit log.
    AuditRead,
    /// Ask permission checks about anybody.
    ChecksRun,
    /// See other people's sessions.
    SessionsRead,
    /// End other people's sessions.
    SessionsWrite,
}

impl ProductPermission {
    /// Every product permission, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::UsersRead,
        Self::UsersWrite,
        Self::RolesRead,
        Self::RolesWrite,
        Self::AppsRead,
        Self::AppsWrite,
        Self::AuditRead,
        Self::ChecksRun,
        Self::SessionsRead,
        Self::SessionsWrite,
    ];

    /// The permission's name, as a role's rule matches it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsersRead => "sesame.users:read",
            Self::UsersWrite => "sesame.users:write",
            Self::RolesRead => "sesame.roles:read",
            Self::RolesWrite => "sesame.roles:write",
            Self::AppsRead => "sesame.apps:read",
            Self::AppsWrite => "sesame.apps:write",
            Self::AuditRead => "sesame.audit:read",
            Self::ChecksRun => "sesame.checks:run",
            Self::SessionsRead => "sesame.sessions:read",
            Self::SessionsWrite => "sesame.sessions:write",
        }
    }
}
