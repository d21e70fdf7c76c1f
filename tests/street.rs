//! The whole street as a user walks it: what each command leaves behind and prints.

use candle_core::Tensor;
use serde_json::Value;
use train::internals::tensor_file;

use crate::support::{Folder, Outcome};

fn finetuned() -> Folder {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    folder
}

fn assert_has(value: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
}

fn assert_files(folder: &Folder, run: &str, names: &str) {
    for name in names.split_whitespace() {
        assert!(folder.path(&format!("{run}/{name}")).is_file(), "{run} has no {name}");
    }
}

const SCORES: &str = "loss accuracy precision recall f1 mcc balanced_accuracy roc_auc pr_auc tp fp fn tn threshold \
                      majority_accuracy";

#[test]
fn pretraining_leaves_figures_and_a_model() {
    let folder = Folder::pretrained();
    let names = "run.json config.toml metrics.jsonl results.json report.md samples.jsonl \
                 checkpoints/step_000004/model.safetensors checkpoints/step_000004/optimizer.safetensors \
                 checkpoints/step_000004/state.json model/config.json model/model.safetensors model/tokenizer.json \
                 model/tokenizer_config.json model/special_tokens_map.json model/generation_config.json";
    assert_files(&folder, "pretrained", names);
    let results = folder.json("pretrained/results.json");
    let keys = "val_loss val_perplexity val_bits_per_byte train_loss tokens parameters tokens_per_sec mfu \
                peak_memory_bytes wall_secs bleu";
    assert_has(&results, keys);
    assert_eq!(results["phase"], "pretrain");
    let (loss, perplexity) =
        (results["val_loss"].as_f64().unwrap(), results["val_perplexity"].as_f64().unwrap());
    assert!((loss.exp() / perplexity - 1.0).abs() < 1e-9);
    // The uniform guess over 300 tokens; four steps learn a little.
    assert!(loss < 300_f64.ln(), "{loss}");

    let manifest = folder.json("pretrained/run.json");
    assert_has(&manifest, "version git_commit command_line device threads init_from started_at");
    assert_eq!(manifest["status"], "done");
    assert_eq!(manifest["data_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(manifest["tokenizer_sha256"].as_str().unwrap().len(), 64);
    let events = folder.json_lines("pretrained/metrics.jsonl");
    let with = |key: &str| events.iter().filter(|event| event.get(key).is_some()).count();
    assert_eq!((with("train_loss"), with("val_loss")), (4, 2));
    events.iter().for_each(|event| assert_has(event, "phase step tokens elapsed_secs"));
    assert_eq!(folder.json_lines("pretrained/samples.jsonl").len(), 1);
}

#[test]
fn finetuning_leaves_scores_and_predictions() {
    let folder = finetuned();
    let names = "run.json config.toml metrics.jsonl results.json report.md predictions.jsonl model/config.json \
                 model/model.safetensors model/tokenizer.json model/tokenizer_config.json";
    assert_files(&folder, "finetuned", names);
    let results = folder.json("finetuned/results.json");
    assert_has(&results, "init_from per_class verdict");
    assert_eq!(results["phase"], "finetune");
    assert!(results["verdict"]["fit"].is_boolean() && results["verdict"]["findings"].is_array());
    for part in ["validation", "test"] {
        assert_has(&results[part], SCORES);
        for score in
            ["accuracy", "precision", "recall", "f1", "mcc", "balanced_accuracy", "roc_auc", "pr_auc"]
        {
            let interval = &results[part]["ci"][score];
            assert_eq!(interval["value"], results[part][score], "{part} {score}");
            assert_eq!(interval["ci95"].as_array().map(Vec::len), Some(2), "{part} {score}");
        }
    }
    assert_eq!(
        results["test"]["threshold"], results["validation"]["threshold"],
        "chosen on validation alone"
    );

    let lines = folder.json_lines("finetuned/predictions.jsonl");
    let called = |label: &str, predicted: &str| {
        lines.iter().filter(|line| line["label"] == label && line["predicted"] == predicted).count()
    };
    let test = &results["test"];
    assert_eq!(test["tp"], called("spam", "spam"));
    assert_eq!(test["fp"], called("ham", "spam"));
    assert_eq!(test["fn"], called("spam", "ham"));
    assert_eq!(test["tn"], called("ham", "ham"));
    for line in &lines {
        assert_has(line, "id label probability predicted text_sha256");
        let sum =
            line["probability"]["ham"].as_f64().unwrap() + line["probability"]["spam"].as_f64().unwrap();
        assert!((sum - 1.0).abs() < 1e-9, "{line}");
    }
}

#[test]
fn texts_can_be_learned_beside_their_labels() {
    let folder = Folder::pretrained();
    let losses = ["0", "0.5"].map(|weight| {
        let set = format!("--set classifier.language_model_weight={weight} --set output_dir=weight{weight}");
        folder.run(&format!("finetune --config finetune.toml {set}")).done();
        let events = folder.json_lines(&format!("weight{weight}/metrics.jsonl"));
        let losses = events.iter().filter_map(|event| event["train_loss"].as_f64());
        losses.collect::<Vec<_>>()
    });
    assert_eq!(losses[0][0], losses[1][0], "the loss that is logged is that of the labels");
    assert_ne!(losses[0][3], losses[1][3], "the texts change nothing");
    let weights = "finetune --config finetune.toml --overwrite --set classifier.language_model_weight";
    folder
        .run(&format!("{weights}=-1"))
        .fails(2, &["classifier.language_model_weight is -1", "between 0 and 100"]);
    let frozen = format!("{weights}=0.5 --set classifier.freeze=\"all_but_head\"");
    folder.run(&frozen).fails(2, &["classifier.language_model_weight", "classifier.freeze", "all_but_head"]);

    let untied = Folder::of_model(crate::support::LLAMA);
    untied.run("pretrain --config pretrain.toml").done();
    let parts = ["classifier.language_model_weight", "tie_word_embeddings = false", "set the weight to 0"];
    untied.run(&format!("{weights}=0.5")).fails(2, &parts);
}

#[test]
fn the_head_can_be_trained_alone_first() {
    let folder = Folder::pretrained();
    let command = "finetune --config finetune.toml --overwrite --set classifier.head_only_fraction";
    let steps = "--set train.max_steps=8 --set train.save_interval=1 --set train.keep_checkpoints=0";
    folder.run(&format!("{command}=0.5 {steps}")).done();
    let stored = |path: &str| tensor_file::read(&folder.path(path)).unwrap();
    let at =
        |step: u64, file: &str| stored(&format!("finetuned/checkpoints/step_{step:06}/{file}.safetensors"));
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let same = |a: &Tensor, b: &Tensor| values(a) == values(b);
    let (pretrained, half, end) =
        (stored("pretrained/model/model.safetensors"), at(4, "model"), at(8, "model"));
    for (name, tensor) in pretrained.iter().filter(|(name, _)| *name != "lm_head.weight") {
        assert!(same(tensor, &half[name]), "{name} moved while the head was trained alone");
        assert!(!same(tensor, &end[name]), "{name} never moved");
    }
    assert!(!same(&half["score.weight"], &end["score.weight"]));
    assert_eq!(at(4, "optimizer").keys().collect::<Vec<_>>(), ["score.weight"]);
    assert_eq!(at(8, "optimizer").len(), end.len());
    // Moments of one gradient g are 0.1 g and 0.02 g^2: those of the head alone are gone.
    let moments = values(&at(5, "optimizer")["score.weight"]);
    let (first, second) = moments.split_at(moments.len() / 2);
    for (first, second) in first.iter().zip(second) {
        assert!((first * first - 0.5 * second).abs() <= 1e-4 * second, "{first} and {second}");
    }
    let rates: Vec<f64> = folder
        .json_lines("finetuned/metrics.jsonl")
        .iter()
        .filter_map(|e| e["learning_rate"].as_f64())
        .collect();
    assert!(rates[..4].iter().all(|rate| *rate > 0.0) && rates[4] < rates[3], "{rates:?}");

    // Early stopping has no part in the first stage, and counts anew in the second.
    let stuck = "--set train.eval_interval=1 --set train.save_interval=0 --set train.early_stopping_patience=1 \
                 --set optim.learning_rate=1e-12 --set train.max_steps=8";
    folder.run(&format!("{command}=0.5 {stuck}")).done();
    assert_eq!(folder.json("finetuned/results.json")["steps"], 5);
    assert_eq!(std::fs::read_dir(folder.path("finetuned/checkpoints")).unwrap().count(), 1);

    let short = folder.run(&format!("{command}=0.9 --set train.max_steps=2")).done();
    assert!(short.stderr.contains("the head alone was trained"), "{}", short.stderr);

    folder.run(&format!("{command}=1")).fails(2, &["classifier.head_only_fraction is 1", "below 1"]);
    let frozen = format!("{command}=0.5 --set classifier.freeze=\"all_but_head\"");
    folder.run(&frozen).fails(2, &["all_but_head", "classifier.head_only_fraction to 0"]);
    let searched = "compare --config compare.toml --set search.head_only_fractions=[0.3,1.0]";
    folder.run(searched).fails(2, &["search.head_only_fractions holds 1", "below 1"]);
}

#[test]
fn evaluation_answers_for_both_kinds_of_run() {
    let folder = finetuned();
    let labelled = folder.run("evaluate finetuned --data messages.tsv --json").done().object();
    assert_eq!(labelled["phase"], "evaluate");
    assert_has(&labelled["test"], SCORES);
    assert_has(&labelled["test"], "ci per_class");
    assert_has(&labelled, "verdict");
    assert_eq!(
        labelled["test"]["threshold"],
        folder.json("finetuned/results.json")["validation"]["threshold"]
    );
    let raw = folder.run("evaluate pretrained --data corpus.txt --json").done().object();
    assert_has(&raw, "val_loss val_perplexity val_bits_per_byte");
}

#[test]
fn predictions_are_the_same_from_arguments_file_and_standard_input() {
    let folder = finetuned();
    let texts = ["win a prize now", "the cat walked home"];
    let predict = |arguments: &[&str], input: &str| {
        let mut command = folder.train(&[&["predict", "finetuned"], arguments].concat());
        Outcome::of("predict", command.write_stdin(input).output().unwrap()).done().stdout
    };
    folder.write("texts.txt", texts.join("\n"));
    let answers = predict(&texts, "");
    assert_eq!(predict(&["--input", "texts.txt"], ""), answers);
    let read = |answers: &str| -> Vec<Value> {
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let answers = read(&answers);
    // Standard input is answered as it comes, in other batches: the last bits of a sum may differ.
    for (answer, other) in answers.iter().zip(read(&predict(&["-"], &texts.join("\n")))) {
        assert_eq!((&answer["text"], &answer["label"]), (&other["text"], &other["label"]));
        let difference = answer["probability"].as_f64().unwrap() - other["probability"].as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{answer} {other}");
    }
    assert_eq!(answers.iter().map(|answer| &answer["text"]).collect::<Vec<_>>(), texts);
    for answer in &answers {
        let label = answer["label"].as_str().unwrap();
        assert_eq!(answer["probability"], answer["probabilities"][label]);
        let above = answer["probabilities"]["spam"].as_f64() >= answer["threshold"].as_f64();
        assert_eq!(label == "spam", above, "{answer}");
    }
    folder.run("predict finetuned").fails(2, &["nothing to predict"]);
    folder.run("predict pretrained hello").fails(65, &["pretrained", "not a fine-tuned run"]);
}

#[test]
fn the_same_seed_writes_the_same_text() {
    let folder = finetuned();
    let generate = |more: &str| {
        let line = format!("generate pretrained --prompt cat --temperature 2 --max-new-tokens 12 {more}");
        folder.run(&line).done().stdout
    };
    let text = generate("--seed 7");
    assert!(text.starts_with("cat"), "{text}");
    assert_eq!(generate("--seed 7"), text);
    assert!((8..12).any(|seed| generate(&format!("--seed {seed}")) != text), "the seed decides nothing");
    let object = folder.run("generate pretrained --prompt cat --max-new-tokens 5 --json").done().object();
    assert_eq!(object["prompt"], "cat");
    assert_has(&object, "continuation seed");
    folder.run("generate finetuned --prompt cat").fails(65, &["finetuned: it is a classifier"]);
    folder.run("generate pretrained --temperature -1").fails(2, &["temperature"]);
}

#[test]
fn reports_come_from_the_stored_results_alone() {
    let folder = finetuned();
    for name in ["corpus.txt", "messages.tsv", "cache", "pretrained/checkpoints", "pretrained/model"] {
        folder.remove(name);
    }
    let report = folder.run("report pretrained finetuned").done();
    for part in ["# Pre-training", "bits per byte", "# Fine-tuning from pretrained", "Verdict: ", "recall"] {
        assert!(report.stdout.contains(part), "no '{part}' in {}", report.stdout);
    }
    assert_eq!(folder.run("report finetuned --json").done().object(), folder.json("finetuned/results.json"));
}

#[test]
fn results_and_progress_keep_to_their_streams() {
    let folder = Folder::new();
    let plain = |outcome: &Outcome| {
        let bad = |c: char| c.is_control() && c != '\n';
        assert!(!outcome.stderr.contains(bad), "{:?}", outcome.stderr);
        assert!(!outcome.stdout.contains(bad), "{:?}", outcome.stdout);
    };
    let pretrained = folder.run("pretrain --config pretrain.toml --json -v").done();
    plain(&pretrained);
    assert_eq!(pretrained.object(), folder.json("pretrained/results.json"));
    let finetuned = folder.run("finetune --config finetune.toml").done();
    plain(&finetuned);
    assert!(finetuned.stdout.contains("Verdict: ") && !finetuned.stderr.contains("Verdict"));
    // Nothing to warn of: texts that fit.
    let row =
        |i: usize| if i.is_multiple_of(3) { format!("spam\twin {i}\n") } else { format!("ham\tday {i}\n") };
    folder.write("short.tsv", (0..60).map(row).collect::<String>());
    let line =
        "finetune --config finetune.toml --overwrite -q --json --set audit=off --set data.train=short.tsv";
    let quiet = folder.run(line).done();
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.object()["phase"], "finetune");
}

#[test]
fn a_gate_that_is_missed_ends_with_3() {
    let folder = finetuned();
    let line = "finetune --config finetune.toml --resume";
    folder.run(&format!("{line} --fail-under f1=1.1")).fails(3, &["gate failed: f1 is ", ", below 1.1"]);
    folder.run(&format!("{line} --fail-under f1=0 --fail-under accuracy=0")).done();
    folder.run("evaluate finetuned --data messages.tsv --fail-under recall=1.1").fails(3, &["recall is "]);
    folder
        .run(&format!("{line} --fail-under f2=0.5"))
        .fails(2, &["--fail-under f2=0.5", "with one of accuracy, "]);
    folder.run(&format!("{line} --fail-under f1")).fails(2, &["expected SCORE=VALUE"]);
}

#[test]
fn a_comparison_differs_in_the_start_alone_and_goes_on_where_it_was() {
    let folder = Folder::new();
    let results = folder.run("compare --config compare.toml --json").done().object();
    assert_eq!(results["phase"], "compare");
    for (group, names) in [("arms", ["pretrained", "scratch"]), ("baselines", ["majority", "char_ngram"])] {
        for name in names {
            for budget in ["20", "all"] {
                let f1 = &results[group][name]["budgets"][budget]["f1"];
                assert_has(f1, "mean std");
                assert_eq!(f1["per_seed"].as_array().map(Vec::len), Some(2), "{name} {budget}");
            }
        }
    }
    assert_has(&results["paired"]["budgets"]["all"]["f1"], "difference");
    assert_has(&results["verdict"], "fit findings");
    assert_files(
        &folder,
        "compared",
        "run.json config.toml results.json report.md pretrain/model/config.json",
    );
    for budget in ["20", "all"] {
        for seed in [1, 2] {
            assert_eq!(differing_keys(&folder, budget, seed), ["init_from", "output_dir"]);
        }
    }

    let written =
        |run: &str| folder.path(&format!("compared/{run}/run.json")).metadata().unwrap().modified().unwrap();
    let runs = ["pretrain", "pretrained-20-seed1", "scratch-20-seed2", "scratch-all-seed2"];
    let before = runs.map(written);
    let again = folder.run("compare --config compare.toml --resume --json").done().object();
    assert_eq!(runs.map(written), before, "finished runs were made again");
    assert_eq!(again["arms"], results["arms"]);

    folder.remove("compared/scratch-20-seed2");
    let again = folder.run("compare --config compare.toml --resume --json").done().object();
    assert_ne!(written(runs[2]), before[2]);
    assert_eq!([0, 1, 3].map(|at| written(runs[at])), [before[0], before[1], before[3]]);
    for group in ["arms", "baselines", "paired"] {
        assert_eq!(again[group], results[group], "the run made again came out otherwise");
    }
    folder.run("compare --config compare.toml").fails(73, &["compared already holds a run"]);
}

/// Keys in which the stored configs of the two arms differ.
fn differing_keys(folder: &Folder, budget: &str, seed: u64) -> Vec<String> {
    let [pretrained, scratch] = ["pretrained", "scratch"].map(|arm| {
        let text = folder.text(&format!("compared/{arm}-{budget}-seed{seed}/config.toml"));
        toml::from_str::<toml::Table>(&text).unwrap()
    });
    assert_eq!(pretrained.keys().collect::<Vec<_>>(), scratch.keys().collect::<Vec<_>>());
    let mut keys: Vec<String> =
        pretrained.keys().filter(|key| pretrained[*key] != scratch[*key]).cloned().collect();
    keys.sort();
    keys
}

#[test]
fn the_schema_knows_the_keys_that_a_config_may_have() {
    let folder = Folder::new();
    for phase in ["pretrain", "finetune", "compare"] {
        let text = folder.run(&format!("config schema {phase}")).done().stdout;
        let schema: Value = serde_json::from_str(&text).unwrap();
        let checked = folder.run(&format!("config check {phase} --config {phase}.toml")).done().stdout;
        let config: toml::Table = toml::from_str(&checked).unwrap();
        assert_described(&schema, &toml::Value::Table(config), phase);
        assert_eq!(schema["additionalProperties"], false);
    }
}

/// Every key of `value` is in the schema, in one of its shapes where there are several, with the right type.
fn assert_described(schema: &Value, value: &toml::Value, place: &str) {
    if let Some(shapes) = schema["oneOf"].as_array() {
        let chosen = |shape: &&Value| match value.get("model_type") {
            Some(family) => shape["properties"]["model_type"]["const"].as_str() == family.as_str(),
            None => shape["const"].as_str() == value.as_str(),
        };
        return assert_described(shapes.iter().find(chosen).expect(place), value, place);
    }
    let kinds: &[&str] = match value {
        toml::Value::Table(keys) => {
            for (key, value) in keys {
                assert_described(&schema["properties"][key], value, &format!("{place}.{key}"));
            }
            &["object"]
        }
        toml::Value::Integer(_) => &["integer", "number"],
        toml::Value::Float(_) => &["number"],
        toml::Value::Boolean(_) => &["boolean"],
        toml::Value::Array(_) => &["array"],
        _ => &["string"],
    };
    assert!(kinds.contains(&schema["type"].as_str().unwrap_or_default()), "{place}: {}", schema["type"]);
}
