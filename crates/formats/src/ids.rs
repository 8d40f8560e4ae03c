//! Names of configured things: datastores, remotes, sync jobs.

use std::fmt;
use std::str::FromStr;

use crate::name_error::{NameError, is_safe_id, serde_as_text};

macro_rules! configured_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// A safe id of 3 to 32 characters.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if !is_safe_id(text) {
                    return Err(NameError::new($what, text, crate::name_error::SAFE_ID_RULE));
                }
                if !(3..=32).contains(&text.len()) {
                    return Err(NameError::new($what, text, "must have 3 to 32 characters"));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        serde_as_text!($name);
    };
}

configured_name! {
    /// Name of a datastore.
    StoreName, "datastore name"
}
configured_name! {
    /// Name of a configured remote.
    RemoteName, "remote name"
}
configured_name! {
    /// Name of a configured sync job.
    JobId, "job id"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_names_have_3_to_32_safe_characters() {
        for good in ["abc", "s-1", &"x".repeat(32)] {
            assert_eq!(good.parse::<StoreName>().unwrap().to_string(), good);
        }
        for bad in ["", "ab", &"x".repeat(33), "a/b", "-abc", ".abc", "a b c"] {
            assert!(bad.parse::<StoreName>().is_err(), "{bad:?}");
            assert!(bad.parse::<RemoteName>().is_err(), "{bad:?}");
            assert!(bad.parse::<JobId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_strings_in_json() {
        let name: StoreName = serde_json::from_str("\"store1\"").unwrap();

        assert_eq!(serde_json::to_string(&name).unwrap(), "\"store1\"");
        assert!(serde_json::from_str::<StoreName>("\"../etc\"").is_err());
        assert!(serde_json::from_str::<StoreName>("7").is_err());
    }
}
