//! Who calls: tickets, cookies, API tokens, and what they may do.

pub(crate) mod cookie;
pub(crate) mod directory;
pub(crate) mod identify;
pub(crate) mod keys;
pub(crate) mod ticket;
pub(crate) mod token;
