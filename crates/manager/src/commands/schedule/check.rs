//! `schedule check`: what `systemd-analyze calendar` is for timers.

use anyhow::Result;
use calendar::{Difference, Reading, Schedule, TimeSpan, When};
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::context::Context;
use crate::moment::Moment;
use crate::outcome::Outcome;

/// A time as systemd prints it.
const FORM: &str = "%a %Y-%m-%d %H:%M:%S %Z";

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Calendar event, or an interval such as `every 5min`
    #[arg(value_name = "SCHEDULE")]
    schedule: String,

    /// Show so many of the next times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    iterations: u32,

    /// Look from this time on: RFC 3339, `YYYY-MM-DD HH:MM[:SS]` in the time zone, or @SECONDS [default: now]
    #[arg(long, value_name = "TIME")]
    base_time: Option<Moment>,

    /// Take this for the time zone of the host, for example Europe/Vienna
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    timezone: Option<Tz>,
}

fn parse_zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| "no time zone has this name; write for example Europe/Vienna or UTC".to_owned())
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<Outcome> {
        let schedule: Schedule = self.schedule.parse()?;
        let zone = self.timezone.unwrap_or_else(host_zone);
        let now = Utc::now().timestamp();
        let base = self.base_time.map_or(Ok(now), |time| time.seconds("base-time", zone))?;
        let times = next_times(&schedule, base, zone, self.iterations);
        if ctx.out.is_text() {
            ctx.out.line(&text(&schedule, &times, zone, now))?;
        } else {
            let next: Vec<String> = times.iter().map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).collect();
            let canonical = schedule.canonical();
            ctx.out.json(&json!({ "canonical": canonical, "reading": name(reading(&schedule)), "next": next }))?;
        }
        Ok(Outcome::Done)
    }
}

/// The time zone of this host; one that cannot be told is warned of.
fn host_zone() -> Tz {
    let host = jobs::host_zone(std::env::var("TZ").ok().as_deref());
    if let Some(warning) = host.warning {
        eprintln!("Warning: {warning}");
    }
    host.zone
}

fn next_times(schedule: &Schedule, base: i64, zone: Tz, count: u32) -> Vec<DateTime<Utc>> {
    let mut last = base;
    let next = || {
        last = schedule.next_after(last, zone)?;
        DateTime::from_timestamp(last, 0)
    };
    std::iter::from_fn(next).take(count as usize).collect()
}

fn differences(schedule: &Schedule) -> &[Difference] {
    match schedule.when() {
        When::Event(event) => event.differences(),
        When::Every(_) => &[],
    }
}

/// An interval is one of systemd's time spans.
fn reading(schedule: &Schedule) -> Reading {
    match schedule.when() {
        When::Event(event) => event.reading(),
        When::Every(_) => Reading::Systemd,
    }
}

fn name(reading: Reading) -> &'static str {
    match reading {
        Reading::Systemd => "systemd",
        Reading::Pbs => "pbs",
    }
}

fn text(schedule: &Schedule, times: &[DateTime<Utc>], zone: Tz, now: i64) -> String {
    let mut lines = Vec::new();
    let mut line = |label: &str, value: &str| lines.push(format!("{label:>15}: {value}"));
    let canonical = schedule.canonical();
    if schedule.as_str() != canonical {
        line("Original form", schedule.as_str());
    }
    line("Normalized form", &canonical);
    let differences = differences(schedule);
    if !differences.is_empty() {
        line("Reading", name(reading(schedule)));
    }
    for difference in differences {
        line("Note", &difference.to_string());
    }
    if times.is_empty() {
        line("Next elapse", "never");
    }
    for (index, time) in times.iter().enumerate() {
        let label = if index == 0 { "Next elapse".to_owned() } else { format!("Iter. #{}", index + 1) };
        line(&label, &time.with_timezone(&zone).format(FORM).to_string());
        if zone != Tz::UTC {
            line("(in UTC)", &time.format(FORM).to_string());
        }
        line("From now", &from_now(time.timestamp() - now));
    }
    lines.join("\n")
}

/// `2h 5min left`, in two units at most.
fn from_now(seconds: i64) -> String {
    let span = TimeSpan::from_secs(seconds.unsigned_abs()).to_string();
    let short: Vec<&str> = span.split(' ').take(2).collect();
    format!("{} {}", short.join(" "), if seconds < 0 { "ago" } else { "left" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(schedule: &str, base: &str, zone: Tz, count: u32) -> String {
        let schedule: Schedule = schedule.parse().unwrap();
        let base = base.parse::<Moment>().unwrap().seconds("base-time", zone).unwrap();
        text(&schedule, &next_times(&schedule, base, zone, count), zone, base)
    }

    #[test]
    fn it_looks_like_systemd_analyze() {
        let lines = [
            "  Original form: sat..sun 2:30",
            "Normalized form: Sat,Sun *-*-* 02:30:00",
            "    Next elapse: Sat 2026-03-28 02:30:00 CET",
            "       (in UTC): Sat 2026-03-28 01:30:00 UTC",
            "       From now: 2h 30min left",
            "       Iter. #2: Sat 2026-04-04 02:30:00 CEST",
            "       (in UTC): Sat 2026-04-04 00:30:00 UTC",
            "       From now: 1w 1h left",
        ];
        assert_eq!(shown("sat..sun 2:30", "2026-03-28 00:00", Tz::Europe__Vienna, 2), lines.join("\n"));
        assert_eq!(
            shown("2020-01-01 00:00:00", "@1767225600", Tz::UTC, 1),
            "Normalized form: 2020-01-01 00:00:00\n    Next elapse: never"
        );
    }

    #[test]
    fn it_says_whose_reading_is_used_where_the_two_differ() {
        let minute = shown("12", "@1767225600", Tz::UTC, 1);
        assert!(minute.contains("        Reading: pbs\n           Note: a lone number is a minute"), "{minute}");
        assert!(
            shown("26-6-1", "@1767225600", Tz::UTC, 1).contains("        Reading: systemd\n           Note: a stock")
        );
        assert!(!shown("hourly", "@1767225600", Tz::UTC, 1).contains("Reading"));
    }
}
