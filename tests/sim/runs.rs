//! The runs: many seeds, one seed twice, the defects, and the registration race.
//!
//! | variable | means | without it |
//! | --- | --- | --- |
//! | `SIM_SEEDS` | how many seeds | 300 |
//! | `SIM_SEED` | this seed alone | all of them |
//! | `SIM_TRACE` | 1: tell what happens | 0 |
//! | `SIM_TRIALS` | trials of the registration race | 10000 |
//! | `SIM_RACE_SEED` | this world of the registration race alone | all of them |
//! | `SIM_DEFECT` | this defect alone, by its name | all of them |

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    defects::Defect,
    dice::Dice,
    plan::Plan,
    world::{Tally, World},
};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 300;
/// Trials of the registration race in an ordinary test run; `make sim-race` makes 100,000.
const TRIALS: u64 = 10_000;
/// Trials that share a world.
const TRIALS_EACH: u64 = 250;
/// Within so many seeds each defect must be found.
const PATIENCE: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).and_then(|text| text.parse().ok())
}

/// A town's life.
fn live(seed: u64, defect: Option<Defect>, traced: bool) -> (Result<Tally>, String) {
    finish(World::town(seed, defect, traced))
}

fn finish(world: Result<World>) -> (Result<Tally>, String) {
    let mut world = match world {
        Ok(world) => world,
        Err(error) => return (Err(error), String::new()),
    };
    let end = world.run();
    (end.map(|()| world.tally.clone()), world.trace().to_owned())
}

impl World {
    fn town(seed: u64, defect: Option<Defect>, traced: bool) -> Result<Self> {
        let mut dice = Dice::new(seed);
        let plan = Plan::town(&mut dice);
        Self::new(dice, plan, defect, traced)
    }

    fn race(seed: u64, defect: Option<Defect>, traced: bool) -> Result<Self> {
        let mut dice = Dice::new(seed ^ 0x0072_6163_6500_0000);
        let plan = Plan::race(&mut dice, u32::try_from(TRIALS_EACH)?);
        Self::new(dice, plan, defect, traced)
    }
}

/// Gives these numbers to all cores, in order, until one of them says no.
fn on_all_cores(numbers: std::ops::Range<u64>, work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(numbers.start);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    if !work(number) {
                        next.fetch_max(numbers.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

/// Runs many on all cores. The first that fails, by its number, is what comes back.
fn all(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Result<Tally> + Sync) -> Result<Tally> {
    let total = Mutex::new((Tally::default(), None::<(u64, anyhow::Error)>));
    on_all_cores(seeds, |seed| {
        let end = run(seed);
        let Ok(mut total) = total.lock() else { return false };
        match end {
            Ok(tally) => {
                total.0.extend(&tally);
                true
            }
            Err(error) => {
                eprintln!("seed {seed}: {error:#}");
                if total.1.as_ref().is_none_or(|(first, _)| seed < *first) {
                    total.1 = Some((seed, error));
                }
                false
            }
        }
    });
    let (tally, failed) = total.into_inner().map_err(|_| anyhow!("a run panicked"))?;
    match failed {
        None => Ok(tally),
        Some((seed, error)) => {
            Err(error.context(format!("seed {seed}; replay: make sim SEED={seed} TRACE=1")))
        }
    }
}

fn print(what: &str, runs: u64, started: Instant, tally: &Tally) {
    println!("{runs} {what} in {:.1?}", started.elapsed());
    for (what, number) in &tally.counts {
        println!("  {number:>10}  {what}");
    }
}

#[test]
fn seeds() -> Result<()> {
    if let Some(seed) = number("SIM_SEED") {
        let (traced, started) = (number("SIM_TRACE") == Some(1), Instant::now());
        let (end, trace) = live(seed, None, traced);
        println!("{trace}");
        let tally = end.with_context(|| format!("seed {seed}"))?;
        print("seed", 1, started, &tally);
        return Ok(());
    }
    let (seeds, started) = (number("SIM_SEEDS").unwrap_or(SEEDS), Instant::now());
    let tally = all(0..seeds, |seed| {
        let tally = live(seed, None, false).0?;
        ensure!(tally.get("payments") >= 20, "there were {} payments", tally.get("payments"));
        Ok(tally)
    })?;
    print("seeds", seeds, started, &tally);
    Ok(())
}

#[test]
fn the_same_seed_is_the_same_run() -> Result<()> {
    for seed in 0..12 {
        let (first, second) = (live(seed, None, true), live(seed, None, true));
        ensure!(first.1.len() > 1_000, "there is a trace");
        ensure!(first.1 == second.1, "seed {seed} is not the same run twice");
        ensure!(first.0? == second.0?);
    }
    Ok(())
}

#[test]
fn every_defect_is_found() -> Result<()> {
    let only = std::env::var("SIM_DEFECT").ok();
    let mut missed = Vec::new();
    for defect in Defect::ALL {
        if only.as_ref().is_some_and(|only| format!("{defect:?}") != *only) {
            continue;
        }
        let found = AtomicU64::new(PATIENCE);
        let words = Mutex::new(String::new());
        on_all_cores(0..PATIENCE, |seed| {
            if seed >= found.load(Ordering::Relaxed) {
                return false;
            }
            if let (Err(error), _) = live(seed, Some(defect), false)
                && found.fetch_min(seed, Ordering::Relaxed) > seed
                && let Ok(mut words) = words.lock()
            {
                *words = format!("{error:#}");
            }
            true
        });
        let (found, words) = (found.into_inner(), words.into_inner().unwrap_or_default());
        println!("{defect:?}: seed {found}: {words}");
        if found == PATIENCE {
            missed.push(defect);
        }
    }
    ensure!(missed.is_empty(), "not found within {PATIENCE} seeds: {missed:?}");
    Ok(())
}

/// An invoice registered up to half a second before or after the broadcast, or the block, of its payment.
#[test]
fn registration_race() -> Result<()> {
    if let Some(seed) = number("SIM_RACE_SEED") {
        let (end, trace) = finish(World::race(seed, None, number("SIM_TRACE") == Some(1)));
        println!("{trace}");
        return end.map(drop).with_context(|| format!("seed {seed}"));
    }
    let (trials, started) = (number("SIM_TRIALS").unwrap_or(TRIALS), Instant::now());
    let worlds = trials.div_ceil(TRIALS_EACH);
    let tally = all(0..worlds, |seed| finish(World::race(seed, None, false)).0)?;
    print("trials", worlds * TRIALS_EACH, started, &tally);
    ensure!(tally.get("payments") >= trials, "each trial has its payment");
    // Both sides of the line are tried, and a program that draws it elsewhere is found.
    ensure!(
        tally.get("outputs that must count") > trials / 5
            && tally.get("outputs that did not count") > trials / 5
    );
    for defect in [Defect::OrderAfterLookup, Defect::OrderAfterAnswer, Defect::OldPaysNew] {
        let found = (0..40).any(|seed| finish(World::race(seed, Some(defect), false)).0.is_err());
        ensure!(found, "{defect:?} is not found");
    }
    Ok(())
}
