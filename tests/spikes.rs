//! A training whose loss jumps, and one that never gets warm.

use crate::support::{Folder, Outcome};

const LINE: &str = "pretrain --config pretrain.toml --set optim.schedule=\"constant\" --set train.save_interval=50 \
                    --set train.eval_interval=0";

/// 150 calm steps, then as many more as `more` says at a rate three hundred times as high.
fn shaken(folder: &Folder, more: &str) -> Outcome {
    folder.run(&format!("{LINE} --set train.max_steps=150")).done();
    folder.run(&format!("{LINE} --resume --set train.max_steps=170 --set optim.learning_rate=3 {more}"))
}

#[test]
fn a_loss_spike_is_told_once_and_logged() {
    let folder = Folder::new();
    let outcome = shaken(&folder, "").done();
    let told: Vec<&str> =
        outcome.stderr.lines().filter(|line| line.starts_with("warning: loss spike")).collect();
    let logged: Vec<_> = folder.json_lines("pretrained/metrics.jsonl");
    let logged: Vec<_> = logged.iter().filter(|event| !event["spike_step"].is_null()).collect();
    assert_eq!((told.len(), logged.len()), (1, 1), "{told:?}");
    let step = logged[0]["spike_step"].as_u64().unwrap();
    assert!(told[0].contains(&format!("spike at step {step}: loss ")) && step > 150, "{told:?}");
    assert!(logged[0]["spike_loss_z"].as_f64().unwrap() > 6.0, "{}", logged[0]);
}

#[test]
fn a_spike_may_cost_its_update_or_lead_back() {
    let folder = Folder::new();
    let outcome = shaken(&folder, "--set train.on_spike=\"skip\"").done();
    assert!(outcome.stderr.contains("this step updates nothing"), "{}", outcome.stderr);
    let skipped = folder.json("pretrained/checkpoints/step_000170/state.json");
    assert!(skipped["counters"]["skipped_updates"].as_u64().unwrap() >= 1);

    let folder = Folder::new();
    let outcome = shaken(&folder, "--set train.on_spike=\"go_back\"");
    assert!(outcome.stderr.contains("going back to step 150"), "{}", outcome.stderr);
    outcome.fails(76, &["spiked again after 10 returns", "lower optim.learning_rate", "step_000150"]);
    // With a lower rate the run goes on from there.
    folder.run(&format!("{LINE} --resume --set train.max_steps=160")).done();
}

#[test]
fn a_warm_up_longer_than_the_run_is_told() {
    let folder = Folder::new();
    let outcome = folder.run("pretrain --config pretrain.toml --set optim.warmup_steps=1000").done();
    let line =
        "warning: optim.warmup_steps is 1000, but the run ends after 4: its learning rate never reaches";
    assert!(outcome.stderr.contains(line), "{}", outcome.stderr);
}
