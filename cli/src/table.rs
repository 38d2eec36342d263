//! Tables for people: columns that line up, and the words that stand in them.

use std::fmt;

use jiff::Timestamp;

use crate::output::clean;

/// Between two columns.
const GAP: &str = "   ";

/// Rows of equal length, the first of which is the heading.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// Starts a table.
    pub(crate) fn new(heading: [&str; COLUMNS]) -> Self {
        Self { rows: vec![heading.map(str::to_owned)] }
    }

    /// Adds a row of text that may come from outside.
    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| clean(&cell)));
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..COLUMNS).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}{GAP}"));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns a size as people read it: `12.30 MB`, in powers of ten as disks are sold.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be rounded to 1000.00 is one of the next unit.
        if value < 999.995 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

/// Returns a number of things: `1 blob`, `2 blobs`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Returns an RFC 3339 time to the minute, in UTC; what is none stays as it is.
pub(crate) fn minute(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => clean(time),
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, minute, size};

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let mut table = Table::new(["NAME", "SIZE"]);
        table.row(["a-long-name".to_owned(), "1".to_owned()]);
        table.row(["b".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "NAME          SIZE\na-long-name   1\nb\n");
    }

    #[test]
    fn sizes_are_in_powers_of_ten() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1000), "1.00 kB");
        assert_eq!(size(999_999), "1.00 MB");
        assert_eq!(size(u64::MAX), "18.45 EB");
        assert_eq!(size(1_500_000), "1.50 MB");
    }

    #[test]
    fn times_are_told_in_utc_to_the_minute() {
        assert_eq!(minute("2026-11-22T01:02:03+01:00"), "2026-11-22 00:02");
        assert_eq!(minute("yesterday"), "yesterday");
    }
}
