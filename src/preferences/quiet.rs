//! Quiet hours, in the person's own zone: whether it is quiet at a moment, and until when that stays so.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};

use crate::kernel::clock::Timestamp;
use crate::kernel::sheet::Sheet;
use crate::preferences::fields::{find_zone, minutes};

const DAYS_AHEAD: i32 = 8;

/// The quiet hours of somebody.
#[derive(Debug, Clone)]
pub struct QuietHours {
    zone: TimeZone,
    /// Minutes after midnight.
    start: u32,
    end: u32,
    days: [bool; 7],
    is_enabled: bool,
}

/// What counts at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// Whether it is quiet.
    pub is_quiet: bool,
    /// When that changes; none: not within a week.
    pub changes_at: Option<Timestamp>,
}

impl QuietHours {
    /// What these preferences say, defaults included.
    pub fn of(values: &Sheet) -> Self {
        let text = |path| values.text(path).unwrap_or_default();
        let days: Vec<String> = values
            .json("notifications.quiet_hours.days")
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let has = |day: &&str| days.iter().any(|chosen| chosen == day);
        let mut chosen = [false; 7];
        for (chosen, day) in chosen.iter_mut().zip(super::fields::WEEKDAYS) {
            *chosen = has(day);
        }
        Self {
            zone: find_zone(&text("locale.timezone")).unwrap_or(TimeZone::UTC),
            start: minutes(&text("notifications.quiet_hours.start")).unwrap_or_default(),
            end: minutes(&text("notifications.quiet_hours.end")).unwrap_or_default(),
            days: chosen,
            is_enabled: values.json("notifications.quiet_hours.enabled") == Some("true"),
        }
    }

    /// What counts at this moment.
    pub fn at(&self, now: Timestamp) -> Quiet {
        let Ok(instant) = jiff::Timestamp::from_millisecond(now.millis()) else {
            return Quiet { is_quiet: false, changes_at: None };
        };
        if !self.is_enabled {
            return Quiet { is_quiet: false, changes_at: None };
        }
        let today = instant.to_zoned(self.zone.clone()).date();
        let windows: Vec<_> = (-2..=DAYS_AHEAD).filter_map(|day| self.window(today, day)).collect();
        let containing = |moment: Timestamp| windows.iter().find(|(start, end)| *start <= moment && moment < *end);
        let Some((_, end)) = containing(now) else {
            let next = windows.iter().map(|(start, _)| *start).filter(|start| *start > now).min();
            return Quiet { is_quiet: false, changes_at: next };
        };
        // One window may lead into the next.
        let mut end = *end;
        while let Some((_, later)) = containing(end) {
            end = *later;
        }
        let horizon = windows.last().map(|(_, end)| *end);
        Quiet { is_quiet: true, changes_at: Some(end).filter(|end| Some(*end) != horizon) }
    }

    /// The quiet time that begins so many days from today; `None` if none does.
    fn window(&self, today: Date, day: i32) -> Option<(Timestamp, Timestamp)> {
        let date = today.checked_add(day.days()).ok()?;
        let index = usize::try_from(Weekday::to_monday_zero_offset(date.weekday())).ok()?;
        self.days.get(index).copied().filter(|chosen| *chosen)?;
        let next = if self.end > self.start { date } else { date.tomorrow().ok()? };
        let (start, end) = (self.moment(date, self.start)?, self.moment(next, self.end)?);
        (start < end).then_some((start, end))
    }

    /// A local time as a moment: one that the clocks leave out is later by what they leave out, of one that there is
    /// twice the first counts.
    fn moment(&self, date: Date, minutes: u32) -> Option<Timestamp> {
        let midnight: DateTime = date.at(0, 0, 0, 0);
        let local = midnight.checked_add(Span::new().minutes(i64::from(minutes))).ok()?;
        let moment = self.zone.to_timestamp(local).ok()?;
        Some(Timestamp::from_millis(moment.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &str, start: &str, end: &str, days: &str) -> QuietHours {
        let mut values = Sheet::default();
        values.set("notifications.quiet_hours.enabled", "true");
        values.set("notifications.quiet_hours.start", &format!("{start:?}"));
        values.set("notifications.quiet_hours.end", &format!("{end:?}"));
        values.set("notifications.quiet_hours.days", days);
        values.set("locale.timezone", &format!("{zone:?}"));
        QuietHours::of(&values)
    }

    const DAILY: &str = r#"["monday","tuesday","wednesday","thursday","friday","saturday","sunday"]"#;

    fn check(hours: &QuietHours, now: &str, is_quiet: bool, changes_at: Option<&str>) {
        let quiet = hours.at(Timestamp::parse(now).unwrap());
        let expected = Quiet { is_quiet, changes_at: changes_at.map(|text| Timestamp::parse(text).unwrap()) };
        assert_eq!(quiet, expected, "{now}");
    }

    #[test]
    fn they_are_counted_in_the_zone_of_the_person() {
        let berlin = hours("Europe/Berlin", "22:00", "07:00", DAILY);
        check(&berlin, "2025-11-23T20:59:59Z", false, Some("2025-11-23T21:00:00Z"));
        check(&berlin, "2025-11-23T21:00:00Z", true, Some("2025-11-24T06:00:00Z"));
        check(&berlin, "2025-11-24T05:59:59Z", true, Some("2025-11-24T06:00:00Z"));
        check(&berlin, "2025-11-24T06:00:00Z", false, Some("2025-11-24T21:00:00Z"));
        check(
            &hours("Asia/Tokyo", "22:00", "07:00", DAILY),
            "2025-11-23T14:00:00Z",
            true,
            Some("2025-11-23T22:00:00Z"),
        );
    }

    #[test]
    fn nights_on_which_clocks_change_are_shorter_or_longer() {
        let night = hours("Europe/Berlin", "02:30", "03:30", DAILY);
        // Clocks go from 02:00 to 03:00 on 2025-03-30: 02:30 is 03:30 then, and nothing is left.
        check(&night, "2025-03-30T01:15:00Z", false, Some("2025-03-31T00:30:00Z"));
        // Clocks go from 03:00 back to 02:00 on 2025-10-26: the hour is two.
        check(&night, "2025-10-26T00:30:00Z", true, Some("2025-10-26T02:30:00Z"));
    }

    #[test]
    fn they_begin_on_the_days_that_were_chosen() {
        let fridays = hours("UTC", "22:00", "07:00", r#"["friday"]"#);
        check(&fridays, "2025-11-22T06:00:00Z", true, Some("2025-11-22T07:00:00Z"));
        check(&fridays, "2025-11-22T23:00:00Z", false, Some("2025-11-28T22:00:00Z"));
        check(&hours("UTC", "22:00", "07:00", "[]"), "2025-11-22T23:00:00Z", false, None);
        check(&hours("UTC", "08:00", "08:00", DAILY), "2025-11-22T23:00:00Z", true, None);
    }
}
