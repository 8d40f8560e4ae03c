//! The words and numbers of a calendar event, in the places where they stand; what they mean is [`crate::event`]'s.
//!
//! ```text
//! core  = shorthand / "@" seconds / [days] [date] [time]       at least one of the three
//! days  = range *("," range) [","]      range = day [(".." / "-") day]
//! date  = [list "-"] list ("-" / "~") list
//! time  = [list ":"] list [":" list]
//! list  = "*" ["/" n] / item *("," item)      item = n [".." n] ["/" n]
//! ```

use chrono::Weekday;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, digit1};
use nom::combinator::{map, opt, value};
use nom::error::{ErrorKind, ParseError};
use nom::multi::separated_list1;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use crate::difference::Difference;
use crate::problem::Problem;
use crate::weekdays::Weekdays;

/// What is wrong, and how many bytes of the text were left there.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) left: usize,
    pub(crate) problem: Problem,
}

type Parsed<'a, T> = IResult<&'a str, T, Stop>;

/// A number as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) whole: &'a str,
    /// Digits after the point.
    pub(crate) fraction: &'a str,
    /// Bytes left at its first digit.
    pub(crate) left: usize,
}

/// `n`, `n..n`, either with `/n`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawItem<'a> {
    pub(crate) first: Number<'a>,
    pub(crate) last: Option<Number<'a>>,
    pub(crate) step: Option<Number<'a>>,
}

/// The values of one field.
#[derive(Clone, Debug)]
pub(crate) enum List<'a> {
    Star(Option<Number<'a>>),
    Items(Vec<RawItem<'a>>),
}

/// Year, month and day; the day counted from the month's end or not.
#[derive(Clone, Debug)]
pub(crate) struct Date<'a> {
    pub(crate) year: Option<List<'a>>,
    pub(crate) month: List<'a>,
    pub(crate) day: List<'a>,
    pub(crate) from_end: bool,
}

/// Hour, minute, second.
#[derive(Clone, Debug)]
pub(crate) struct Time<'a> {
    pub(crate) hour: Option<List<'a>>,
    pub(crate) minute: List<'a>,
    pub(crate) second: Option<List<'a>>,
}

/// An event without its zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Core<'a> {
    pub(crate) weekdays: Option<Weekdays>,
    pub(crate) date: Option<Date<'a>>,
    pub(crate) time: Option<Time<'a>>,
    /// `@`: seconds since 1970.
    pub(crate) epoch: Option<Number<'a>>,
}

impl ParseError<&str> for Stop {
    fn from_error_kind(input: &str, _: ErrorKind) -> Self {
        Self { left: input.len(), problem: unexpected(input) }
    }

    fn append(_: &str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

fn unexpected(input: &str) -> Problem {
    match input.split(' ').find(|word| !word.is_empty()) {
        Some(word) => Problem::Unexpected(word.chars().take(40).collect()),
        None => Problem::Missing("something"),
    }
}

fn stop<T>(input: &str, problem: Problem) -> Result<T, nom::Err<Stop>> {
    Err(nom::Err::Failure(Stop { left: input.len(), problem }))
}

/// Takes a text apart that has neither shorthand nor zone. Tells what the two grammars do not read alike.
pub(crate) fn core<'a>(text: &'a str, differences: &mut Vec<Difference>) -> Result<Core<'a>, Stop> {
    match whole(text, differences) {
        Ok((_, core)) => Ok(core),
        Err(nom::Err::Error(stop) | nom::Err::Failure(stop)) => Err(stop),
        Err(nom::Err::Incomplete(_)) => Err(Stop { left: 0, problem: Problem::Missing("something") }),
    }
}

fn whole<'a>(text: &'a str, differences: &mut Vec<Difference>) -> Parsed<'a, Core<'a>> {
    let mut core = Core::default();
    let mut rest = text;
    if rest.starts_with(char::is_alphabetic) {
        let (after, days) = weekdays(rest, differences)?;
        core.weekdays = Some(days);
        rest = after;
        if rest.is_empty() {
            return Ok((rest, core));
        }
        rest = gap(rest, differences)?;
    }
    if rest.starts_with('@') {
        differences.push(Difference::Epoch);
        let (after, seconds) = preceded(char('@'), number).parse(rest)?;
        core.epoch = Some(seconds);
        return end(after, core);
    }
    let (after, first) = list(rest)?;
    if after.starts_with(['-', '~']) {
        let (after, date) = date(after, first)?;
        core.date = Some(date);
        if after.is_empty() {
            return Ok((after, core));
        }
        let at_time = gap(after, differences)?;
        let (after, first) = list(at_time)?;
        let (after, time) = time(after, first, differences)?;
        core.time = Some(time);
        return end(after, core);
    }
    let (after, time) = time(after, first, differences)?;
    core.time = Some(time);
    end(after, core)
}

fn end<'a>(rest: &'a str, core: Core<'a>) -> Parsed<'a, Core<'a>> {
    if rest.is_empty() { Ok((rest, core)) } else { stop(rest.trim_start_matches(' '), unexpected(rest)) }
}

/// Steps over the blanks before date or time, which a stock server does not need.
fn gap<'a>(rest: &'a str, differences: &mut Vec<Difference>) -> Result<&'a str, nom::Err<Stop>> {
    let after = rest.trim_start_matches(' ');
    if after.len() < rest.len() {
        return Ok(after);
    }
    if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '*') {
        return stop(rest, unexpected(rest));
    }
    differences.push(Difference::NoBlank);
    Ok(rest)
}

/// Reads a day of the week: three letters or its whole name, in any case.
pub(crate) fn weekday(name: &str) -> Option<Weekday> {
    name.parse().ok()
}

fn day(input: &str) -> Parsed<'_, Weekday> {
    let (rest, name) = take_while1(char::is_alphabetic).parse(input)?;
    match weekday(name) {
        Some(day) => Ok((rest, day)),
        None => stop(input, Problem::UnknownWord(name.to_owned())),
    }
}

/// A day after `..` or `-`.
fn last_day(input: &str) -> Parsed<'_, Weekday> {
    if input.starts_with(char::is_alphabetic) { day(input) } else { stop(input, Problem::Missing("a weekday")) }
}

fn weekdays<'a>(input: &'a str, differences: &mut Vec<Difference>) -> Parsed<'a, Weekdays> {
    let to = (alt((value(false, tag("..")), value(true, tag("-")))), last_day);
    let range = (day, opt(to));
    let (rest, ranges) = separated_list1(char(','), range).parse(input)?;
    let mut days = Weekdays::NONE;
    for (first, last) in ranges {
        let (dashed, last) = last.unwrap_or((false, first));
        if dashed {
            differences.push(Difference::WeekdayDash);
        }
        if first.num_days_from_monday() > last.num_days_from_monday() {
            differences.push(Difference::WeekdayWrap);
        }
        days = days.and(Weekdays::between(first, last));
    }
    let Some(after) = rest.strip_prefix(',') else { return Ok((rest, days)) };
    if !(after.is_empty() || after.starts_with(' ')) {
        return stop(after, Problem::Missing("a weekday"));
    }
    differences.push(Difference::WeekdayTrailingComma);
    Ok((after, days))
}

/// What follows the first list of a date.
fn date<'a>(input: &'a str, first: List<'a>) -> Parsed<'a, Date<'a>> {
    let mark = |input: &'a str| alt((value(false, char('-')), value(true, char('~')))).parse(input);
    let (rest, from_end) = mark(input)?;
    let (rest, second) = list(rest)?;
    if from_end || !rest.starts_with(['-', '~']) {
        return Ok((rest, Date { year: None, month: first, day: second, from_end }));
    }
    let (rest, from_end) = mark(rest)?;
    let (rest, third) = list(rest)?;
    Ok((rest, Date { year: Some(first), month: second, day: third, from_end }))
}

/// What follows the first list of a time.
fn time<'a>(input: &'a str, first: List<'a>, differences: &mut Vec<Difference>) -> Parsed<'a, Time<'a>> {
    if input.is_empty() {
        differences.push(Difference::MinuteOnly);
        return Ok((input, Time { hour: None, minute: first, second: None }));
    }
    let (rest, minute) = preceded(char(':'), list).parse(input)?;
    let (rest, second) = opt(preceded(char(':'), list)).parse(rest)?;
    Ok((rest, Time { hour: Some(first), minute, second }))
}

fn list(input: &str) -> Parsed<'_, List<'_>> {
    let Some(rest) = input.strip_prefix('*') else {
        return map(separated_list1(char(','), item), List::Items).parse(input);
    };
    let (rest, step) = opt(preceded(char('/'), number)).parse(rest)?;
    if rest.starts_with(',') || rest.starts_with("..") {
        return stop(rest, Problem::StarInList);
    }
    Ok((rest, List::Star(step)))
}

fn item(input: &str) -> Parsed<'_, RawItem<'_>> {
    let parts = (number, opt(preceded(tag(".."), number)), opt(preceded(char('/'), number)));
    map(parts, |(first, last, step)| RawItem { first, last, step }).parse(input)
}

/// A number where there must be one.
fn number(input: &str) -> Parsed<'_, Number<'_>> {
    if input.starts_with('*') {
        return stop(input, Problem::StarInList);
    }
    if !input.starts_with(|c: char| c.is_ascii_digit()) {
        let problem = if input.is_empty() { Problem::Missing("a number") } else { unexpected(input) };
        return stop(input, problem);
    }
    let (rest, (whole, fraction)) = (digit1, opt(preceded(char('.'), digit1))).parse(input)?;
    Ok((rest, Number { whole, fraction: fraction.unwrap_or_default(), left: input.len() }))
}
