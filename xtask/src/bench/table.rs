//! What was measured, as Markdown.

use super::measure::Taken;
use crate::root;
use crate::run::{Failure, Result};
use std::fmt::Write;

/// The one that is compared with the best of the others.
const OURS: &str = "releve";

/// What is the same each time that a comparison is written down.
pub(super) struct Page {
    title: &'static str,
    command: &'static str,
    /// Below the workspace's folder.
    path: &'static str,
    grids: &'static [Grid],
    /// Of the times of several rounds.
    times: Pick,
    /// The column that is no competitor: what can't be done faster.
    floor: Option<&'static str>,
}

/// Backups: only disturbances make a run longer, so the best time is the program's.
pub(super) const BACKUP: Page = Page {
    title: "Backup, compared",
    command: "cargo xtask bench backup --write",
    path: "docs/bench-backup.md",
    grids: &[TIME, MEMORY, PROCESSOR, STORED],
    times: Pick::Best,
    floor: None,
};

/// Restores: each waits for the disk and some for a line, whose moods are part of it.
pub(super) const RESTORE: Page = Page {
    title: "Restore, compared",
    command: "cargo xtask bench restore --write",
    path: "docs/bench-restore.md",
    grids: &[TIME, MEMORY, PROCESSOR],
    times: Pick::Median,
    floor: Some("cp"),
};

/// Copies between repositories: over a line, whose moods are part of it.
pub(super) const SYNC: Page = Page {
    title: "Copies between vaults, compared",
    command: "cargo xtask bench sync --write",
    path: "docs/bench-sync.md",
    grids: &[TIME, MEMORY, PROCESSOR, STORED],
    times: Pick::Median,
    floor: None,
};

/// A cluster: until it takes writes again, which depends on the disk.
pub(super) const CLUSTER: Page = Page {
    title: "A PostgreSQL cluster, compared",
    command: "cargo xtask bench postgres --write",
    path: "docs/bench-postgres.md",
    grids: &[TIME, MEMORY, PROCESSOR, STORED],
    times: Pick::Median,
    floor: None,
};

/// Everything that one call found out.
pub(super) struct Report {
    pub(super) page: &'static Page,
    /// Names and versions, in the order of the columns.
    pub(super) tools: Vec<(&'static str, String)>,
    pub(super) machine: String,
    pub(super) date: String,
    pub(super) rounds: u16,
    pub(super) data: String,
    pub(super) rows: Rows,
    /// What is said below the tables, a paragraph each.
    pub(super) notes: Vec<String>,
}

/// What was done, and what it took whom, each time.
#[derive(Default)]
pub(super) struct Rows(Vec<Row>);

struct Row {
    what: String,
    /// By the tool's column.
    cells: Vec<Vec<Sample>>,
}

struct Sample {
    taken: Taken,
    stored: u64,
}

/// Which of several numbers counts.
#[derive(Debug, Clone, Copy)]
enum Pick {
    Best,
    Median,
    Most,
}

/// A table: its title, and how its numbers are taken from the samples, chosen and shown.
struct Grid {
    title: &'static str,
    value: fn(&Sample) -> f64,
    shown: fn(f64) -> String,
    /// As the page has it for times if none.
    pick: Option<Pick>,
}

const TIME: Grid = Grid { title: "Time", value: |sample| sample.taken.seconds, shown: seconds, pick: None };

const MEMORY: Grid = Grid {
    title: "Peak memory",
    value: |sample| sample.taken.peak_bytes,
    shown: |bytes| format!("{:.0} MB", bytes / 1e6),
    pick: Some(Pick::Most),
};

const PROCESSOR: Grid =
    Grid { title: "Processor time", value: |sample| sample.taken.processor, shown: seconds, pick: None };

const STORED: Grid = Grid {
    title: "Added to the repository",
    value: |sample| sample.stored as f64,
    shown: |bytes| format!("{:.1} MB", bytes / 1e6),
    pick: Some(Pick::Most),
};

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

impl Pick {
    fn of(self, mut values: Vec<f64>) -> Option<f64> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match self {
            Self::Best => values.first().copied(),
            Self::Most => values.last().copied(),
            Self::Median if values.len() % 2 == 1 => values.get(middle).copied(),
            Self::Median => Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?)),
        }
    }
}

impl Rows {
    /// Adds a run.
    pub(super) fn add(&mut self, what: &str, column: usize, taken: Taken, stored: u64) {
        let at = self.0.iter().position(|row| row.what == what).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Row { what: what.to_owned(), cells: Vec::new() });
        }
        let Some(row) = self.0.get_mut(at) else { return };
        row.cells.resize_with(row.cells.len().max(column + 1), Vec::new);
        if let Some(cell) = row.cells.get_mut(column) {
            cell.push(Sample { taken, stored });
        }
    }
}

impl Report {
    /// Prints the tables, and writes them into the documentation if asked to.
    pub(super) fn publish(&self, write: bool) -> Result {
        println!("\n{}", self.table());
        if write {
            let path = root().join(self.page.path);
            std::fs::write(&path, self.document())
                .map_err(Failure::at(format_args!("write {}", path.display())))?;
            println!("written to {}", path.display());
        }
        Ok(())
    }

    /// Returns the tables and the notes.
    fn table(&self) -> String {
        let names: Vec<&str> = self.tools.iter().map(|(name, _)| *name).collect();
        let mut heads = names.clone();
        let to_floor = self.page.floor.map(|floor| format!("{OURS} to {floor}"));
        let to_best = format!("{OURS} to the best other");
        heads.extend(to_floor.as_deref());
        heads.push(&to_best);
        let mut parts: Vec<String> =
            self.page.grids.iter().map(|grid| self.grid(grid, &names, &heads)).collect();
        parts.extend(self.notes.iter().cloned());
        parts.join("\n\n")
    }

    fn grid(&self, grid: &Grid, names: &[&str], heads: &[&str]) -> String {
        let mut text =
            format!("| {} | {} |\n|---|{}", grid.title, heads.join(" | "), "---:|".repeat(heads.len()));
        for row in &self.rows.0 {
            let numbers: Vec<Option<f64>> = (0..names.len())
                .map(|at| {
                    let samples = row.cells.get(at)?;
                    grid.pick.unwrap_or(self.page.times).of(samples.iter().map(grid.value).collect())
                })
                .collect();
            let dash = || "—".to_owned();
            let mut shown: Vec<String> =
                numbers.iter().map(|number| number.map_or_else(dash, grid.shown)).collect();
            let ratios = Ratios::of(names, &numbers, self.page.floor);
            let ratio = |ratio: Option<f64>| ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"));
            shown.extend(self.page.floor.map(|_| ratio(ratios.to_floor)));
            shown.push(ratio(ratios.to_best));
            let _ = write!(text, "\n| {} | {} |", row.what, shown.join(" | "));
        }
        text
    }

    /// Returns the page for the documentation.
    fn document(&self) -> String {
        let versions: Vec<String> =
            self.tools.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let last = if self.page.floor.is_some() { "last columns" } else { "last column" };
        format!(
            "# {}\n\n\
             Written by `{}`; don't edit it by hand. [What is measured, and how](../bench/README.md).\n\n\
             - Date: {}\n- Machine: {}\n- Versions: {}\n- Data: {}; rounds: {}\n\n\
             Under 1 in the {last}, releve is the better one.\n\n{}\n",
            self.page.title,
            self.page.command,
            self.date,
            self.machine,
            versions.join(", "),
            self.data,
            self.rounds,
            self.table()
        )
    }
}

/// Ours divided by what others took.
struct Ratios {
    to_floor: Option<f64>,
    /// The floor is none of the others.
    to_best: Option<f64>,
}

impl Ratios {
    fn of(names: &[&str], numbers: &[Option<f64>], floor: Option<&str>) -> Self {
        let least = |wanted: &dyn Fn(&str) -> bool| {
            let chosen = names.iter().zip(numbers).filter(|(name, _)| wanted(name));
            chosen.filter_map(|(_, number)| *number).min_by(f64::total_cmp)
        };
        let ours = least(&|name| name == OURS);
        let to =
            |least: Option<f64>| least.filter(|least| *least > 0.0).and_then(|least| Some(ours? / least));
        Self {
            to_floor: to(least(&|name| Some(name) == floor)),
            to_best: to(least(&|name| name != OURS && Some(name) != floor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(seconds: f64, peak_bytes: f64) -> Taken {
        Taken { seconds, processor: seconds * 2.0, peak_bytes }
    }

    fn report() -> Report {
        let mut rows = Rows::default();
        rows.add("first backup", 0, taken(9.0, 80e6), 50);
        rows.add("first backup", 0, taken(6.0, 100e6), 50);
        rows.add("first backup", 1, taken(12.0, 200e6), 50);
        rows.add("first backup", 2, taken(15.0, 50e6), 100);
        rows.add("unchanged", 0, taken(1.0, 100e6), 0);
        let tools = ["releve", "restic", "borg"].map(|name| (name, "1.0".to_owned())).to_vec();
        let (machine, date) = ("a machine".to_owned(), "2026-11-24".to_owned());
        let data = "10 files, 1.60 GB".to_owned();
        Report { page: &BACKUP, tools, machine, date, rounds: 2, data, rows, notes: Vec::new() }
    }

    fn restores() -> Report {
        let mut rows = Rows::default();
        for (column, times) in
            [vec![1.0, 1.5, 2.0], vec![9.0, 3.0, 2.0], vec![4.0, 8.0], vec![20.0]].into_iter().enumerate()
        {
            times.into_iter().for_each(|seconds| rows.add("small", column, taken(seconds, seconds * 1e6), 0));
        }
        let tools = ["cp", "releve", "restic", "borg"].map(|name| (name, "1.0".to_owned())).to_vec();
        Report { page: &RESTORE, tools, rows, notes: vec!["The line: 2 s.".to_owned()], ..report() }
    }

    #[test]
    fn the_best_time_and_the_most_memory_count_against_the_best_other() {
        let table = report().table();
        assert!(table.contains("| first backup | 6.00 s | 12.00 s | 15.00 s | 0.50 |"), "{table}");
        assert!(table.contains("| first backup | 100 MB | 200 MB | 50 MB | 2.00 |"), "{table}");
    }

    #[test]
    fn a_restore_counts_by_its_median_against_the_copy_and_against_the_best_other() {
        let table = restores().table();
        assert!(
            table
                .contains("| Time | cp | releve | restic | borg | releve to cp | releve to the best other |")
        );
        assert!(table.contains("| small | 1.50 s | 3.00 s | 6.00 s | 20.00 s | 2.00 | 0.50 |"), "{table}");
        assert!(table.contains("| small | 2 MB | 9 MB | 8 MB | 20 MB | 4.50 | 1.12 |"), "{table}");
        assert!(!table.contains("Added to the repository"), "{table}");
        assert!(table.ends_with("\n\nThe line: 2 s."), "{table}");
        assert!(restores().document().starts_with("# Restore, compared\n"));
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_no_number() {
        assert!(report().table().contains("| unchanged | 1.00 s | — | — | — |"));
    }

    #[test]
    fn the_page_names_machine_versions_and_date() {
        let page = report().document();
        for part in ["a machine", "restic 1.0", "2026-11-24", "10 files, 1.60 GB", "rounds: 2"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.lines().all(|line| line == line.trim_end()));
    }
}
