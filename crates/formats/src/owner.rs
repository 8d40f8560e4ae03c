//! Who owns a backup: users, API tokens, and the authentication id that is either of them.

use std::fmt;
use std::str::FromStr;

use crate::name_error::{NameError, SAFE_ID_RULE, is_safe_id, serde_as_text};

/// A user, `name@realm`.
///
/// The name has no blank, `:`, `/` or control character; the realm is a safe id of 2 to 32 characters; the whole has
/// 3 to 64 characters. The realm begins after the **last** `@`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId {
    text: String,
    at: usize,
}

impl UserId {
    /// Returns the part before the last `@`.
    pub fn name(&self) -> &str {
        &self.text[..self.at]
    }

    /// Returns the part after the last `@`.
    pub fn realm(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// Returns the user as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether this is the superuser, exactly `root@pam`.
    pub fn is_root(&self) -> bool {
        self.text == "root@pam"
    }
}

impl FromStr for UserId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = |rule| Err(NameError::new("user id", text, rule));
        let Some(at) = text.rfind('@') else { return bad("must be name@realm") };
        let (name, realm) = (&text[..at], &text[at + 1..]);
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/')) {
            return bad("the name must not be empty nor contain blanks, `:`, `/` or control characters");
        }
        if !is_safe_id(realm) || !(2..=32).contains(&realm.len()) {
            return bad("the realm must be 2 to 32 letters, digits, `.`, `_` or `-`");
        }
        if !has_valid_length(text) {
            return bad("must have 3 to 64 characters");
        }
        Ok(Self { text: text.to_owned(), at })
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Name of an API token, unique for its user; a safe id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(String);

impl TokenName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_safe_id(text) || text.len() > 64 {
            return Err(NameError::new("token name", text, SAFE_ID_RULE));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An identity that can log in and own backups: `name@realm` or `name@realm!token`, 3 to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthId {
    user: UserId,
    token: Option<TokenName>,
}

impl AuthId {
    /// Makes the identity of a token of `user`.
    ///
    /// # Errors
    /// When the two together have more than 64 characters.
    pub fn of_token(user: UserId, token: TokenName) -> Result<Self, NameError> {
        let text = format!("{user}!{token}");
        if !has_valid_length(&text) {
            return Err(NameError::new("authentication id", &text, "must have 3 to 64 characters"));
        }
        Ok(Self { user, token: Some(token) })
    }

    /// Returns the user, for a token the user it belongs to.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Returns the token's name, `None` for a user.
    pub fn token(&self) -> Option<&TokenName> {
        self.token.as_ref()
    }

    /// Tells whether this is a token.
    pub fn is_token(&self) -> bool {
        self.token.is_some()
    }

    /// Tells whether this is the superuser: exactly `root@pam`, none of its tokens.
    pub fn is_root(&self) -> bool {
        self.token.is_none() && self.user.is_root()
    }

    /// Tells whether this identity passes for the owner of what `owner` owns.
    ///
    /// It does when both are equal, and when `owner` is a token of this user. A token passes neither for its user nor
    /// for a sibling token.
    pub fn owns(&self, owner: &AuthId) -> bool {
        self == owner || (self.token.is_none() && self.user == owner.user)
    }
}

impl From<UserId> for AuthId {
    fn from(user: UserId) -> Self {
        Self { user, token: None }
    }
}

impl FromStr for AuthId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some(at) = text.rfind('@') else {
            return Err(NameError::new("authentication id", text, "must be name@realm or name@realm!token"));
        };
        match text[at..].find('!') {
            None => Ok(Self { user: text.parse()?, token: None }),
            Some(mark) => Self::of_token(text[..at + mark].parse()?, text[at + mark + 1..].parse()?),
        }
    }
}

impl fmt::Display for AuthId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            None => self.user.fmt(f),
            Some(token) => f.pad(&format!("{}!{token}", self.user)),
        }
    }
}

serde_as_text!(UserId, TokenName, AuthId);

fn has_valid_length(text: &str) -> bool {
    (3..=64).contains(&text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(text: &str) -> AuthId {
        text.parse().unwrap()
    }

    #[test]
    fn the_realm_begins_at_the_last_at_sign() {
        let id = auth("me@example.com@pbs!tok-1");

        assert_eq!((id.user().name(), id.user().realm()), ("me@example.com", "pbs"));
        assert_eq!(id.token().unwrap().as_str(), "tok-1");
        assert_eq!(id.to_string(), "me@example.com@pbs!tok-1");
    }

    #[test]
    fn an_exclamation_mark_before_the_at_sign_belongs_to_the_name() {
        let id = auth("hey!you@pbs");

        assert_eq!(id.user().name(), "hey!you");
        assert!(!id.is_token());
    }

    #[test]
    fn malformed_identities_are_refused() {
        let long = format!("{}@pbs", "x".repeat(61));
        for bad in
            ["", "root", "@pam", "a b@pam", "a:b@pam", "a/b@pam", "a\u{7}b@pam", "a@p", "a@pam!", "a@pam!-x", &long]
        {
            assert!(bad.parse::<AuthId>().is_err(), "{bad:?}");
        }
        assert!("x@pam!t".parse::<UserId>().is_err());
    }

    #[test]
    fn only_the_user_itself_is_root() {
        assert!(auth("root@pam").is_root());
        assert!(!auth("root@pam!t").is_root());
        assert!(!auth("root@pbs").is_root());
    }

    #[test]
    fn a_user_owns_what_its_tokens_own_and_never_the_other_way_round() {
        let (user, one, two) = (auth("a@pbs"), auth("a@pbs!one"), auth("a@pbs!two"));

        assert!(user.owns(&user) && user.owns(&one) && one.owns(&one));
        assert!(!one.owns(&user) && !one.owns(&two) && !user.owns(&auth("b@pbs!one")));
    }
}
