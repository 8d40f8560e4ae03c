//! The time zone of the host, in which schedules without one of their own are meant.

use std::path::Path;

use chrono_tz::Tz;

/// Where the time zone of a host is set.
const LOCALTIME: &str = "/etc/localtime";

/// The time zone of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostZone {
    /// The zone; UTC where it cannot be told.
    pub zone: Tz,
    /// Why it cannot be told: a sentence for a warning.
    pub warning: Option<String>,
}

/// Finds the time zone of the host, anew with each call, so that a change of it is seen.
///
/// `tz` is the environment variable `TZ`, which counts more than the setting of the host. A host without setting is in
/// UTC, as localtime(5) says.
pub fn host_zone(tz: Option<&str>) -> HostZone {
    let known = |zone| HostZone { zone, warning: None };
    let unknown =
        |what: String| HostZone { zone: Tz::UTC, warning: Some(format!("{what}; schedules are taken as UTC")) };
    let tz = tz.map(|tz| tz.strip_prefix(':').unwrap_or(tz));
    match tz.filter(|tz| *tz != LOCALTIME) {
        Some("") => known(Tz::UTC),
        Some(tz) => {
            let name = tz.split_once("/zoneinfo/").map_or(tz, |(_, name)| name);
            name.parse().map_or_else(|_| unknown(format!("TZ={tz} names no time zone")), known)
        }
        None => match iana_time_zone::get_timezone() {
            Ok(name) => {
                name.parse().map_or_else(|_| unknown(format!("the host's time zone `{name}` is unknown")), known)
            }
            Err(_) if !Path::new(LOCALTIME).exists() => known(Tz::UTC),
            Err(error) => unknown(format!("{LOCALTIME} does not say which time zone it is ({error})")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tz_counts_in_all_its_forms() {
        for tz in ["Europe/Vienna", ":Europe/Vienna", "/usr/share/zoneinfo/Europe/Vienna"] {
            assert_eq!(host_zone(Some(tz)), HostZone { zone: Tz::Europe__Vienna, warning: None }, "{tz}");
        }
        assert_eq!(host_zone(Some("")).zone, Tz::UTC);
        assert_eq!(host_zone(Some(":/etc/localtime")), host_zone(None));
    }

    #[test]
    fn an_unknown_zone_is_utc_with_a_warning() {
        let zone = host_zone(Some("CET-1CEST,M3.5.0,M10.5.0"));
        assert_eq!(zone.zone, Tz::UTC);
        assert!(zone.warning.unwrap().contains("TZ=CET-1CEST"));
    }
}
