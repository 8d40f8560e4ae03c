//! Finding the ticket among the cookies.

use api_types::protocol::{HOST_TICKET_COOKIE, TICKET_COOKIE};
use http::HeaderMap;
use http::header::COOKIE;
use percent_encoding::percent_decode_str;

/// Returns the ticket of a request, decoded.
///
/// `__Host-PBSAuthCookie` wins over `PBSAuthCookie`. Reading stops at the first element without `=`: some clients send
/// cookie attributes behind the real cookie, a bare `secure` among them.
pub(crate) fn ticket(headers: &HeaderMap) -> Option<String> {
    let mut plain = None;
    for header in headers.get_all(COOKIE) {
        let Ok(text) = std::str::from_utf8(header.as_bytes()) else { continue };
        for element in text.split(';') {
            let Some((name, value)) = element.split_once('=') else { break };
            match name.trim() {
                HOST_TICKET_COOKIE => return Some(decode(value)),
                TICKET_COOKIE if plain.is_none() => plain = Some(decode(value)),
                _ => {}
            }
        }
    }
    plain
}

/// Returns the ticket of the `__Host-` cookie only.
pub(crate) fn host_ticket(headers: &HeaderMap) -> Option<String> {
    headers.get_all(COOKIE).iter().filter_map(|header| std::str::from_utf8(header.as_bytes()).ok()).find_map(|text| {
        text.split(';')
            .map_while(|element| element.split_once('='))
            .find(|(name, _)| name.trim() == HOST_TICKET_COOKIE)
            .map(|(_, value)| decode(value))
    })
}

/// Percent-decodes; `+` stays what it is.
fn decode(value: &str) -> String {
    percent_decode_str(value.trim()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cookies: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        ticket(&headers)
    }

    #[test]
    fn raw_and_encoded_tickets_read_the_same() {
        assert_eq!(found(&["PBSAuthCookie=PBS:u@pbs:1::a+b/c"]).unwrap(), "PBS:u@pbs:1::a+b/c");
        assert_eq!(found(&["PBSAuthCookie=PBS%3Au%40pbs%3A1%3A%3Aa%2Bb%2Fc"]).unwrap(), "PBS:u@pbs:1::a+b/c");
    }

    #[test]
    fn the_host_cookie_wins() {
        assert_eq!(found(&["PBSAuthCookie=a; __Host-PBSAuthCookie=b"]).unwrap(), "b");
        assert_eq!(found(&["PBSAuthCookie=a", "__Host-PBSAuthCookie=b"]).unwrap(), "b");
    }

    #[test]
    fn attributes_behind_the_cookie_do_no_harm() {
        assert_eq!(found(&["x=y; PBSAuthCookie=a; path=/; secure; PBSAuthCookie=b"]).unwrap(), "a");
        assert_eq!(found(&["secure; PBSAuthCookie=b"]), None);
        assert_eq!(found(&[]), None);
    }
}
