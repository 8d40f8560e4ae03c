//! Random events, always the same ones.

use calendar::{CalendarEvent, Reading};
use chrono_tz::Tz;

use crate::analyze::{self, Answer};

const ROUNDS: usize = 70;
const EVENTS: usize = 40;
/// Days from the end of the month: systemd takes up to 28 for the first of a list, 25 for the second and 22 for the third.
/// We take 28 for all.
const LAST_DAYS: u32 = 22;

const ITERATIONS: usize = 4;

/// First second of 2100, from where on our tables know no summer time.
const END_OF_TABLES: i64 = 4_102_444_800;

/// A small generator of numbers: xorshift, from a fixed seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 33) % u64::from(bound)).unwrap()
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(u32::try_from(texts.len()).unwrap()) as usize]
    }

    /// One time in `times`.
    fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// A list of values; now and then one that does not fit, or that only a stock server takes.
    fn list(&mut self, low: u32, high: u32) -> String {
        if self.once_in(3) {
            return "*".into();
        }
        let count = 1 + if self.once_in(3) { self.below(3) } else { 0 };
        let items: Vec<String> = (0..count).map(|_| self.item(low, high)).collect();
        items.join(",")
    }

    fn item(&mut self, low: u32, high: u32) -> String {
        let span = high - low;
        if high != LAST_DAYS && self.once_in(60) {
            return (high + 1 + self.below(3)).to_string();
        }
        // Left out, since systemd has its own way: ends that a step does not reach (hours 22..25/4), seconds 5..5 (refused).
        let first = low + self.below(span);
        let last = (first + 1 + self.below(span / 2)).min(high);
        match self.below(8) {
            0 | 1 => format!("{first}..{last}"),
            2 => format!("{first}..{last}/{}", self.below(span / 2)),
            3 | 4 => format!("{}/{}", low + self.below(span / 3), 1 + self.below(span / 2)),
            5 if self.once_in(8) => format!("*/{}", 1 + self.below(span)),
            _ => format!("{first:02}"),
        }
    }

    fn weekdays(&mut self) -> String {
        let days = ["Mon", "tue", "Wednesday", "thu", "FRI", "sat", "sunday"];
        let one = |dice: &mut Self| match dice.below(4) {
            0 => format!("{}..{}", dice.pick(&days), dice.pick(&days)),
            1 => format!("{}-{}", dice.pick(&days[..3]), dice.pick(&days[3..])),
            _ => dice.pick(&days).to_owned(),
        };
        let list: Vec<String> = (0..=self.below(3)).map(|_| one(self)).collect();
        format!("{}{}", list.join(","), if self.once_in(8) { "," } else { "" })
    }

    fn date(&mut self) -> String {
        let from_end = self.once_in(4);
        let day = if from_end { self.list(1, LAST_DAYS) } else { self.list(1, 31) };
        let date = format!("{}{}{day}", self.list(1, 12), if from_end { '~' } else { '-' });
        match self.below(4) {
            0 => date,
            1 => format!("{}-{date}", self.list(2024, 2036)),
            2 => format!("{}-{date}", self.list(20, 40)),
            _ => format!("*-{date}"),
        }
    }

    fn time(&mut self) -> String {
        let (hour, minute) = (self.list(0, 23), self.list(0, 59));
        match self.below(10) {
            0 => minute,
            1..=4 => format!("{hour}:{minute}:{}", self.list(0, 59)),
            _ => format!("{hour}:{minute}"),
        }
    }

    fn event(&mut self) -> String {
        if self.once_in(20) {
            let name =
                self.pick(&["minutely", "Hourly", "daily", "WEEKLY", "monthly", "quarterly", "bi-annually", "anually"]);
            return format!("{name}{}", self.pick(&["", " UTC", " Europe/Berlin"]));
        }
        let mut parts = Vec::new();
        if self.once_in(3) {
            parts.push(self.weekdays());
        }
        if self.once_in(2) {
            parts.push(self.date());
        }
        if parts.is_empty() || !self.once_in(4) {
            parts.push(self.time());
        }
        if self.once_in(8) {
            parts.push(self.pick(&["UTC", "utc", "Europe/Vienna", "America/New_York", "Asia/Kathmandu"]).into());
        }
        parts.join(if self.once_in(30) { "" } else { " " })
    }
}

#[test]
fn two_thousand_random_events_agree_with_systemd() {
    let mut dice = Dice(0x5eed_0ca1_e4da_0001);
    let (mut same, mut ours_alone) = (0, 0);
    for _ in 0..ROUNDS {
        let zone = dice.pick(&["UTC", "Europe/Vienna", "America/New_York", "Australia/Sydney"]);
        // 2026 to 2030; a third of the rounds begins in the days before a change in Vienna or New York.
        let base = match dice.below(6) {
            0 => 1_774_600_000 + i64::from(dice.below(130_000)),
            1 => 1_793_300_000 + i64::from(dice.below(190_000)),
            _ => 1_767_225_600 + i64::from(dice.below(126_000_000)),
        };
        let events: Vec<String> = (0..EVENTS).map(|_| dice.event()).collect();
        let Some(answers) = analyze::ask(&events, zone, base, ITERATIONS) else { return };
        let local: Tz = zone.parse().unwrap();
        for (text, answer) in events.iter().zip(answers) {
            let ours = text.parse::<CalendarEvent>();
            let (normalized, theirs) = match answer {
                Answer::Read { normalized, times } => (normalized, times),
                Answer::GaveUp => continue,
                Answer::Refused => {
                    let pbs = ours.as_ref().map_or(true, |event| event.reading() == Reading::Pbs);
                    assert!(pbs, "systemd refuses {text:?}, read as {ours:?}");
                    ours_alone += usize::from(ours.is_ok());
                    continue;
                }
            };
            let event = ours.unwrap_or_else(|error| panic!("systemd takes {text:?}: {error}"));
            assert_eq!(event.reading(), Reading::Systemd, "{text:?}");
            assert_eq!(event.to_string(), normalized, "{text:?}");
            let mut times = Vec::new();
            while let Some(time) = event.next_after(times.last().copied().unwrap_or(base), local)
                && times.len() < ITERATIONS
            {
                times.push(time);
            }
            let known = |times: &[i64]| times.iter().copied().filter(|time| *time < END_OF_TABLES).collect::<Vec<_>>();
            assert_eq!(known(&times), known(&theirs), "{text:?} after {base} in {zone}");
            same += 1;
        }
    }
    assert!(same >= 2_000 && ours_alone > 200, "{same} alike, {ours_alone} of the stock server's");
    println!("{same} agree, {ours_alone} are of the stock server's grammar, the others are refused by both");
}
