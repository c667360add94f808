//! The browser's clock of the day.

/// Now, as `2025-04-14T08:30:00Z`.
pub fn utc_time() -> String {
    crate::format::utc_time(&String::from(js_sys::Date::new_0().to_iso_string()))
}
