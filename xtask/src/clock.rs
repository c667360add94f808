//! How long each part took.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Collects the durations of named parts, which may run on several threads.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    parts: Mutex<Vec<(String, Duration)>>,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self { started: Instant::now(), parts: Mutex::default() }
    }

    /// Runs a part, says that it begins, and notes how long it took.
    ///
    /// # Errors
    /// The part's own.
    pub fn part<T>(&self, name: &str, part: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("[{}] {name}", minutes(self.started.elapsed()));
        let started = Instant::now();
        let result = part();
        let mut parts = self.parts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        parts.push((name.to_owned(), started.elapsed()));
        result
    }

    /// Prints the parts and the whole, in minutes and seconds.
    pub fn report(&self) {
        let parts = self.parts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let whole = ("in all (some ran side by side)".to_owned(), self.started.elapsed());
        println!();
        for (name, duration) in parts.iter().chain([&whole]) {
            println!("{:>7}  {name}", minutes(*duration));
        }
    }
}

/// `1:05` for 65 seconds.
pub fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_minutes() {
        assert_eq!(minutes(Duration::from_millis(400)), "0:00");
        assert_eq!(minutes(Duration::from_millis(59_600)), "1:00");
        assert_eq!(minutes(Duration::from_secs(3_605)), "60:05");
    }
}
