//! Many runs, each in a process of its own: what is random in it comes from its seed, also inside of libraries.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::runtime::clock;
use crate::simulate::run::{Outcome, Plan, Telling, run};

/// Answers every request for random bytes from the seed in `DFKS_SEED`: hash maps, tokio's choices and ids are the same in each run.
const CHANCE: &str = include_str!("chance.c");
/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs whole deployments on simulated time, under faults that a seed chooses, and checks what was promised.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(name = "simulate")]
struct Args {
    /// Seeds: `7`, or `1..100`, the last one included
    #[arg(default_value = "1..100")]
    seeds: String,
    /// Simulated minutes of each
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Runs at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Begin no more runs once one has found something broken
    #[arg(long)]
    until_broken: bool,
    /// Run each seed twice: what happens must be the same, to the byte
    #[arg(long)]
    twice: bool,
    /// Of one seed: only these incidents of its plan, by number
    #[arg(long, value_delimiter = ',', num_args = 0..)]
    only: Option<Vec<usize>>,
    /// Of one seed: tell all that happens
    #[arg(long)]
    story: bool,
    /// Of one seed: show what led to the first thing that is broken
    #[arg(long)]
    ladder: bool,
    /// Of one seed: find the fewest incidents that still break something
    #[arg(long)]
    shrink: bool,
    /// Of one seed: the log of all processes, at this level
    #[arg(long)]
    log: Option<String>,
    /// Run it in this process, and print what came of it as JSON
    #[arg(long, hide = true)]
    here: bool,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.here { here(&args) } else { Many::new(args).and_then(Many::run) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _nobody_reads = writeln!(io::stderr(), "simulate: {error}");
            ExitCode::from(2)
        }
    }
}

/// One run in this process.
fn here(args: &Args) -> io::Result<bool> {
    let (seed, _) = range(&args.seeds)?;
    if let Some(level) = &args.log {
        tracing_subscriber::fmt().with_env_filter(level).with_writer(io::stderr).without_time().init();
    }
    let telling = match (args.story, args.ladder) {
        (true, _) => Telling::All,
        (false, true) => Telling::Ladder,
        (false, false) => Telling::Nothing,
    };
    let plan = Plan { seed, lasts: Duration::from_secs(args.minutes * 60), only: args.only.clone(), telling };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let outcome = runtime.block_on(run(plan));
    let mut out = io::stdout().lock();
    for line in &outcome.story {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
    out.flush()?;
    // what still runs in that world is not ended in order: nobody waits for it
    runtime.shutdown_background();
    Ok(outcome.broken.is_empty())
}

/// The seeds of `A..B`, both included.
fn range(text: &str) -> io::Result<(u64, u64)> {
    let bad = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("'{text}' is no range of seeds"));
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    Ok((first.parse().map_err(bad)?, last.parse().map_err(bad)?))
}

struct Many {
    args: Args,
    program: PathBuf,
    folder: PathBuf,
}

impl Drop for Many {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.folder);
    }
}

impl Many {
    /// Builds what the runs are started with.
    fn new(args: Args) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("dfks-simulate-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let many = Self { args, program: std::env::current_exe()?, folder };
        let source = many.folder.join("chance.c");
        std::fs::write(&source, CHANCE)?;
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(many.library()).arg(&source).status()?;
        if !built.success() {
            return Err(io::Error::other("the C compiler cannot build what makes chance repeatable"));
        }
        Ok(many)
    }

    fn library(&self) -> PathBuf {
        self.folder.join("chance.so")
    }

    fn run(self) -> io::Result<bool> {
        let (first, last) = range(&self.args.seeds)?;
        if self.args.shrink {
            return self.shrink(first);
        }
        let started_at = clock::now();
        let (mut next, mut running) = (first, Vec::new());
        let mut sum = Sum::default();
        while next <= last || !running.is_empty() {
            while next <= last && running.len() < self.args.jobs.max(1) {
                running.push((next, self.start(next, self.args.only.as_deref(), self.args.ladder)?));
                next += 1;
            }
            if running.is_empty() {
                break;
            }
            let (seed, child) = running.remove(0);
            let mut outcome = finish(seed, child)?;
            if self.args.twice {
                let again = finish(seed, self.start(seed, self.args.only.as_deref(), false)?)?;
                if again.digest != outcome.digest {
                    outcome.broken.push(format!("a second run differs: {} and {}", outcome.digest, again.digest));
                }
            }
            sum.add(outcome)?;
            if self.args.until_broken && !sum.broken.is_empty() {
                next = last + 1;
            }
        }
        sum.print(clock::now().saturating_duration_since(started_at))
    }

    /// Starts a run.
    fn start(&self, seed: u64, only: Option<&[usize]>, has_ladder: bool) -> io::Result<Child> {
        // without randomised addresses: some hash maps take theirs for a seed
        let mut command = Command::new("setarch");
        command.arg("-R").arg(&self.program).arg("--here").arg(seed.to_string()).args(["--minutes", &self.args.minutes.to_string()]);
        if let Some(only) = only {
            let list: Vec<_> = only.iter().map(ToString::to_string).collect();
            command.arg(format!("--only={}", list.join(",")));
        }
        if has_ladder {
            command.arg("--ladder");
        }
        if self.args.story {
            command.arg("--story");
        }
        if let Some(level) = &self.args.log {
            command.args(["--log", level]);
        }
        command.env("LD_PRELOAD", self.library()).env("DFKS_SEED", seed.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    }

    /// Leaves incidents out for as long as something is still broken.
    fn shrink(&self, seed: u64) -> io::Result<bool> {
        let whole = finish(seed, self.start(seed, None, false)?)?;
        let mut out = io::stdout();
        if whole.broken.is_empty() {
            writeln!(out, "seed {seed}: nothing is broken")?;
            return Ok(true);
        }
        let mut kept: Vec<usize> = (0..whole.plan.len()).collect();
        let (mut step, mut last) = (kept.len().div_ceil(2), whole);
        while step > 0 {
            let mut at = 0;
            while at < kept.len() {
                let fewer: Vec<usize> =
                    kept.iter().enumerate().filter(|(place, _)| !(at..at + step).contains(place)).map(|(_, one)| *one).collect();
                let tried = finish(seed, self.start(seed, Some(&fewer), false)?)?;
                if tried.broken.is_empty() {
                    at += step;
                } else {
                    (kept, last) = (fewer, tried);
                }
            }
            step = if step == 1 { 0 } else { step.div_ceil(2) };
        }
        let places: Vec<_> = kept.iter().map(ToString::to_string).collect();
        writeln!(out, "seed {seed}: {} incidents are enough: --only={}", kept.len(), places.join(","))?;
        last.plan.iter().try_for_each(|one| writeln!(out, "  {one}"))?;
        last.broken.iter().try_for_each(|broken| writeln!(out, "  {broken}"))?;
        finish(seed, self.start(seed, Some(&kept), true)?)?;
        Ok(false)
    }
}

/// Waits for a run and reads what came of it. Everything before the last line is its story.
fn finish(seed: u64, mut child: Child) -> io::Result<Outcome> {
    let started_at: Instant = clock::now();
    let mut last = String::new();
    let mut out = io::stdout();
    if let Some(lines) = child.stdout.take() {
        for line in BufReader::new(lines).lines() {
            let line = line?;
            if !last.is_empty() {
                writeln!(out, "{last}")?;
            }
            last = line;
        }
    }
    let status = child.wait()?;
    let took = clock::now().saturating_duration_since(started_at);
    let mut outcome: Outcome = serde_json::from_str(&last).unwrap_or_else(|error| Outcome {
        seed,
        broken: vec![format!("the run ended with {status}: {error}: {last}")],
        ..Outcome::default()
    });
    if took > PATIENCE {
        outcome.broken.push(format!("the run took {took:?}"));
    }
    Ok(outcome)
}

/// What came of all.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    broken: Vec<u64>,
    events: u64,
    seconds: u64,
    incidents: BTreeMap<String, u64>,
    counts: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) -> io::Result<()> {
        let mut out = io::stdout();
        self.runs += 1;
        self.events += outcome.events;
        self.seconds += outcome.seconds;
        for (kind, count) in outcome.incidents {
            *self.incidents.entry(kind).or_default() += u64::from(count);
        }
        for (name, count) in outcome.counts {
            *self.counts.entry(name).or_default() += count;
        }
        if !outcome.broken.is_empty() {
            self.broken.push(outcome.seed);
            writeln!(out, "seed {} (digest {}): {} broken", outcome.seed, outcome.digest, outcome.broken.len())?;
            outcome.broken.iter().take(5).try_for_each(|broken| writeln!(out, "  {broken}"))?;
        }
        Ok(())
    }

    fn print(self, took: Duration) -> io::Result<bool> {
        let mut out = io::stdout();
        let seconds = took.as_secs_f64();
        writeln!(out, "{} runs of {} simulated s in all, {} events, {seconds:.0} s", self.runs, self.seconds, self.events)?;
        for (what, counts) in [("incidents", &self.incidents), ("seen", &self.counts)] {
            let list: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(out, "{what}: {}", list.join(", "))?;
        }
        if self.broken.is_empty() {
            writeln!(out, "nothing is broken")?;
        } else {
            writeln!(out, "broken: seeds {:?}", self.broken)?;
        }
        Ok(self.broken.is_empty())
    }
}
