//! Seconds with fractions, rounded up to full ones: a schedule starts nothing within a second.

use crate::difference::Difference;
use crate::field::{Field, Item};
use crate::grammar::{Number, RawItem, Stop};
use crate::meaning::value;
use crate::problem::{Problem, Unit};

const SECOND: u64 = 1_000_000;

/// Whether a part of the item has a fraction.
pub(crate) fn has_fraction(item: &RawItem<'_>) -> bool {
    [Some(item.first), item.last, item.step].into_iter().flatten().any(|number| !number.fraction.is_empty())
}

/// The full seconds at or after each value; values are rounded to microseconds, as systemd does.
pub(crate) fn round_up(items: &[RawItem<'_>], differences: &mut Vec<Difference>) -> Result<Field, Stop> {
    let mut full = Vec::new();
    for item in items {
        value(Unit::Second, item.first, differences)?;
        let start = micros(item.first);
        let stop = item.last.map(|last| value(Unit::Second, last, differences).map(|_| micros(last))).transpose()?;
        if let (Some(stop), Some(number)) = (stop, item.last)
            && stop < start
        {
            let seconds = |micros: u64| u32::try_from(micros / SECOND).unwrap_or_default();
            let problem = Problem::Backwards { unit: Unit::Second, first: seconds(start), last: seconds(stop) };
            return Err(Stop { left: number.left, problem });
        }
        let step = item.step.map(micros);
        let stop = match (stop, step) {
            (_, Some(0)) => {
                differences.push(Difference::ZeroStep);
                start
            }
            (Some(stop), _) => stop,
            (None, Some(step)) if start + step < 60 * SECOND => 60 * SECOND - 1,
            (None, Some(_)) => {
                differences.push(Difference::StepLeavesRange);
                start
            }
            (None, None) => start,
        };
        let step = step.filter(|step| *step > 0).unwrap_or(SECOND);
        let mut at = start;
        while at <= stop {
            let second = at.div_ceil(SECOND);
            let Some(second) = u32::try_from(second).ok().filter(|second| *second < 60) else {
                return Err(Stop { left: item.first.left, problem: Problem::RoundsOver });
            };
            full.push(Item::single(second));
            // What lies before the same full second is stepped over.
            let reached = u64::from(second) * SECOND;
            at += step * ((reached - at) / step + 1);
        }
    }
    Ok(Field::of(full))
}

/// A number in millionths, rounded.
fn micros(number: Number<'_>) -> u64 {
    let digit = |index: usize| number.fraction.as_bytes().get(index).map_or(0, |digit| u64::from(digit - b'0'));
    let fraction = (0..6).fold(0, |sum, index| sum * 10 + digit(index));
    let whole = number.whole.parse().unwrap_or(u32::MAX);
    u64::from(whole) * SECOND + fraction + u64::from(digit(6) >= 5)
}
