//! One field of date or time: the values it matches.

use std::fmt;

use crate::problem::Unit;

/// A value, a range, or either with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Item {
    pub(crate) start: u32,
    /// Last value of a range; never below `start`.
    pub(crate) stop: Option<u32>,
    /// At least 1; without range it goes on to the end of the field.
    pub(crate) step: Option<u32>,
}

/// The values of one field, as a list in rising order; an empty list matches every value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Field(Vec<Item>);

impl Item {
    pub(crate) fn single(value: u32) -> Self {
        Self { start: value, stop: None, step: None }
    }

    /// The same values in the fewest words: a range ends on a value that matches, and has more than one.
    pub(crate) fn normal(self) -> Self {
        let Some(stop) = self.stop else { return self };
        let stop = stop - (stop - self.start) % self.step.unwrap_or(1);
        let step = self.step.filter(|step| *step > 1);
        if stop == self.start { Self::single(self.start) } else { Self { stop: Some(stop), step, ..self } }
    }

    fn contains(self, value: u32) -> bool {
        let last = match (self.stop, self.step) {
            (Some(stop), _) => stop,
            (None, Some(_)) => u32::MAX,
            (None, None) => self.start,
        };
        (self.start..=last).contains(&value) && (value - self.start).is_multiple_of(self.step.unwrap_or(1))
    }

    /// Whether `left`, a number of days up to and including the month's last, matches: steps go towards the end.
    fn contains_from_end(self, left: u32) -> bool {
        let (far, near) = match (self.stop, self.step) {
            (Some(stop), _) => (stop, self.start),
            (None, Some(_)) => (self.start, 1),
            (None, None) => (self.start, self.start),
        };
        (near..=far).contains(&left) && (far - left).is_multiple_of(self.step.unwrap_or(1))
    }
}

impl Field {
    /// A field of these items; of none at all, a field that matches everything.
    pub(crate) fn of(items: impl IntoIterator<Item = Item>) -> Self {
        let mut items: Vec<Item> = items.into_iter().map(Item::normal).collect();
        items.sort_unstable();
        items.dedup();
        Self(items)
    }

    /// The one value 0: `:00`.
    pub(crate) fn zero() -> Self {
        Self(vec![Item::single(0)])
    }

    pub(crate) fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.0
    }

    pub(crate) fn contains(&self, value: u32) -> bool {
        self.is_any() || self.0.iter().any(|item| item.contains(value))
    }

    pub(crate) fn contains_from_end(&self, left: u32) -> bool {
        self.is_any() || self.0.iter().any(|item| item.contains_from_end(left))
    }

    /// The values from `from` to the end of `unit` that match, rising.
    pub(crate) fn values(&self, unit: Unit, from: u32) -> impl Iterator<Item = u32> {
        (from..=unit.range().1).filter(|value| self.contains(*value))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("*");
        }
        for (index, item) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{:02}", item.start)?;
            if let Some(stop) = item.stop {
                write!(f, "..{stop:02}")?;
            }
            if let Some(step) = item.step {
                write!(f, "/{step}")?;
            }
        }
        Ok(())
    }
}
