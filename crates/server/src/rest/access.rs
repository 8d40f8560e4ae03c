//! What a call needs, as data, and what the caller has.

use config::acl::Privileges;

/// What a route asks of its caller before its handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// No authentication.
    Nobody,
    /// Any known identity; the handler may check more.
    Anyone,
    /// The superuser, nobody else.
    Superuser,
    /// Privileges on the datastore and namespace the call names.
    Content {
        /// Any of these: no further check.
        full: Privileges,
        /// Any of these: the owner of the group is checked too.
        limited: Privileges,
    },
    /// Any of these privileges on the datastore; the refusal is sent a little late.
    Store(Privileges),
}

/// How far a caller's privileges reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All groups.
    Full,
    /// Groups the caller owns.
    Owned,
}
