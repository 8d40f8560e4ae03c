//! Tickets `PBS:USER:TIME::SIGNATURE` and CSRF tokens `TIME:SIGNATURE`.

use api_types::protocol::{TICKET_LIFETIME, TICKET_SKEW};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use formats::UserId;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::keys::Keys;

/// What is percent-encoded in the data of a ticket; text beyond ASCII is in any case.
const ESCAPED: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// Makes a ticket.
pub(crate) fn issue(keys: &Keys, user: &UserId, now: i64) -> String {
    let text = signed_part(user, now);
    format!("{text}::{}", STANDARD_NO_PAD.encode(keys.sign_ticket(&text)))
}

/// A ticket's readable part, for logins that keep the ticket in a cookie.
pub(crate) fn info(user: &UserId, now: i64) -> String {
    format!("{}::ticketinfo", signed_part(user, now))
}

fn signed_part(user: &UserId, now: i64) -> String {
    format!("PBS:{}:{now:08X}", utf8_percent_encode(&user.to_string(), ESCAPED))
}

/// Returns the user of a ticket that is ours and still good.
pub(crate) fn check(keys: &Keys, ticket: &str, now: i64) -> Option<UserId> {
    let (text, signature) = ticket.rsplit_once("::")?;
    let signature = STANDARD_NO_PAD.decode(signature).or_else(|_| STANDARD.decode(signature)).ok()?;
    if !keys.verify_ticket(text, &signature) {
        return None;
    }
    let (data, time) = text.strip_prefix("PBS:")?.rsplit_once(':')?;
    fresh(time, now)?;
    percent_decode_str(data).decode_utf8().ok()?.parse().ok()
}

/// Makes a CSRF token, bound to the user.
pub(crate) fn issue_csrf(keys: &Keys, user: &UserId, now: i64) -> String {
    let time = format!("{now:08X}");
    let signature = keys.sign_csrf(&format!("{time}:{user}:"));
    format!("{time}:{}", STANDARD_NO_PAD.encode(signature))
}

/// Whether that is a CSRF token of this user and still good.
pub(crate) fn check_csrf(keys: &Keys, token: &str, user: &UserId, now: i64) -> bool {
    let good = || {
        let (time, signature) = token.split_once(':')?;
        fresh(time, now)?;
        let signature = STANDARD_NO_PAD.decode(signature).ok()?;
        Some(keys.verify_csrf(&format!("{time}:{user}:"), &signature))
    };
    good().unwrap_or(false)
}

fn fresh(time: &str, now: i64) -> Option<()> {
    let issued = i64::from_str_radix(time, 16).ok()?;
    let age = now.checked_sub(issued)?;
    (-TICKET_SKEW..=TICKET_LIFETIME).contains(&age).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_760_000_000;

    fn keys() -> Keys {
        Keys::new(&[1; 32], &[2; 32])
    }

    fn user() -> UserId {
        "some-one@pbs".parse().unwrap()
    }

    #[test]
    fn a_ticket_names_its_user_for_two_hours() {
        let keys = keys();
        let ticket = issue(&keys, &user(), NOW);
        assert!(ticket.starts_with("PBS:some-one@pbs:68E7"), "{ticket}");
        for (age, good) in [(-301, false), (-300, true), (0, true), (7200, true), (7201, false)] {
            assert_eq!(check(&keys, &ticket, NOW + age).is_some(), good, "{age}");
        }
    }

    #[test]
    fn a_changed_or_cut_ticket_is_refused() {
        let keys = keys();
        let ticket = issue(&keys, &user(), NOW);
        assert!(check(&keys, &ticket.replace("some", "same"), NOW).is_none());
        for length in 0..ticket.len() {
            assert!(check(&keys, &ticket[..length], NOW).is_none(), "{length}");
        }
        assert!(check(&keys, &info(&user(), NOW), NOW).is_none());
    }

    #[test]
    fn a_csrf_token_is_bound_to_its_user_and_time() {
        let keys = keys();
        let token = issue_csrf(&keys, &user(), NOW);
        assert!(check_csrf(&keys, &token, &user(), NOW + 7200));
        assert!(!check_csrf(&keys, &token, &user(), NOW + 7201));
        assert!(!check_csrf(&keys, &token, &"other@pbs".parse().unwrap(), NOW));
        assert!(!check_csrf(&keys, "invalid", &user(), NOW));
        assert!(!check_csrf(&keys, &issue(&keys, &user(), NOW), &user(), NOW));
    }
}
