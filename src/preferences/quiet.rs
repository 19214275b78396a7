//! Quiet hours, in the person's own zone: whether it is quiet at a moment, and until when that stays so.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, ToSpan as _};

use crate::kernel::clock::Timestamp;
use crate::kernel::sheet::Sheet;
use crate::preferences::fields::{find_zone, minutes};

/// So many days are looked at: a week from any moment ends before the last of them begins, also where clocks change.
const DAYS_AHEAD: i32 = 9;

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
        let last_day = today.checked_add(DAYS_AHEAD.days()).ok().and_then(|date| self.moment(date, 0));
        let is_seen = |change: &Timestamp| last_day.is_some_and(|last_day| *change < last_day);
        let containing = |moment: Timestamp| windows.iter().find(|(start, end)| *start <= moment && moment < *end);
        let Some((_, end)) = containing(now) else {
            let next = windows.iter().map(|(start, _)| *start).filter(|start| *start > now).min();
            return Quiet { is_quiet: false, changes_at: next.filter(is_seen) };
        };
        // One window may lead into the next.
        let mut end = *end;
        while let Some((_, later)) = containing(end) {
            end = *later;
        }
        Quiet { is_quiet: true, changes_at: Some(end).filter(is_seen) }
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

    /// The moment at which the clocks show a local time for the first time, or a later one: where they leave it out, the
    /// moment at which they are changed.
    fn moment(&self, date: Date, minutes: u32) -> Option<Timestamp> {
        let midnight: DateTime = date.at(0, 0, 0, 0);
        let local = midnight.checked_add(Span::new().minutes(i64::from(minutes))).ok()?;
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let moment = match ambiguous.offset() {
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_change = after.to_timestamp(local).ok()?;
                self.zone.following(before_the_change).next()?.timestamp()
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        };
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
        // Clocks go from 02:00 to 03:00 on 2025-03-30, at 01:00Z: what they leave out is not waited for.
        check(&night, "2025-03-30T00:59:59Z", false, Some("2025-03-30T01:00:00Z"));
        check(&night, "2025-03-30T01:15:00Z", true, Some("2025-03-30T01:30:00Z"));
        let evening = hours("Europe/Berlin", "22:00", "02:30", DAILY);
        check(&evening, "2025-03-30T00:59:59Z", true, Some("2025-03-30T01:00:00Z"));
        check(&evening, "2025-03-30T01:15:00Z", false, Some("2025-03-30T20:00:00Z"));
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

    #[test]
    fn what_changes_within_the_hour_is_told_whatever_comes_next_week() {
        let sundays = hours("Europe/Berlin", "02:30", "03:30", r#"["sunday"]"#);
        check(&sundays, "2025-03-23T01:45:00Z", true, Some("2025-03-23T02:30:00Z"));
        check(&sundays, "2025-03-23T02:30:00Z", false, Some("2025-03-30T01:00:00Z"));
    }

    /// A minute: when, and what the clocks showed at the latest until then.
    struct Minute {
        at: Timestamp,
        date: Date,
        of_day: u32,
    }

    const DAY: i64 = 86_400;

    fn wall(zone: &TimeZone, at: Timestamp) -> DateTime {
        jiff::Timestamp::from_millisecond(at.millis()).unwrap().to_zoned(zone.clone()).datetime()
    }

    /// The hours of a year in which the clocks are changed.
    fn changes(zone: &TimeZone, year: i16) -> Vec<Timestamp> {
        let begin = jiff::civil::date(year, 1, 1).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond();
        let hours: Vec<_> = (0..366 * 24).map(|hour| Timestamp::from_millis(begin).plus_seconds(hour * 3600)).collect();
        let is_odd = |two: &&[Timestamp]| wall(zone, two[0]).checked_add(1.hour()).unwrap() != wall(zone, two[1]);
        hours.windows(2).filter(is_odd).map(|two| two[0]).collect()
    }

    /// A walk along the wall clock from two days before a moment to nine days after it. What it shows once more when it is
    /// put back does not count again.
    fn walk(zone: &TimeZone, around: Timestamp) -> Vec<Minute> {
        let mut latest = DateTime::MIN;
        let minutes = (-2 * DAY / 60..9 * DAY / 60).map(|minute| around.plus_seconds(minute * 60));
        minutes
            .map(|at| {
                latest = latest.max(wall(zone, at));
                let of_day = u32::try_from(latest.hour()).unwrap() * 60 + u32::try_from(latest.minute()).unwrap();
                Minute { at, date: latest.date(), of_day }
            })
            .collect()
    }

    /// Whether it is quiet by what the clock on the wall says.
    fn is_quiet_on_the_wall(hours: &QuietHours, now: &Minute) -> bool {
        let chosen = |date: Date| hours.days[usize::try_from(Weekday::to_monday_zero_offset(date.weekday())).unwrap()];
        let begins_today = chosen(now.date) && hours.start <= now.of_day;
        if hours.end > hours.start {
            return begins_today && now.of_day < hours.end;
        }
        begins_today || (chosen(now.date.yesterday().unwrap()) && now.of_day < hours.end)
    }

    #[test]
    fn every_minute_is_as_on_the_wall_clock() {
        use proptest::prelude::*;
        use proptest::test_runner::{Config, TestRunner};

        const ZONES: [(&str, i16); 7] = [
            ("Europe/Berlin", 2025),
            ("America/New_York", 2025),
            ("Australia/Lord_Howe", 2025),
            ("Asia/Kathmandu", 2025),
            ("UTC", 2025),
            // Samoa left out the thirtieth of December.
            ("Pacific/Apia", 2011),
            // Clocks are changed at midnight.
            ("America/Santiago", 2025),
        ];
        let zones = ZONES.map(|(zone, year)| {
            let zone = find_zone(zone).unwrap();
            let begin = jiff::civil::date(year, 1, 4).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond();
            (changes(&zone, year), zone, Timestamp::from_millis(begin))
        });
        assert_eq!(zones.each_ref().map(|(changes, ..)| changes.len()), [2, 2, 2, 0, 0, 3, 2]);
        let time = || prop_oneof![0_u32..1440, (0_u32..20).prop_map(|slot| slot * 15), Just(1439)];
        let one = (0_usize..7).prop_map(|day| std::array::from_fn(|at| at == day));
        let days = prop_oneof![Just([true; 7]), any::<[bool; 7]>(), one];
        let place = (0..ZONES.len(), 0_usize..4, 0_i64..350 * 24);
        let cases = Config { cases: 40, failure_persistence: None, ..Config::default() };
        TestRunner::new(cases)
            .run(&(place, time(), time(), days), |((place, which, hour), start, end, days)| {
                let (changes, zone, begin) = &zones[place];
                // Around one of the changes of the clocks, or anywhere in the year.
                let around = changes.get(which).copied().unwrap_or_else(|| begin.plus_seconds(hour * 3600));
                let hours = QuietHours { zone: zone.clone(), start, end, days, is_enabled: true };
                let walk = walk(zone, around);
                let quiet: Vec<bool> = walk.iter().map(|it| is_quiet_on_the_wall(&hours, it)).collect();
                for at in (1440..2 * 1440 + 1440).step_by(17) {
                    let (now, found) = (walk[at].at, hours.at(walk[at].at));
                    prop_assert_eq!(found.is_quiet, quiet[at], "{:?} {}", ZONES[place], now);
                    let next = (at..quiet.len()).find(|later| quiet[*later] != quiet[at]).map(|later| walk[later].at);
                    // It is told if it is within a week, and true if it is told.
                    let is_near = next.is_some_and(|next| next < now.plus_seconds(7 * DAY));
                    if is_near || (found.changes_at.is_some() && next.is_some()) {
                        prop_assert_eq!(found.changes_at, next, "{:?} {}", ZONES[place], now);
                    }
                }
                Ok(())
            })
            .unwrap();
    }
}
