//! The permissions of the product itself, and its built-in roles: one line each.
//!
//! They are ordinary permissions; an administrator is simply a holder of the role `administrator`.

/// Declares the product's permissions.
macro_rules! product_permissions {
    ($($(#[doc = $about:literal])+ $variant:ident = $name:literal;)+) => {
        /// A permission that a route of the product asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProductPermission { $($(#[doc = $about])+ $variant,)+ }

        impl ProductPermission {
            /// Every one, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name, `sesame.…:…`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it allows, in words.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+)),+ }
            }
        }
    };
}

product_permissions! {
    /// Run permission checks about any subject.
    ChecksRun = "sesame.checks:run";
    /// Ask whether a token is alive, and whose it is.
    SessionsIntrospect = "sesame.sessions:introspect";
    /// Read the sessions, devices and security events of others.
    SessionsRead = "sesame.sessions:read";
    /// End the sessions of others, and sign out their devices.
    SessionsWrite = "sesame.sessions:write";
    /// Sign access tokens with a new key.
    KeysRotate = "sesame.keys:rotate";
    /// Read and list users.
    UsersRead = "sesame.users:read";
    /// Create, change, suspend and delete users.
    UsersWrite = "sesame.users:write";
    /// Read and list service accounts.
    AppsRead = "sesame.apps:read";
    /// Create and delete service accounts and their keys.
    AppsWrite = "sesame.apps:write";
    /// Read roles, permissions, assignments and grants.
    RolesRead = "sesame.roles:read";
    /// Define roles and permissions.
    RolesWrite = "sesame.roles:write";
    /// Assign and unassign roles, grant and revoke permissions.
    AssignmentsWrite = "sesame.assignments:write";
    /// Read the audit log.
    AuditRead = "sesame.audit:read";
    /// Read mails that were not delivered, with the tokens in them: as good as being anybody whose mail is in there.
    OutboxRead = "sesame.outbox:read";
    /// Read and set the defaults of preferences, and register namespaces.
    PreferencesWrite = "sesame.preferences:write";
    /// Read and list stored resources.
    ResourcesRead = "sesame.resources:read";
    /// Store, change and forget resources: what conditions and scopes of checks about them go by.
    ResourcesWrite = "sesame.resources:write";
}

/// A role that ships with the product and cannot be changed or removed.
#[derive(Debug, Clone, Copy)]
pub struct BuiltInRole {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What it allows.
    pub permissions: &'static [ProductPermission],
}

/// Holds everything the product can do.
pub const ADMINISTRATOR: &str = "administrator";
/// For applications: runs checks and introspects tokens, nothing else.
pub const CHECKER: &str = "checker";

/// Every built-in role.
pub const BUILT_IN_ROLES: &[BuiltInRole] = &[
    BuiltInRole {
        name: ADMINISTRATOR,
        about: "May do everything in Sesame itself.",
        permissions: ProductPermission::ALL,
    },
    BuiltInRole {
        name: CHECKER,
        about: "For applications: runs permission checks and asks whether a session is alive.",
        permissions: &[ProductPermission::ChecksRun, ProductPermission::SessionsIntrospect],
    },
];
