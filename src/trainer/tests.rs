//! The loop over a task whose losses are written down beforehand.

use std::cell::{Cell, RefCell};

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::*;
use crate::checkpoint::{self, Checkpoint, Fingerprints};
use crate::error::{Error, ErrorKind};
use crate::model::{Init, ParamSpec, Place};
use crate::ops;
use crate::optim::OptimConfig;
use crate::run_dir::{Existing, Manifest, RunDir};

/// Batch n, counted from 0, has the loss `losses(n)`; its gradient is always the same.
struct Script {
    losses: fn(u64) -> f64,
    weights: Tensor,
    /// A signal comes during the next evaluation.
    interrupts: Cell<bool>,
    seen: RefCell<Vec<u32>>,
}

impl Task for Script {
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>> {
        Ok(vec![Batch { ids: vec![step as u32], lengths: vec![1], targets: vec![0] }])
    }

    fn count(&self, _: &Batch) -> f64 {
        1.0
    }

    fn begin_stage(&mut self, _: &Stage, _: &Params) -> Result<()> {
        Ok(())
    }

    fn loss(&self, batch: &Batch, scale: f64, _: &mut Dropout) -> Result<BatchLoss> {
        self.seen.borrow_mut().push(batch.ids[0]);
        let of_targets = Tensor::new((self.losses)(batch.ids[0].into()), &Device::Cpu)?;
        let slopes = Tensor::new(&[0.5f32 * scale as f32, -0.25], &Device::Cpu)?;
        Ok(BatchLoss { of_targets, total: ops::weighted_sum(&(&self.weights).into(), &slopes)? })
    }

    fn evaluate(&self, _: &Progress) -> Result<Evaluation> {
        if self.interrupts.take() {
            return Err(Error::new(ErrorKind::Interrupted(15), "stopped by signal 15"));
        }
        Ok(Evaluation { loss: 1.0, score: 1.0, fields: Map::new() })
    }

    fn steps_per_epoch(&self) -> f64 {
        1000.0
    }

    fn default_eval_interval(&self) -> u64 {
        0
    }
}

/// A run of the script in a folder of its own; dropped, nothing is left.
struct Scene {
    folder: tempfile::TempDir,
    task: Script,
    state: State,
}

impl Scene {
    fn new(losses: fn(u64) -> f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (task, state) = beginning(losses);
        Self { folder, task, state }
    }

    fn train(&mut self, train: &TrainConfig) -> Result<Outcome> {
        let dir = RunDir::open(self.folder.path(), Existing::Resume).unwrap();
        dir.write_manifest(&Manifest::new("pretrain", 1, "cpu", 1, "scratch")).unwrap();
        let fingerprints = Fingerprints {
            data: String::new(),
            tokenizer: String::new(),
            frozen: String::new(),
            start: String::new(),
        };
        let run = Run {
            phase: "pretrain",
            train,
            optim: &OptimConfig { warmup_steps: 0, ..OptimConfig::default() },
            seed: 1,
            dir: &dir,
            fingerprints: &fingerprints,
            progress: &Progress::silent(),
        };
        run.train(&mut self.task, &mut self.state)
    }

    /// Forgets everything but the newest checkpoint.
    fn resume(&mut self) {
        let (task, state) = beginning(self.task.losses);
        (self.task, self.state) = (task, state);
        let newest = self.checkpoints().pop().unwrap();
        let folder = checkpoint::folder_of(&self.folder.path().join("checkpoints"), newest);
        self.state.restore(Checkpoint::load(&folder).unwrap()).unwrap();
    }

    fn checkpoints(&self) -> Vec<u64> {
        let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
        let all = checkpoint::list(&self.folder.path().join("checkpoints")).unwrap().into_iter().map(name);
        all.map(|name| name.trim_start_matches("step_").parse().unwrap()).collect()
    }

    /// The events that have `key`.
    fn events(&self, key: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.folder.path().join("metrics.jsonl")).unwrap();
        let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| !event[key].is_null()).collect()
    }

    fn weights(&self) -> Vec<f32> {
        self.task.weights.to_vec1().unwrap()
    }
}

fn beginning(losses: fn(u64) -> f64) -> (Script, State) {
    let specs = [ParamSpec::new(Place::Block(0), "a", &[2], Init::Ones)];
    let params = Params::init(&specs, 1, &Device::Cpu).unwrap();
    let weights = params.tracked(|_| true)["a"].clone();
    let task = Script { losses, weights, interrupts: Cell::new(false), seen: RefCell::default() };
    (task, State::of_all(params, &specs, &OptimConfig::default()))
}

/// Nothing is saved or evaluated but at the end.
fn steps(max_steps: u64) -> TrainConfig {
    TrainConfig { max_steps, save_minutes: 0.0, ..TrainConfig::default() }
}

/// 2.8 and 3.2 in turn.
fn calm(batch: u64) -> f64 {
    if batch.is_multiple_of(2) { 2.8 } else { 3.2 }
}

fn one_spike(batch: u64) -> f64 {
    if batch == 150 { 9.0 } else { calm(batch) }
}

#[test]
fn an_evaluation_that_a_signal_cuts_short_is_made_up_for() {
    let train = TrainConfig { eval_interval: 2, ..steps(4) };
    let mut whole = Scene::new(calm);
    assert_eq!(whole.train(&train).unwrap(), Outcome::Finished);

    let mut cut = Scene::new(calm);
    cut.task.interrupts.set(true);
    assert_eq!(cut.train(&train).unwrap(), Outcome::Interrupted(15));
    assert_eq!((cut.checkpoints(), cut.events("val_loss").len()), (vec![2], 0));
    cut.resume();
    assert_eq!(cut.train(&train).unwrap(), Outcome::Finished);

    let evaluations = |scene: &Scene| -> Vec<(Value, Value)> {
        let events = scene.events("val_loss").into_iter();
        events.map(|event| (event["step"].clone(), event["train_loss_since_eval"].clone())).collect()
    };
    assert_eq!(evaluations(&cut), evaluations(&whole));
    assert_eq!(cut.weights(), whole.weights());
    assert_eq!(cut.state.counters.best, whole.state.counters.best);
}

#[test]
fn the_clock_saves_and_changes_no_weight() {
    let mut without = Scene::new(calm);
    without.train(&steps(4)).unwrap();
    let mut with = Scene::new(calm);
    with.train(&TrainConfig { save_minutes: 1e-12, keep_checkpoints: 0, ..steps(4) }).unwrap();
    assert_eq!((without.checkpoints(), with.checkpoints()), (vec![4], vec![1, 2, 3, 4]));
    assert_eq!(with.weights(), without.weights());
}

#[test]
fn a_spike_is_told_once_and_by_default_changes_no_weight() {
    let mut watched = Scene::new(one_spike);
    watched.train(&steps(200)).unwrap();
    let spikes = watched.events("spike_step");
    assert_eq!(spikes.len(), 1, "{spikes:?}");
    assert_eq!((spikes[0]["spike_step"].as_u64(), spikes[0]["step"].as_u64()), (Some(151), Some(151)));
    assert!(spikes[0]["spike_loss_z"].as_f64().unwrap() > 20.0);

    let mut unwatched = Scene::new(one_spike);
    unwatched.train(&TrainConfig { spike_loss_z: 0.0, ..steps(200) }).unwrap();
    assert!(unwatched.events("spike_step").is_empty());
    assert_eq!(watched.weights(), unwatched.weights());
}

#[test]
fn a_skipped_spike_updates_nothing_also_where_the_run_was_resumed() {
    let skip = |max_steps| TrainConfig { on_spike: OnSpike::Skip, ..steps(max_steps) };
    let mut whole = Scene::new(one_spike);
    whole.train(&TrainConfig { save_interval: 155, ..skip(200) }).unwrap();
    assert_eq!((whole.state.counters.step, whole.state.optimizer.updates()), (200, 199));

    let mut resumed = Scene::new(one_spike);
    resumed.train(&TrainConfig { save_interval: 155, keep_checkpoints: 0, ..skip(200) }).unwrap();
    std::fs::remove_dir_all(resumed.folder.path().join("checkpoints/step_000200")).unwrap();
    resumed.resume();
    assert_eq!((resumed.state.counters.step, resumed.state.optimizer.updates()), (155, 154));
    resumed.train(&skip(200)).unwrap();
    assert_eq!(resumed.weights(), whole.weights());
    let mut warned = Scene::new(one_spike);
    warned.train(&steps(200)).unwrap();
    assert_ne!(warned.weights(), whole.weights());
}

#[test]
fn going_back_leaves_the_batches_up_to_the_spike_out() {
    let train =
        TrainConfig { on_spike: OnSpike::GoBack, save_interval: 50, keep_checkpoints: 0, ..steps(200) };
    let mut scene = Scene::new(one_spike);
    assert_eq!(scene.train(&train).unwrap(), Outcome::Finished);
    let counters = &scene.state.counters;
    // The checkpoint at 150 stands right before the spike: whether it is sound nobody knows.
    assert_eq!((counters.step, counters.returns, counters.steps_left_out), (200, 1, 51));
    let seen = scene.task.seen.borrow().clone();
    assert_eq!(seen, (0..=150).chain(151..=250).collect::<Vec<u32>>());
    let spikes = scene.events("spike_step");
    assert_eq!((spikes.len(), &spikes[0]["step"], &spikes[0]["spike_step"]), (1, &100.into(), &151.into()));
    assert_eq!(scene.checkpoints(), [50, 100, 150, 200]);

    // As it would be after a crash right before the end.
    let weights = scene.weights();
    std::fs::remove_dir_all(scene.folder.path().join("checkpoints/step_000200")).unwrap();
    scene.resume();
    scene.train(&train).unwrap();
    assert_eq!(scene.weights(), weights);
}

#[test]
fn each_return_leaves_out_more() {
    let train = TrainConfig { on_spike: OnSpike::GoBack, save_interval: 50, ..steps(300) };
    let mut scene = Scene::new(|batch| if (250..253).contains(&batch) { 9.0 } else { calm(batch) });
    scene.train(&train).unwrap();
    assert_eq!((scene.state.counters.returns, scene.state.counters.steps_left_out), (3, 53));
    let seen = scene.task.seen.borrow().clone();
    assert_eq!(seen, (0..=352).collect::<Vec<u32>>(), "no batch is met twice");
}

#[test]
fn a_run_that_spikes_again_and_again_has_diverged() {
    let train = TrainConfig { on_spike: OnSpike::GoBack, save_interval: 50, ..steps(1000) };
    let mut scene = Scene::new(|batch| if batch < 250 { calm(batch) } else { 9.0 });
    let error = scene.train(&train).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Diverged);
    assert!(error.to_string().contains("spiked again after 10 returns"), "{error}");
}

#[test]
fn after_a_divergence_the_checkpoint_from_before_the_rise_is_there_and_named() {
    let mut scene = Scene::new(|batch| match batch {
        0..20 => calm(batch),
        20..60 => 8.0,
        _ => f64::NAN,
    });
    let error = scene.train(&TrainConfig { save_interval: 10, ..steps(100) }).unwrap_err();
    assert_eq!((error.kind, scene.checkpoints()), (ErrorKind::Diverged, vec![10, 50, 60]));
    let line = error.to_string();
    let mut rest = &line[..];
    for part in [
        "training diverged at step 61",
        "optim.learning_rate",
        "step_000010 is from before the loss rose: remove ",
        "step_000050 and ",
        "step_000060, then go on from it with --resume",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part}: {line}"));
        rest = &rest[at + part.len()..];
    }

    let mut ruined = Scene::new(|batch| if batch < 9 { 5.0 + 300.0 * batch as f64 } else { f64::INFINITY });
    let error = ruined.train(&TrainConfig { save_interval: 2, ..steps(100) }).unwrap_err();
    assert!(error.to_string().ends_with("start again with --overwrite"), "{error}");
}
