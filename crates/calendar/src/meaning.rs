//! What the numbers of a list mean for their field: ranges are checked, and what only one of the grammars takes is told.

use crate::difference::Difference;
use crate::field::{Field, Item};
use crate::grammar::{List, Number, RawItem, Stop};
use crate::problem::{Problem, Unit};
use crate::seconds;

/// What a list means, or `missing` where there is none.
pub(crate) fn optional(
    unit: Unit,
    list: Option<&List<'_>>,
    missing: Field,
    differences: &mut Vec<Difference>,
) -> Result<Field, Stop> {
    list.map_or(Ok(missing), |list| field(unit, list, differences))
}

/// What a list of numbers means for a field.
pub(crate) fn field(unit: Unit, list: &List<'_>, differences: &mut Vec<Difference>) -> Result<Field, Stop> {
    match list {
        List::Star(None) => Ok(Field::default()),
        List::Star(Some(number)) => {
            differences.push(Difference::StarStep);
            let step = whole(unit, *number)?;
            if step == 0 {
                return Err(Stop { left: number.left, problem: Problem::StarZeroStep });
            }
            Ok(every_second(unit, Field::of([open_step(unit, unit.range().0, step, differences)])))
        }
        List::Items(items) if unit == Unit::Second && items.iter().any(seconds::has_fraction) => {
            differences.push(Difference::Fraction);
            seconds::round_up(items, differences)
        }
        List::Items(items) => {
            let items: Result<Vec<Item>, Stop> = items.iter().map(|raw| item(unit, raw, differences)).collect();
            Ok(every_second(unit, Field::of(items?)))
        }
    }
}

/// systemd prints `0/1` as `*` for seconds, and for nothing else.
fn every_second(unit: Unit, field: Field) -> Field {
    let every = Item { start: 0, stop: None, step: Some(1) };
    if unit == Unit::Second && field.items() == [every] { Field::default() } else { field }
}

fn item(unit: Unit, raw: &RawItem<'_>, differences: &mut Vec<Difference>) -> Result<Item, Stop> {
    let start = value(unit, raw.first, differences)?;
    let stop = raw.last.map(|last| value(unit, last, differences)).transpose()?;
    if let (Some(last), Some(number)) = (stop, raw.last)
        && last < start
    {
        return Err(Stop { left: number.left, problem: Problem::Backwards { unit, first: start, last } });
    }
    let Some(number) = raw.step else { return Ok(Item { start, stop, step: None }) };
    let step = whole(unit, number)?;
    match stop {
        _ if step == 0 => {
            differences.push(Difference::ZeroStep);
            Ok(Item::single(start))
        }
        Some(_) => Ok(Item { start, stop, step: Some(step) }),
        None if unit == Unit::LastDay && step >= start => {
            Err(Stop { left: number.left, problem: Problem::LastDayStep(step) })
        }
        None => Ok(open_step(unit, start, step, differences)),
    }
}

/// `start/step`, up to the end of the field.
fn open_step(unit: Unit, start: u32, step: u32, differences: &mut Vec<Difference>) -> Item {
    if unit == Unit::LastDay {
        return Item { start, stop: None, step: Some(step) };
    }
    let left = unit.range().1 - start;
    if step > left {
        differences.push(Difference::StepLeavesRange);
        return Item::single(start);
    }
    let wraps = matches!(unit, Unit::Month | Unit::Hour | Unit::Minute | Unit::Second);
    if wraps && !(left + 1).is_multiple_of(step) {
        differences.push(Difference::UnevenStep);
    }
    Item { start, stop: None, step: Some(step) }
}

/// A number within the range of its field; a year of two digits in its century.
pub(crate) fn value(unit: Unit, number: Number<'_>, differences: &mut Vec<Difference>) -> Result<u32, Stop> {
    let mut value = whole(unit, number)?;
    if unit == Unit::Year && value < 100 {
        differences.push(Difference::TwoDigitYear);
        value += if value < 70 { 2000 } else { 1900 };
    }
    let (least, greatest) = unit.range();
    if (least..=greatest).contains(&value) {
        return Ok(value);
    }
    Err(Stop { left: number.left, problem: Problem::OutOfRange { unit, value: number.whole.to_owned() } })
}

/// A number without fraction; one that is too large for anything becomes the largest.
fn whole(unit: Unit, number: Number<'_>) -> Result<u32, Stop> {
    if unit != Unit::Second && !number.fraction.is_empty() {
        return Err(Stop { left: number.left, problem: Problem::Fraction });
    }
    Ok(number.whole.parse().unwrap_or(u32::MAX))
}
