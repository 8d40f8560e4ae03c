//! Where the grammars of systemd and of a stock server part.

use std::fmt;

/// Whose grammar a text is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// systemd's, and the stock server's too unless a [`Difference`] says otherwise.
    Systemd,
    /// The stock server's: systemd refuses the text.
    Pbs,
}

/// Something in a text that systemd and a stock server (PBS) do not read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// `Daily`.
    ShorthandCase,
    /// `biannually`, `bi-annually`, `anually`.
    ShorthandName,
    /// `mon-fri`.
    WeekdayDash,
    /// `mon,`.
    WeekdayTrailingComma,
    /// `26-06-01`.
    TwoDigitYear,
    /// `*-02~01`.
    LastDays,
    /// `*:*:0.5`.
    Fraction,
    /// `@1782864000`.
    Epoch,
    /// `12:00 utc`.
    LowerUtc,
    /// `12:00 Europe/Vienna`.
    Zone,
    /// `*:0/25`.
    UnevenStep,
    /// `*-*-1,31`.
    ShortMonths,
    /// `fri..mon`.
    WeekdayWrap,
    /// `mon8:00`.
    NoBlank,
    /// `30`.
    MinuteOnly,
    /// `*:*/15`.
    StarStep,
    /// `*:30/40`.
    StepLeavesRange,
    /// `*:5/0`.
    ZeroStep,
    /// `12:00UTC`.
    UtcWithoutBlank,
}

impl Difference {
    /// Whose reading is used.
    pub fn reading(self) -> Reading {
        match self {
            Self::ShorthandCase
            | Self::ShorthandName
            | Self::WeekdayDash
            | Self::WeekdayTrailingComma
            | Self::TwoDigitYear
            | Self::LastDays
            | Self::Fraction
            | Self::Epoch
            | Self::LowerUtc
            | Self::Zone
            | Self::UnevenStep
            | Self::ShortMonths => Reading::Systemd,
            Self::WeekdayWrap
            | Self::NoBlank
            | Self::MinuteOnly
            | Self::StarStep
            | Self::StepLeavesRange
            | Self::ZeroStep
            | Self::UtcWithoutBlank => Reading::Pbs,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShorthandCase => "a stock server takes shorthands in lower case only",
            Self::ShorthandName => "a stock server does not know this shorthand",
            Self::WeekdayDash => "a stock server takes no dash between weekdays; it takes mon..fri",
            Self::WeekdayTrailingComma => "a stock server takes no comma after the last weekday",
            Self::TwoDigitYear => "a stock server takes a year of two digits literally, so it never comes",
            Self::LastDays => "a stock server does not know `~`, days counted from the end of the month",
            Self::Fraction => "fractions are rounded up to the full second; a stock server takes none",
            Self::Epoch => "a stock server does not know `@`, seconds since 1970",
            Self::LowerUtc => "a stock server takes UTC in upper case only",
            Self::Zone => "a stock server takes no time zone but UTC",
            Self::UnevenStep => {
                "the step does not divide its field; a stock server leaves out the first time after each wrap"
            }
            Self::ShortMonths => "a stock server leaves out days after a month that lacks one of these",
            Self::WeekdayWrap => "systemd takes no weekdays over the end of the week",
            Self::NoBlank => "systemd wants a blank between weekdays, date and time",
            Self::MinuteOnly => {
                "a lone number is a minute of every hour; systemd refuses it. For an hour of the day write 12:00"
            }
            Self::StarStep => "systemd takes no step after `*`; it takes the first value, as in 0/15",
            Self::StepLeavesRange => "systemd refuses a step that leaves the range; only the first value matches",
            Self::ZeroStep => "systemd refuses a step of 0; only the first value matches",
            Self::UtcWithoutBlank => "systemd wants a blank before UTC",
        })
    }
}
