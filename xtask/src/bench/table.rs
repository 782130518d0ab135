//! What was measured, as Markdown.

use super::measure::Taken;
use std::fmt::Write;

/// The one that is compared with the best of the others.
const OURS: &str = "releve";

/// Everything that one call found out.
pub(super) struct Report {
    /// Names and versions, in the order of the columns.
    pub(super) tools: Vec<(&'static str, String)>,
    pub(super) machine: String,
    pub(super) date: String,
    pub(super) rounds: u16,
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) rows: Rows,
}

/// What was done, and what it took whom.
#[derive(Default)]
pub(super) struct Rows(Vec<Row>);

struct Row {
    what: &'static str,
    /// By the tool's column.
    cells: Vec<Option<Cell>>,
}

#[derive(Clone, Copy)]
struct Cell {
    taken: Taken,
    stored: u64,
}

/// A table: its title, and how a number is taken from a cell and shown.
type Grid = (&'static str, fn(&Cell) -> f64, fn(f64) -> String);

const GRIDS: [Grid; 4] = [
    ("Time", |cell| cell.taken.seconds, |seconds| format!("{seconds:.2} s")),
    ("Peak memory", |cell| cell.taken.peak_bytes, |bytes| format!("{:.0} MB", bytes / 1e6)),
    ("Processor time", |cell| cell.taken.processor, |seconds| format!("{seconds:.2} s")),
    ("Added to the repository", |cell| cell.stored as f64, |bytes| format!("{:.1} MB", bytes / 1e6)),
];

impl Rows {
    /// Adds a run. Of several the best times count, since only disturbances make one longer, and the most memory.
    pub(super) fn add(&mut self, what: &'static str, column: usize, taken: Taken, stored: u64) {
        let at = self.0.iter().position(|row| row.what == what).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Row { what, cells: Vec::new() });
        }
        let Some(row) = self.0.get_mut(at) else { return };
        row.cells.resize(row.cells.len().max(column + 1), None);
        let Some(cell) = row.cells.get_mut(column) else { return };
        let before = cell.unwrap_or(Cell { taken, stored });
        let taken = Taken {
            seconds: taken.seconds.min(before.taken.seconds),
            processor: taken.processor.min(before.taken.processor),
            peak_bytes: taken.peak_bytes.max(before.taken.peak_bytes),
        };
        *cell = Some(Cell { taken, stored: stored.max(before.stored) });
    }
}

impl Report {
    /// Returns the tables.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for (title, value, shown) in GRIDS {
            let names: Vec<&str> = self.tools.iter().map(|(name, _)| *name).collect();
            let _ = writeln!(text, "| {title} | {} | {OURS} to the best other |", names.join(" | "));
            let _ = writeln!(text, "|---|{}---:|", "---:|".repeat(names.len()));
            for row in &self.rows.0 {
                let cells: Vec<Option<f64>> = (0..names.len())
                    .map(|at| row.cells.get(at).copied().flatten().map(|cell| value(&cell)))
                    .collect();
                let shown: Vec<String> =
                    cells.iter().map(|cell| cell.map_or_else(|| "—".to_owned(), shown)).collect();
                let ratio =
                    ratio(&names, &cells).map_or_else(|| "—".to_owned(), |ratio| format!("{ratio:.2}"));
                let _ = writeln!(text, "| {} | {} | {ratio} |", row.what, shown.join(" | "));
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// Returns the page for the documentation.
    pub(super) fn document(&self) -> String {
        let versions: Vec<String> =
            self.tools.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "# Backup, compared\n\n\
             Written by `cargo xtask bench backup --large --write`; don't edit it by hand. [What is measured, and how](../bench/README.md).\n\n\
             - Date: {}\n- Machine: {}\n- Versions: {}\n- Data: {} files, {:.2} GB; rounds: {}\n\n\
             Under 1 in the last column, releve is the better one.\n\n{}\n",
            self.date,
            self.machine,
            versions.join(", "),
            self.files,
            self.bytes as f64 / 1e9,
            self.rounds,
            self.table()
        )
    }
}

/// Returns ours divided by the best of the others.
fn ratio(names: &[&str], cells: &[Option<f64>]) -> Option<f64> {
    let of = |ours: bool| {
        let cells = names.iter().zip(cells).filter(move |(name, _)| (**name == OURS) == ours);
        cells.filter_map(|(_, cell)| *cell).min_by(f64::total_cmp)
    };
    let best = of(false)?;
    (best > 0.0).then_some(of(true)? / best)
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
        Report { tools, machine, date, rounds: 2, files: 10, bytes: 1_600_000_000, rows }
    }

    #[test]
    fn the_best_time_and_the_most_memory_count_against_the_best_other() {
        let table = report().table();
        assert!(table.contains("| first backup | 6.00 s | 12.00 s | 15.00 s | 0.50 |"), "{table}");
        assert!(table.contains("| first backup | 100 MB | 200 MB | 50 MB | 2.00 |"), "{table}");
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
