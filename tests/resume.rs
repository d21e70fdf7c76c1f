//! A run that was stopped and went on ends with the same bits as one that was not.

use crate::support::{Folder, Outcome};

const PRETRAIN: &str = "pretrain --config pretrain.toml --set train.dropout=0.1 --set train.grad_accum_steps=2 \
                        --set optim.schedule=\"constant\" --set train.eval_interval=5 --set train.save_interval=5";
const FINETUNE: &str = "finetune --config finetune.toml --set train.dropout=0.1 --set train.grad_accum_steps=2 \
                        --set classifier.language_model_weight=0.5 \
                        --set optim.schedule=\"constant\" --set train.eval_interval=5 --set train.save_interval=5";

/// (step, training loss) of each logged step.
fn train_losses(folder: &Folder, run: &str) -> Vec<(u64, f64)> {
    let events = folder.json_lines(&format!("{run}/metrics.jsonl"));
    let steps = events.iter().filter(|event| !event["train_loss"].is_null());
    steps.map(|event| (event["step"].as_u64().unwrap(), event["train_loss"].as_f64().unwrap())).collect()
}

/// Asserts that model, last checkpoint and logged losses of both runs are the same, bit for bit.
fn assert_same(folder: &Folder, a: &str, b: &str, last_step: u64) {
    let checkpoint = format!("checkpoints/step_{last_step:06}");
    for file in ["model", "optimizer", "best"].map(|name| format!("{checkpoint}/{name}.safetensors")) {
        assert!(
            folder.bytes(&format!("{a}/{file}")) == folder.bytes(&format!("{b}/{file}")),
            "{file} differs"
        );
    }
    let model = |run: &str| folder.bytes(&format!("{run}/model/model.safetensors"));
    assert!(model(a) == model(b), "model.safetensors differs");
    let losses = train_losses(folder, a);
    assert_eq!(losses, train_losses(folder, b));
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=last_step).collect::<Vec<_>>());
}

#[test]
fn five_and_five_steps_of_pretraining_are_ten() {
    let folder = Folder::new();
    folder.run(&format!("{PRETRAIN} --set train.max_steps=5")).done();
    let outcome = folder.run(&format!("{PRETRAIN} --set train.max_steps=10 --resume")).done();
    assert!(outcome.stderr.contains("resuming at step 5"), "{}", outcome.stderr);
    folder.run(&format!("{PRETRAIN} --set train.max_steps=10 --set output_dir=whole")).done();
    assert_same(&folder, "pretrained", "whole", 10);
}

#[test]
fn five_and_five_steps_by_muon_are_ten_and_none_by_adamw() {
    let folder = Folder::new();
    let muon = format!("{PRETRAIN} --set optim.kind=muon");
    folder.run(&format!("{muon} --set train.max_steps=5")).done();
    let hints = ["optim.kind", "\"muon\" -> \"adamw\"", "--overwrite"];
    folder.run(&format!("{PRETRAIN} --set train.max_steps=10 --resume")).fails(2, &hints);
    folder.run(&format!("{muon} --set train.max_steps=10 --resume")).done();
    folder.run(&format!("{muon} --set train.max_steps=10 --set output_dir=whole")).done();
    assert_same(&folder, "pretrained", "whole", 10);
    folder.run(&format!("{PRETRAIN} --set train.max_steps=10 --set output_dir=adamw")).done();
    assert!(train_losses(&folder, "adamw") != train_losses(&folder, "whole"), "Muon does as AdamW does");
}

#[test]
fn five_and_five_steps_of_finetuning_are_ten() {
    let folder = Folder::pretrained();
    folder.run(&format!("{FINETUNE} --set train.max_steps=5")).done();
    folder.run(&format!("{FINETUNE} --set train.max_steps=10 --resume")).done();
    folder.run(&format!("{FINETUNE} --set train.max_steps=10 --set output_dir=whole")).done();
    assert_same(&folder, "finetuned", "whole", 10);
    assert_eq!(folder.bytes("finetuned/predictions.jsonl"), folder.bytes("whole/predictions.jsonl"));
    let course = |run: &str| folder.json(&format!("{run}/results.json"))["course"].clone();
    assert!(course("whole")["last"]["step"] == 10, "{}", course("whole"));
    assert_eq!(course("finetuned"), course("whole"), "the evaluations before the stop are forgotten");
}

#[test]
fn a_classifier_that_reads_in_both_directions_goes_on_in_both() {
    let folder = Folder::pretrained();
    let line = FINETUNE.replace("classifier.language_model_weight=0.5", "classifier.attention=bidirectional");
    let line = format!("{line} --set classifier.pooling=mean");
    folder.run(&format!("{line} --set train.max_steps=5")).done();
    let causal = line.replace("bidirectional", "causal");
    folder
        .run(&format!("{causal} --set train.max_steps=10 --resume"))
        .fails(2, &["classifier.attention", "bidirectional", "causal"]);
    folder.run(&format!("{line} --set train.max_steps=10 --resume")).done();
    folder.run(&format!("{line} --set train.max_steps=10 --set output_dir=whole")).done();
    assert_same(&folder, "finetuned", "whole", 10);
}

#[test]
fn a_done_run_is_not_done_again() {
    let folder = Folder::pretrained();
    let written = || folder.path("pretrained/run.json").metadata().unwrap().modified().unwrap();
    let before = written();
    let outcome = folder.run("pretrain --config pretrain.toml --resume").done();
    assert!(outcome.stderr.contains("pretrained is done already"), "{}", outcome.stderr);
    assert_eq!(written(), before);
}

#[test]
fn a_done_run_says_one_thing_about_a_key_that_would_not_matter() {
    let folder = Folder::pretrained();
    let outcome = folder.run("pretrain --config pretrain.toml --resume --set optim.learning_rate=0.5").done();
    let notes: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("learning_rate")).collect();
    let said =
        "pretrained is done already; without a higher limit optim.learning_rate: 0.01 -> 0.5 changes nothing";
    assert!(notes.len() == 1 && notes[0].contains(said), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("resuming with"), "{}", outcome.stderr);
    folder.remove("pretrained/checkpoints");
    let line = "pretrain --config pretrain.toml --resume --set train.max_steps=6";
    folder.run(line).fails(65, &["pretrained is done and has no checkpoint to go on from"]);
    folder
        .run("finetune --config finetune.toml --init-from scratch --set output_dir=pretrained --resume")
        .fails(2, &["output_dir pretrained holds a run of pretrain, not of finetune"]);
}

#[test]
fn a_run_that_was_moved_with_all_it_is_made_from_goes_on() {
    let folder = Folder::pretrained();
    let finetune = "finetune --config finetune.toml --set train.max_steps=2";
    folder.run(finetune).done();
    folder
        .run("finetune --config finetune.toml --set train.max_steps=4 --set output_dir=whole --resume")
        .done();
    folder.replace("elsewhere/finetuned", "finetuned");
    folder.replace("elsewhere/model", "pretrained");
    folder.write("elsewhere/rows.tsv", folder.bytes("messages.tsv"));
    folder.write("elsewhere/text.txt", folder.bytes("corpus.txt"));
    let absolute = folder.path("elsewhere").display().to_string();
    for (output, place) in
        [("elsewhere/finetuned", "elsewhere"), ("./elsewhere/finetuned", "./elsewhere"), ("", &absolute)]
    {
        let output = if output.is_empty() { format!("{absolute}/finetuned") } else { output.into() };
        let moved =
            format!("--init-from {place}/model --set output_dir={output} --set data.train={place}/rows.tsv");
        let outcome = folder.run(&format!("{finetune} --resume {moved}")).done();
        assert!(outcome.stderr.contains("finetuned is done already"), "{}", outcome.stderr);
        let lm = format!(
            "--set output_dir={place}/model --set data.train=[\"{place}/text.txt\"] --set data.cache_dir={place}/cache"
        );
        folder.run(&format!("pretrain --config pretrain.toml --resume {lm}")).done();
    }
    let moved = "--init-from elsewhere/model --set output_dir=elsewhere/finetuned --set data.train=elsewhere/rows.tsv";
    let other = moved.replace("rows.tsv", "other.tsv");
    folder.write("elsewhere/other.tsv", folder.text("messages.tsv") + "ham\tone more\n");
    folder.run(&format!("{finetune} --resume {other}")).fails(65, &["the data is", "the run's was"]);
    folder.run("pretrain --config pretrain.toml --set seed=3 --set output_dir=elsewhere/another").done();
    let other = moved.replace("elsewhere/model", "elsewhere/another");
    for steps in [2, 4] {
        let line = format!("finetune --config finetune.toml --set train.max_steps={steps} --resume {other}");
        folder.run(&line).fails(65, &["the weights of init_from are", "put init_from back"]);
    }
    let from_scratch = moved.replace("elsewhere/model", "scratch");
    let own = "--set tokenizer.path=elsewhere/model";
    folder
        .run(&format!("{finetune} --resume {from_scratch} {own}"))
        .fails(65, &["the weights of init_from are scratch"]);
    folder.run(&format!("finetune --config finetune.toml --set train.max_steps=4 --resume {moved}")).done();
    assert_eq!(folder.json("elsewhere/finetuned/results.json")["steps"], 4);
}

#[test]
fn a_run_that_stopped_early_goes_on_with_more_patience_and_says_why_it_does_not_with_more_steps() {
    let folder = Folder::new();
    let line = "pretrain --config pretrain.toml --set train.eval_interval=1 --set optim.learning_rate=3 \
                --set train.early_stopping_patience";
    let steps = || folder.json("pretrained/results.json")["steps"].as_u64().unwrap();
    folder.run(&format!("{line}=1 --set train.max_steps=30")).done();
    let stopped = steps();
    assert!(stopped < 30, "it did not stop early");
    let outcome = folder.run(&format!("{line}=1 --set train.max_steps=40 --resume")).done();
    let said = format!("it stopped early at step {stopped}: train.early_stopping_patience is 1");
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    assert_eq!(steps(), stopped);
    folder.run(&format!("{line}=3 --set train.max_steps=40 --resume")).done();
    assert!(steps() > stopped, "it ended at once");
}

#[test]
fn damaged_lines_of_the_log_are_named_and_kept_aside() {
    let folder = Folder::pretrained();
    let log = folder.text("pretrained/metrics.jsonl");
    let (first, rest) = log.split_once('\n').unwrap();
    let damaged = b"\xff\xfe{\"step\":1}\n{\"step\":2\n";
    folder.write(
        "pretrained/metrics.jsonl",
        [first.as_bytes(), b"\n", damaged, rest.as_bytes(), b"{\"st"].concat(),
    );
    let report = folder.run("report pretrained").done().stdout;
    assert!(report.contains("2 damaged lines of metrics.jsonl"), "{report}");
    let outcome = folder.run("pretrain --config pretrain.toml --resume --set train.max_steps=6").done();
    assert!(outcome.stderr.contains("2 damaged lines of metrics.jsonl are left out"), "{}", outcome.stderr);
    assert_eq!(folder.bytes("pretrained/metrics.damaged"), damaged);
    let steps: Vec<u64> = train_losses(&folder, "pretrained").iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn changed_counters_of_a_checkpoint_are_refused() {
    let folder = Folder::pretrained();
    let file = "pretrained/checkpoints/step_000004/state.json";
    let good = folder.text(file);
    for (from, to) in
        [("\"step\": 4", "\"step\": 3"), ("\"head_only_steps\": 0", "\"head_only_steps\": 4294967295")]
    {
        assert!(good.contains(from), "{good}");
        folder.write(file, good.replacen(from, to, 1));
        let line = "pretrain --config pretrain.toml --resume --set train.max_steps=6";
        let hint =
            "remove pretrained/checkpoints/step_000004 to go on from pretrained/checkpoints/step_000002";
        folder.run(line).fails(65, &[file, "is damaged: its checksum is ", ", expected ", hint]);
    }
}

#[test]
fn other_sizes_than_those_of_the_start_are_named_by_key() {
    let folder = Folder::pretrained();
    let line = "finetune --config finetune.toml --set model.model_type=llama --set model.hidden_size=32";
    folder.run(line).fails(2, &["model.hidden_size: 16 -> 32", "remove [model]"]);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let folder = Folder::new();
    for (run, seed) in [("one", 1), ("two", 1), ("three", 2)] {
        let line = format!("{PRETRAIN} --set train.max_steps=5 --set output_dir={run} --set seed={seed}");
        folder.run(&line).done();
    }
    assert_same(&folder, "one", "two", 5);
    assert_ne!(train_losses(&folder, "one"), train_losses(&folder, "three"));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let folder = Folder::new();
    for threads in ["1", "2", "3"] {
        let output_dir = format!("output_dir=\"threads{threads}\"");
        let mut command = folder.train(&["pretrain", "--config", "pretrain.toml", "--set", &output_dir]);
        // Wide enough for products that are divided among threads.
        command.args(["--set", "model.hidden_size=128", "--set", "model.intermediate_size=512"]);
        command.args([
            "--set",
            "train.max_steps=5",
            "--set",
            "train.eval_interval=5",
            "--set",
            "train.save_interval=5",
        ]);
        command.timeout(std::time::Duration::from_secs(120)).env("RAYON_NUM_THREADS", threads);
        Outcome::of("pretrain", command.output().unwrap()).done();
    }
    assert_same(&folder, "threads1", "threads2", 5);
    assert_same(&folder, "threads1", "threads3", 5);
}

#[test]
fn the_stage_of_all_begins_anew_after_a_resumption_and_is_never_left() {
    let folder = Folder::pretrained();
    let steps = "--set train.save_interval=5 --set train.keep_checkpoints=0 --set train.max_steps=10";
    let line = format!("{FINETUNE} {steps} --set classifier.head_only_fraction=0.5");
    folder.run(&format!("{line} --set output_dir=whole")).done();
    folder.run(&line).done();
    // As if it had been killed at the border of the stages.
    folder.remove("finetuned/checkpoints/step_000010");
    folder.remove("finetuned/model");
    let manifest = folder.text("finetuned/run.json").replace("\"done\"", "\"running\"");
    folder.write("finetuned/run.json", manifest);
    let outcome = folder.run(&format!("{line} --resume")).done();
    assert!(outcome.stderr.contains("resuming at step 5"), "{}", outcome.stderr);
    assert_same(&folder, "finetuned", "whole", 10);

    folder.run(&format!("{line} --resume --set train.max_steps=40")).done();
    let state = folder.json("finetuned/checkpoints/step_000040/state.json");
    assert_eq!(
        state["counters"]["head_only_steps"], 5,
        "a larger budget led back to the head alone: {state}"
    );
}

#[test]
fn a_run_of_an_older_program_goes_on_with_the_keys_it_did_not_know() {
    let folder = Folder::new();
    folder.run(&format!("{PRETRAIN} --set train.max_steps=5")).done();
    let older = folder.text("pretrained/config.toml").replace("recompute = false\n", "");
    folder.write("pretrained/config.toml", older);
    let line = format!("{PRETRAIN} --set train.max_steps=6 --resume");
    let outcome = folder.run(&line).done();
    assert!(outcome.stderr.contains("resuming with train.max_steps"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("recompute"), "{}", outcome.stderr);
}

/// Sums of f32 in another order: the losses of about 5 nats differed by at most 5e-7 when this was written.
const OTHER_ORDER: f64 = 1e-5;

#[test]
fn one_large_micro_batch_is_eight_small_ones() {
    let folder = Folder::pretrained();
    let finetune = "finetune --set train.dropout=0 --set classifier.language_model_weight=0.5 --set data.label_budget=24";
    for (phase, command) in [("pretrain", "pretrain"), ("finetune", finetune)] {
        let losses = [(8, 1), (4, 2), (1, 8)].map(|(rows, times)| {
            let sizes = format!("--set train.micro_batch_size={rows} --set train.grad_accum_steps={times}");
            let run = format!("{phase}-rows{rows}");
            let line = format!(
                "{command} --config {phase}.toml {sizes} --set train.max_steps=6 --set output_dir={run}"
            );
            folder.run(&line).done();
            train_losses(&folder, &run)
        });
        for other in &losses[1..] {
            assert_eq!(other.len(), 6);
            for ((step, loss), (_, other)) in losses[0].iter().zip(other) {
                assert!((loss - other).abs() < OTHER_ORDER, "{phase}, step {step}: {loss} and {other}");
            }
        }
    }
}

#[cfg(unix)]
mod signals {
    use std::io::Read;
    use std::process::Child;
    use std::time::{Duration, Instant};

    use super::*;

    const PRETRAIN: &str = "pretrain --config pretrain.toml --set train.dropout=0.1 --set train.max_steps=200 \
                            --set train.eval_interval=50 --set train.save_interval=5 --resume";
    /// The head is trained alone in the first six steps.
    const FINETUNE: &str = "finetune --config finetune.toml --set train.dropout=0.1 --set train.max_steps=60 \
                            --set train.eval_interval=20 --set train.save_interval=2 \
                            --set classifier.head_only_fraction=0.1 --resume";

    /// Waits until `ready` or until the program has ended by itself.
    fn wait_for(child: &mut Child, ready: impl Fn() -> bool) {
        let started = Instant::now();
        while !ready() && child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(120), "nothing happened for two minutes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn newest_checkpoint(folder: &Folder, run: &str) -> u64 {
        let entries =
            std::fs::read_dir(folder.path(&format!("{run}/checkpoints"))).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_prefix("step_")?.parse().ok()).max().unwrap_or(0)
    }

    #[test]
    fn killed_at_any_moment_it_ends_with_the_same_bits() {
        let folder = Folder::pretrained();
        for (line, run, last_step) in [(PRETRAIN, "again", 200), (FINETUNE, "finetuned", 60)] {
            let line = format!("{line} --set output_dir={run}");
            for millis in [0, 3, 7, 13] {
                let before = newest_checkpoint(&folder, run);
                let mut child = folder.spawn(&line);
                wait_for(&mut child, || newest_checkpoint(&folder, run) > before);
                std::thread::sleep(Duration::from_millis(millis));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            folder.run(&line).done();
            folder.run(&format!("{line} --set output_dir=whole-{run}")).done();
            assert_same(&folder, run, &format!("whole-{run}"), last_step);
        }
    }

    #[test]
    fn an_interrupt_finishes_the_step_and_saves() {
        let folder = Folder::new();
        let line = "pretrain --config pretrain.toml --set train.eval_interval=0 --set train.save_interval=0";
        let mut child = folder.spawn(&format!("{line} --set train.max_steps=1000000"));
        let steps = || {
            std::fs::read_to_string(folder.path("pretrained/metrics.jsonl"))
                .unwrap_or_default()
                .lines()
                .count()
        };
        wait_for(&mut child, || steps() >= 3);
        // SAFETY: kill only sends a signal, to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
        let status = child.wait().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(status.code(), Some(130), "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: stopped by signal 2; a checkpoint is saved in pretrained"),
            "{stderr}"
        );
        assert_eq!(folder.json("pretrained/run.json")["status"], "interrupted");

        let saved = newest_checkpoint(&folder, "pretrained");
        assert!(saved >= 3, "saved at step {saved}");
        let outcome = folder.run(&format!("{line} --resume --set train.max_steps={}", saved + 2)).done();
        assert!(outcome.stderr.contains(&format!("resuming at step {saved}")), "{}", outcome.stderr);
        assert_eq!(folder.json("pretrained/results.json")["steps"], saved + 2);
    }
}

#[test]
fn what_the_config_leaves_open_is_the_same_when_it_is_asked_again() {
    let folder = Folder::new();
    let open = |name: &str| {
        let text = folder.text(name);
        let limit = |line: &&str| {
            !["max_steps", "max_epochs", "eval_interval"].iter().any(|key| line.starts_with(key))
        };
        folder.write(name, text.lines().filter(limit).collect::<Vec<_>>().join("\n"));
    };
    ["pretrain.toml", "finetune.toml", "compare.toml"].into_iter().for_each(open);
    folder.run("pretrain --config pretrain.toml").done();
    let again = folder.run("pretrain --config pretrain.toml --resume").done();
    assert!(
        again.stderr.contains("done already") && !again.stderr.contains("resuming with"),
        "{}",
        again.stderr
    );
    assert_eq!(folder.text("pretrained/config.toml").matches("max_epochs = 0.0").count(), 1);
    folder.run("finetune --config finetune.toml").done();
    let again = folder.run("finetune --config finetune.toml --resume").done();
    assert!(
        again.stderr.contains("done already") && !again.stderr.contains("resuming with"),
        "{}",
        again.stderr
    );
    let line = "compare --config compare.toml --set budgets=[20] --set seeds=[1]";
    folder.run(line).done();
    folder.run(&format!("{line} --resume")).done();
}
