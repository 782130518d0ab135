//! A run of our agent with the change journal, measured from outside: from the word that it has taken over a plan by which a run is due,
//! to the word that there is a point.

use super::line::wait_until;
use super::measure::Taken;
use super::tools::Repository;
use crate::run::{Failure, Result};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const TAKEN_OVER: &str = "the plan has changed: taken over";
const POINT: &str = "data: point ";
const BY_JOURNAL: &str = "by the change journal";

/// What is mounted by others meanwhile makes the agent look at everything, now and then.
const TRIES: usize = 5;
/// A change so shortly before a point may bear the point's own time, and what is looked at again is no measure.
const SETTLED: Duration = Duration::from_secs(3);

/// Measures an unchanged run of a repository that has the data; `None` and why, if there is no journal here.
pub(super) fn by_journal(repository: &Repository<'_>) -> Result<std::result::Result<Taken, String>> {
    wait_until(Instant::now() + SETTLED);
    repository.plan_every("1 second")?;
    let agent = Agent::start(repository.agent())?;
    let journal = agent.hear("change journal: ")?;
    if !journal.contains("change journal: on") {
        return Ok(Err(journal));
    }
    // It remembers nothing yet, and looks at everything.
    agent.hear(POINT)?;
    for _ in 0..TRIES {
        repository.plan_every("1 day")?;
        agent.hear(TAKEN_OVER)?;
        wait_until(Instant::now() + SETTLED);
        agent.forget_peak()?;
        repository.plan_every("1 second")?;
        agent.hear(TAKEN_OVER)?;
        let (begun, processor) = (Instant::now(), agent.processor()?);
        let said = agent.hear(POINT)?;
        let seconds = begun.elapsed().as_secs_f64();
        if said.contains(BY_JOURNAL) {
            let processor = agent.processor()? - processor;
            return Ok(Ok(Taken { seconds, processor, peak_bytes: agent.peak()? }));
        }
    }
    Err(Failure::new("the agent went on to look at everything although its change journal is on"))
}

/// An agent that says nothing for so long has nothing to do, or hangs.
const SILENCE: Duration = Duration::from_secs(300);

/// A running agent; it is ended when dropped.
struct Agent {
    process: Child,
    said: Receiver<String>,
}

impl Agent {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(Failure::at("start the agent"))?;
        let said = process.stderr.take().ok_or_else(|| Failure::new("the agent has no voice"))?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, said: lines })
    }

    /// Waits for a line that holds these words, and returns it.
    fn hear(&self, words: &str) -> Result<String> {
        let mut before = Vec::new();
        while let Ok(line) = self.said.recv_timeout(SILENCE) {
            if line.contains(words) {
                return Ok(line);
            }
            before.push(line);
        }
        Err(Failure::new(format!("the agent never said {words:?}:\n{}", before.join("\n"))))
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.id())
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.file(name);
        std::fs::read_to_string(&path).map_err(Failure::at(format_args!("read {path}")))
    }

    /// Returns the seconds of processor time that all its threads have had.
    fn processor(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        processor(&stat).ok_or_else(|| Failure::new(format!("{} has no times: {stat}", self.file("stat"))))
    }

    /// Lets its peak of memory begin anew.
    fn forget_peak(&self) -> Result {
        let path = self.file("clear_refs");
        std::fs::write(&path, "5").map_err(Failure::at(format_args!("write {path}")))
    }

    fn peak(&self) -> Result<f64> {
        let status = self.read("status")?;
        peak(&status).ok_or_else(|| Failure::new(format!("{} has no peak", self.file("status"))))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Each of its files is whole at any time, and the folder is removed with all of them.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `utime` and `stime` are the 14th and 15th field; the second, the name, may hold blanks. Linux tells hundredths, whatever its own
/// tick is.
fn processor(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut hundredths = || fields.next()?.parse::<f64>().ok();
    Some((hundredths()? + hundredths()?) / 100.0)
}

fn peak(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read_whatever_the_program_is_called() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0";
        assert_eq!(processor(stat), Some(2.0));
        assert_eq!(peak("VmPeak:\t 9 kB\nVmHWM:\t    1000 kB\n"), Some(1_024_000.0));
        assert_eq!(processor("nothing"), None);
    }

    #[test]
    fn a_line_is_heard_among_others_and_an_end_without_it_is_an_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one >&2; echo data: point abc >&2; echo the rest >&2"]);
        let agent = Agent::start(command).unwrap();
        assert_eq!(agent.hear(POINT).unwrap(), "data: point abc");
        assert!(agent.hear(TAKEN_OVER).unwrap_err().message.contains("the rest"));
    }

    #[test]
    fn the_peak_begins_anew() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo data: point abc >&2; sleep 60"]);
        let agent = Agent::start(command).unwrap();
        agent.hear(POINT).unwrap();
        agent.forget_peak().unwrap();
        assert!(agent.peak().unwrap() > 100_000.0);
        assert!(agent.processor().unwrap() < 10.0);
    }
}
