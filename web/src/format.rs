//! Numbers as people read them.

/// Bytes in decimal units: `512 B`, `3.1 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would print as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds: `45 ms`, `1.3 s`, `75 s`.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value < 0.9995 {
        format!("{:.0} ms", value * 1000.0)
    } else if value < 9.95 {
        format!("{value:.1} s")
    } else {
        format!("{value:.0} s")
    }
}

/// Processor cores: `1 core`, `2 cores`.
#[must_use]
pub fn cores(count: usize) -> String {
    if count == 1 { "1 core".into() } else { format!("{count} cores") }
}

/// A share as a percentage that never rounds up to certainty: 0.9997 is `99.9 %`.
#[must_use]
pub fn percent(share: f32) -> String {
    let percent = f64::from(share.clamp(0.0, 1.0)) * 100.0;
    if (99.0..100.0).contains(&percent) {
        format!("{:.1} %", (percent * 10.0).floor() / 10.0)
    } else {
        format!("{:.0} %", percent.floor())
    }
}

/// A measured share with one decimal. Only exactly none is `0.0 %`, only exactly all is `100.0 %`.
#[must_use]
pub fn measured_share(share: f64) -> String {
    let percent = share * 100.0;
    let shown = if percent > 0.0 && percent < 100.0 { percent.clamp(0.1, 99.9) } else { percent };
    format!("{shown:.1} %")
}

/// The browser's `2025-04-14T08:30:00.125Z` as records have it: `2025-04-14T08:30:00Z`.
#[must_use]
pub fn utc_time(iso: &str) -> String {
    match iso.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => iso.to_owned(),
    }
}

/// A time as recorded (`2025-04-14T08:30:00Z`) for reading: `2025-04-14 08:30 UTC`. Anything else
/// stays as it is.
#[must_use]
pub fn time(recorded: &str) -> String {
    let parts =
        recorded.split_once('T').and_then(|(date, time)| Some((date, time.strip_suffix('Z')?)));
    match parts {
        Some((date, time)) => format!("{date} {} UTC", time.get(..5).unwrap_or(time)),
        None => recorded.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_change_unit_where_they_should() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_949), "999.9 kB");
        assert_eq!(bytes(999_950), "1.0 MB");
        assert_eq!(bytes(2_925_312), "2.9 MB");
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn seconds_choose_their_precision() {
        assert_eq!(seconds(0.0449), "45 ms");
        assert_eq!(seconds(0.9996), "1.0 s");
        assert_eq!(seconds(9.96), "10 s");
        assert_eq!(seconds(75.2), "75 s");
    }

    #[test]
    fn percent_never_rounds_up_to_certainty() {
        assert_eq!(percent(0.9997), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.899), "89 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(1.5), "100 %");
    }

    #[test]
    fn measured_shares_keep_their_distance_from_none_and_all() {
        assert_eq!(measured_share(0.9867), "98.7 %");
        assert_eq!(measured_share(0.9999), "99.9 %");
        assert_eq!(measured_share(0.0001), "0.1 %");
        assert_eq!(measured_share(0.0), "0.0 %");
        assert_eq!(measured_share(1.0), "100.0 %");
    }

    #[test]
    fn times_for_records_are_whole_seconds() {
        assert_eq!(utc_time("2025-04-14T08:30:59.999Z"), "2025-04-14T08:30:59Z");
        assert_eq!(utc_time("2025-04-14T08:30:59Z"), "2025-04-14T08:30:59Z");
    }

    #[test]
    fn times_lose_their_seconds() {
        assert_eq!(time("2025-04-14T08:30:00Z"), "2025-04-14 08:30 UTC");
        assert_eq!(time("April"), "April");
        assert_eq!(time("2025-04-14T8Z"), "2025-04-14 8 UTC");
    }
}
