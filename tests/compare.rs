//! What a comparison says beyond its scores: paired figures, searches, matched compute, the transfer curve.

use serde_json::Value;

use crate::support::Folder;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn differences_come_with_intervals_tests_and_the_predictions_they_rest_on() {
    let folder = Folder::new();
    let results = folder.run("compare --config compare.toml --set seeds=[1,2,3] --json").done().object();
    for budget in ["20", "all"] {
        for score in ["f1", "accuracy", "pr_auc", "loss", "mcc"] {
            let found = &results["paired"]["budgets"][budget][score];
            let mean = |arm: &str| number(&results["arms"][arm]["budgets"][budget][score]["mean"]);
            let difference = number(&found["difference"]);
            assert!((difference - (mean("pretrained") - mean("scratch"))).abs() < 1e-9, "{budget} {score}");
            let (low, high) = (number(&found["ci95"][0]), number(&found["ci95"][1]));
            assert!(low <= high && low <= difference + 0.2 && difference - 0.2 <= high, "{found}");
            let (p, corrected) = (number(&found["p_value"]), number(&found["p_value_holm"]));
            assert!(0.0 < p && p <= corrected && corrected <= 1.0, "{found}");
            let signs = &found["sign_test"];
            let seeds = ["wins", "losses", "ties"].map(|key| signs[key].as_u64().unwrap());
            assert_eq!(seeds.iter().sum::<u64>(), 3, "{signs}");
        }
        let accuracy = &results["paired"]["budgets"][budget]["accuracy"];
        assert_eq!(accuracy["mcnemar"].as_array().map(Vec::len), Some(3));
        // Counted again from the stored answers.
        let right = |arm: &str| -> Vec<bool> {
            let lines = folder.json_lines(&format!("compared/{arm}-{budget}-seed2/predictions.jsonl"));
            lines.iter().map(|line| line["label"] == line["predicted"]).collect()
        };
        let (a, b) = (right("pretrained"), right("scratch"));
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count();
        let mcnemar = &accuracy["mcnemar"][1];
        assert_eq!(
            (&mcnemar["only_first"], &mcnemar["only_second"]),
            (&only(&a, &b).into(), &only(&b, &a).into())
        );
        for baseline in ["char_svm", "char_ngram", "word_ngram", "majority"] {
            let stored =
                folder.json_lines(&format!("compared/baselines/{baseline}-{budget}-seed1/predictions.jsonl"));
            assert_eq!(stored.len(), a.len(), "{baseline}");
            assert!(results["paired_with"][baseline]["budgets"][budget]["f1"]["p_value"].is_number());
        }
    }
    assert_eq!(results["label_efficiency"].as_array().map(Vec::len), Some(2));
    let first = results["verdict"]["findings"][0].as_str().unwrap();
    assert!(first.starts_with("Pre-training "), "{first}");
    let cost = &results["costs"]["pretrained"]["all"];
    assert!(number(&cost["pretraining_tokens"]) > 0.0 && number(&cost["tokens"]) > 0.0, "{cost}");
    assert_eq!(number(&results["costs"]["scratch"]["all"]["pretraining_tokens"]), 0.0);
}

#[test]
fn each_arm_and_the_ngrams_answer_as_one_no_worse_on_validation_than_either() {
    let folder = Folder::new();
    let results = folder.run("compare --config compare.toml --json").done().object();
    for (combined, arm) in [("pretrained_ngrams", "pretrained"), ("scratch_ngrams", "scratch")] {
        for budget in ["20", "all"] {
            let stored = |name: &str| folder.json(&format!("compared/{name}-{budget}-seed1/results.json"));
            let loss = |results: &Value| number(&results["validation"]["loss"]);
            let (both, alone) = (stored(&format!("baselines/{combined}")), stored(arm));
            assert!(
                loss(&both) <= loss(&alone) + 1e-9
                    && loss(&both) <= loss(&stored("baselines/char_svm")) + 1e-9
            );
            let setting = both["setting"].as_str().unwrap();
            assert!(setting.starts_with("weight ") && setting.contains("of the n-grams"), "{setting}");
            let mean = number(&results["arms"][combined]["budgets"][budget]["f1"]["mean"]);
            let seeds = results["arms"][combined]["budgets"][budget]["f1"]["per_seed"].as_array().unwrap();
            assert!((mean - seeds.iter().map(number).sum::<f64>() / seeds.len() as f64).abs() < 1e-12);
            assert_eq!(number(&seeds[0]), number(&both["test"]["f1"]));
        }
    }
    let shown = folder.text("compared/report.md");
    assert!(shown.contains("pre-trained with n-grams") && shown.contains("as one answer have F1"), "{shown}");
}

#[test]
fn of_two_common_labels_every_arm_and_baseline_has_its_macro_f1() {
    let folder = Folder::new();
    let row = |i: usize| match i % 2 {
        0 => format!("good\ta fine day number {i}, we like it\n"),
        _ => format!("bad\tan awful night over {i}, we left\n"),
    };
    folder.write("even.tsv", (0..80).map(row).collect::<String>());
    let line =
        "compare --config compare.toml --set finetune.data.train=even.tsv --set budgets=[0] --set seeds=[1]";
    let results = folder.run(&format!("{line} --json")).done().object();
    assert_eq!(results["positive"], "");
    let first = results["verdict"]["findings"][0].as_str().unwrap();
    assert!(first.contains("macro F1"), "{first}");
    for table in ["arms", "baselines"] {
        for (name, of) in results[table].as_object().unwrap() {
            let scores = &of["budgets"]["all"];
            assert_eq!(scores["f1"]["mean"], scores["macro_f1"]["mean"], "{name}");
        }
    }
}

#[test]
fn settings_are_chosen_on_validation_and_the_longer_arm_gets_the_tokens_of_pretraining() {
    let folder = Folder::new();
    let line = "compare --config compare.toml --json --set budgets=[0] --set match_compute=true \
                --set transfer_checkpoints=2 --set search.learning_rates=[0.0001,0.02] \
                --set search.head_only_fractions=[0.0,0.25] --set finetune.classifier.selection_metric=\"pr_auc\"";
    let results = folder.run(line).done().object();
    assert!(!results["verdict"].to_string().contains("head_only_fraction"), "{}", results["verdict"]);
    for arm in ["pretrained", "scratch"] {
        let tried = [(0.0001, 0.0), (0.0001, 0.25), (0.02, 0.0), (0.02, 0.25)].map(|setting| {
            let name = format!("{arm}-all-lr{}-head{}", setting.0, setting.1);
            let mean = |score: &str| {
                let of_seed =
                    |seed: u64| folder.json(&format!("compared/search/{name}-seed{seed}/results.json"));
                [1, 2, 3].map(|seed| number(&of_seed(seed)["validation"][score])).iter().sum::<f64>() / 3.0
            };
            ((mean("pr_auc"), -mean("loss")), setting, name.clone())
        });
        let better = |best: usize, other: usize| if tried[other].0 > tried[best].0 { other } else { best };
        let (_, best, name) = &tried[(1..tried.len()).fold(0, better)];
        for seed in [1, 2] {
            let config = folder.text(&format!("compared/{arm}-all-seed{seed}/config.toml"));
            let config: toml::Table = toml::from_str(&config).unwrap();
            assert_eq!(config["optim"]["learning_rate"].as_float(), Some(best.0), "{arm} {seed}");
            assert_eq!(config["classifier"]["head_only_fraction"].as_float(), Some(best.1), "{arm} {seed}");
        }
        assert_eq!(results["costs"][arm]["all"]["settings_tried"], 4);
        // The runs of the seeds that the search tried are those that it made.
        let kept = ["results.json", "run.json", "metrics.jsonl", "model/model.safetensors", "report.html"];
        for file in kept {
            let (of_search, own) = (format!("search/{name}-seed2"), format!("{arm}-all-seed2"));
            let bytes = |run: &str| folder.bytes(&format!("compared/{run}/{file}"));
            assert!(bytes(&of_search) == bytes(&own), "{arm}: {file}");
        }
    }
    folder.run(&format!("{line} --resume --set seeds=[3,1]")).done();
    let seed = |run: &str| folder.json(&format!("compared/{run}/run.json"))["seed"].clone();
    assert_eq!((seed("pretrained-all-seed3"), seed("pretrained-all-seed1")), (3.into(), 1.into()));
    let tokens = |run: &str| folder.json(&format!("compared/{run}/results.json"))["tokens"].as_u64().unwrap();
    let (longer, enough) =
        (tokens("scratch_matched-all-seed1"), tokens("scratch-all-seed1") + tokens("pretrain"));
    // The step that reaches the limit is the last.
    assert!(longer >= enough && longer < enough + 8 * 24, "{longer} of {enough}");
    assert!(results["arms"]["scratch_matched"]["budgets"]["all"]["f1"]["mean"].is_number());

    let points = results["transfer"].as_array().unwrap();
    let steps: Vec<u64> = points.iter().map(|point| point["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 2, 4]);
    assert!(points[0]["val_loss"].is_null() && number(&points[2]["val_loss"]) > 0.0);
    assert!(points.iter().all(|point| point["f1"].as_array().map(Vec::len) == Some(2)));
    // The last checkpoint holds the weights that the arm began with, if they were its best.
    folder
        .run(
            "compare --config compare.toml --set transfer_checkpoints=2 --set pretrain.train.save_interval=0",
        )
        .fails(2, &["transfer_checkpoints", "save_interval"]);
}

#[test]
fn thresholds_follow_the_rule_of_the_config() {
    let folder = Folder::pretrained();
    let line = "finetune --config finetune.toml --set train.max_steps=2 --set output_dir=run --overwrite";
    let threshold = |rule: &str| {
        folder.run(&format!("{line} {rule}")).done();
        let results = folder.json("run/results.json");
        assert_eq!(results["test"]["threshold"], results["validation"]["threshold"]);
        let points = results["operating_points"].as_array().unwrap().clone();
        let used: Vec<&Value> = points.iter().filter(|point| point["chosen"] == true).collect();
        assert_eq!(used.len(), 1);
        assert_eq!(used[0]["threshold"], results["test"]["threshold"]);
        assert_eq!(used[0]["test"]["tp"], results["test"]["tp"]);
        assert!(points.len() >= 3);
        let calibration = &results["calibration"];
        assert!(number(&calibration["temperature"]) > 0.0 && number(&calibration["ece"]) <= 1.0);
        number(&results["test"]["threshold"])
    };
    let dear_misses = threshold("--set decision.cost_fp=1 --set decision.cost_fn=1000");
    let dear_alarms = threshold("--set decision.cost_fp=1000 --set decision.cost_fn=1");
    assert!(dear_misses <= dear_alarms, "{dear_misses} {dear_alarms}");
    threshold("--set decision.min_recall=0.9");
    folder
        .run(&format!("{line} --set decision.min_recall=0.9 --set decision.min_precision=0.9"))
        .fails(2, &["more than one rule"]);
    folder
        .run(&format!("{line} --set decision.cost_fp=3"))
        .fails(2, &["decision.cost_fp and decision.cost_fn"]);
}

#[test]
fn keys_that_a_comparison_sets_itself_are_refused() {
    let folder = Folder::new();
    for (key, value) in [
        ("finetune.init_from", "elsewhere"),
        ("finetune.output_dir", "elsewhere"),
        ("finetune.seed", "7"),
        ("finetune.device", "cpu"),
        ("finetune.audit", "drop"),
        ("finetune.data.label_budget", "20"),
        ("finetune.model.hidden_size", "32"),
        ("finetune.tokenizer.path", "elsewhere"),
        ("pretrain.output_dir", "elsewhere"),
    ] {
        let section = if key.contains("model.") { "finetune.model" } else { key };
        folder
            .run(&format!("compare --config compare.toml --set {key}={value}"))
            .fails(2, &[section, "has no effect in a comparison", "leave it out"]);
    }
    folder
        .run("compare --config compare.toml --set pretrain.train.seq_len=999")
        .fails(2, &["[pretrain] train.seq_len"]);
    assert!(!folder.path("compared").exists());
}

#[test]
fn what_does_not_fit_the_rows_or_the_model_is_refused_before_the_pretraining() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    for (set, parts) in [
        ("budgets=[1]", &["budgets is 1", "2 classes"][..]),
        ("budgets=[20,100000]", &["budgets is 100000"]),
        ("finetune.train.seq_len=9999", &["[finetune] train.seq_len", "2..=32"]),
        ("finetune.classifier.class_weights=[1,2,3]", &["[finetune] classifier.class_weights has 3 weights"]),
        (
            "finetune.lora.target_modules=[\"c_attn\"]",
            &["[finetune] lora.target_modules names 'c_attn'", "q_proj"],
        ),
    ] {
        folder.run(&format!("compare --config compare.toml --set {set}")).fails(2, parts);
    }
    for start in ["pretrained=finetuned", "pretrain.init_from=finetuned"] {
        let why = ["finetuned is a classifier", "starts from a language model"];
        folder.run(&format!("compare --config compare.toml --set {start}")).fails(65, &why);
    }
    assert!(!folder.path("compared/pretrain").exists());
}

#[test]
fn further_starts_are_arms_of_their_own() {
    let folder = Folder::pretrained();
    let line = "compare --config compare.toml --set budgets=[20] --set seeds=[1] \
                --set starts.other.init_from=pretrained --set starts.other.train.max_steps=3";
    let results = folder.run(&format!("{line} --json")).done().object();
    let config: toml::Table =
        toml::from_str(&folder.text("compared/other-20-seed1/config.toml")).expect("a config");
    assert_eq!(config["init_from"].as_str(), Some("pretrained"));
    assert_eq!(config["train"]["max_steps"].as_integer(), Some(3));
    assert_eq!(config["train"]["micro_batch_size"].as_integer(), Some(16), "a fine-tuning's own default");
    for arm in ["other", "other_ngrams"] {
        assert!(results["arms"][arm]["budgets"]["20"]["f1"]["mean"].is_number(), "{arm}");
        assert!(results["paired_with"][arm]["budgets"]["20"]["f1"]["p_value"].is_number(), "{arm}");
    }
    let f1 = |arm: &str| number(&results["arms"][arm]["budgets"]["20"]["f1"]["mean"]);
    let of_start = &results["starts_paired_with"]["other"]["scratch"]["budgets"]["20"]["f1"];
    assert!((number(&of_start["difference"]) - (f1("other") - f1("scratch"))).abs() < 1e-9);
    let of_svm = &results["starts_paired_with"]["other"]["char_svm"]["budgets"]["20"]["f1"];
    assert!(of_svm["p_value_holm"].is_number());
    assert!(number(&results["costs"]["other"]["20"]["pretraining_tokens"]) > 0.0);
    let report = folder.text("compared/report.md");
    for said in
        ["from other with n-grams", "the classifier from other with 20 labels", "The transformer from other "]
    {
        assert!(report.contains(said), "{said}: {report}");
    }
    // Another start is one more run; the others stay.
    let before = folder.bytes("compared/other-20-seed1/run.json");
    let more = format!("{line} --set starts.second.init_from=pretrained --resume --json");
    let results = folder.run(&more).done().object();
    assert!(results["starts_paired_with"]["other"]["second"]["budgets"]["20"]["f1"]["p_value"].is_number());
    assert_eq!(before, folder.bytes("compared/other-20-seed1/run.json"));
}

#[test]
fn a_further_start_that_cannot_be_is_refused_before_any_work() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    let start = |set: &str| folder.run(&format!("compare --config compare.toml --set {set}"));
    start("starts.Big.init_from=pretrained").fails(2, &["starts.Big", "small letters"]);
    start("starts.scratch.init_from=pretrained").fails(2, &["starts.scratch", "another arm"]);
    start("starts.other.seed=3").fails(2, &["starts.other.seed has no effect", "seeds gives it"]);
    start("starts.other.train.max_steps=3").fails(2, &["starts.other.init_from must name the model"]);
    start("starts.other.init_from=finetuned").fails(65, &["finetuned is a classifier"]);
    start("starts.other.init_from=nowhere").fails(66, &["no model at nowhere"]);
    let line = "compare --config compare.toml --set starts.other.init_from=pretrained --set";
    folder
        .run(&format!("{line} starts.other.train.dropout=3"))
        .fails(2, &["starts.other.train.dropout is 3"]);
    folder
        .run(&format!("{line} starts.other.classifier.pooling=first"))
        .fails(2, &["[starts.other] classifier.pooling", "first"]);
    folder
        .run(&format!("{line} starts.other.trian.max_steps=3"))
        .fails(2, &["unknown key 'starts.other.trian"]);
    assert!(!folder.path("compared/pretrain").exists());
}

const FOLDS: &str = "compare --config compare.toml --set finetune.data.train=rows.tsv --set budgets=[12] \
                     --set seeds=[1,2] --folds 3 --set finetune.train.max_steps=2 --json";

/// Ninety rows without near copies.
fn spam_and_ham() -> String {
    let word = |i: usize| ["ab", "cd", "ef", "gh", "ij", "kl", "mn"][i % 7].repeat(i / 7 + 1);
    let row = |i: usize| match i % 3 {
        0 => format!("spam\twin the prize of {} now, call {}\n", word(i), word(i / 2)),
        _ => format!("ham\tsee you at {} then, bring {}\n", word(i), word(i / 3)),
    };
    (0..90).map(row).collect()
}

#[test]
fn folds_test_every_row_once_for_each_seed() {
    let folder = Folder::new();
    folder.write("rows.tsv", spam_and_ham());
    let results = folder.run(FOLDS).done().object();
    assert_eq!((&results["folds"], &results["test_rows"]), (&3.into(), &90.into()));
    let tested = |arm: &str, seed: u64| {
        let of_fold = |fold: u64| {
            folder.json_lines(&format!("compared/{arm}-12-seed{seed}-fold{fold}/predictions.jsonl"))
        };
        let mut texts: Vec<String> =
            (1..=3).flat_map(of_fold).map(|row| row["text_sha256"].to_string()).collect();
        texts.sort();
        texts
    };
    let all = tested("pretrained", 1);
    assert_eq!(all.len(), 90);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "a row is tested twice");
    for (arm, seed) in
        [("pretrained", 2), ("scratch", 1), ("baselines/char_svm", 2), ("baselines/scratch_ngrams", 1)]
    {
        assert_eq!(tested(arm, seed), all, "{arm} {seed}");
    }
    // F1 of a seed is that of the hits and errors of all its folds together.
    let counts = |key: &str| -> f64 {
        let of_fold = |fold: u64| folder.json(&format!("compared/scratch-12-seed2-fold{fold}/results.json"));
        (1..=3).map(|fold| number(&of_fold(fold)["test"][key])).sum()
    };
    let (hits, errors) = (counts("tp"), counts("fp") + counts("fn"));
    let f1 = number(&results["arms"]["scratch"]["budgets"]["12"]["f1"]["per_seed"][1]);
    assert!((f1 - 2.0 * hits / (2.0 * hits + errors)).abs() < 1e-12, "{f1}");
    // The test is the corrected one over six folds.
    let found = &results["paired"]["budgets"]["12"]["accuracy"];
    assert_eq!(number(&found["corrected"]["degrees"]), 5.0);
    let accuracy = |arm: &str, seed: u64, fold: u64| {
        number(
            &folder.json(&format!("compared/{arm}-12-seed{seed}-fold{fold}/results.json"))["test"]["accuracy"],
        )
    };
    let places = [1, 2].into_iter().flat_map(|seed| [1, 2, 3].map(|fold| (seed, fold)));
    let differences: Vec<f64> = places
        .map(|(seed, fold)| accuracy("pretrained", seed, fold) - accuracy("scratch", seed, fold))
        .collect();
    let mean = differences.iter().sum::<f64>() / 6.0;
    let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 5.0;
    let std_error = number(&found["corrected"]["std_error"]);
    assert!((std_error - (variance * (1.0 / 6.0 + 0.5)).sqrt()).abs() < 1e-9, "{found}");
    assert!(!folder.path("compared/scratch-12-seed1-fold1/checkpoints").exists());
    let (page, report) = (folder.text("compared/report.html"), folder.text("compared/report.md"));
    assert!(page.contains("2 seeds of 3 folds") && report.contains("Nadeau and Bengio"), "{report}");
}

#[test]
fn folds_are_read_again_and_each_is_a_run_by_itself() {
    let folder = Folder::new();
    folder.write("rows.tsv", spam_and_ham());
    let results = folder.run(FOLDS).done().object();
    assert_eq!(folder.run(&format!("{FOLDS} --resume")).done().object()["paired"], results["paired"]);
    // Another first seed divides the same rows.
    let before = folder.bytes("compared/pretrained-12-seed1-fold2/run.json");
    let more = folder.run(&format!("{FOLDS} --resume --set seeds=[3,1,2]")).done().object();
    assert_eq!(more["seeds"], serde_json::json!([3, 1, 2]));
    assert_eq!(folder.bytes("compared/pretrained-12-seed1-fold2/run.json"), before);
    folder.run("report compared").done();
    let config = "compared/pretrained-12-seed2-fold3/config.toml";
    folder.run(&format!("finetune --config {config} --set output_dir=alone")).done();
    let scores = |run: &str| folder.json(&format!("{run}/results.json"))["test"].clone();
    assert_eq!(scores("alone"), scores("compared/pretrained-12-seed2-fold3"));
}

#[test]
fn folds_that_cannot_be_are_refused() {
    let folder = Folder::new();
    let compare = |set: &str| folder.run(&format!("compare --config compare.toml {set}"));
    compare("--folds 1").fails(2, &["folds is 1", "2 or more"]);
    compare("--folds 5 --set finetune.data.validation_fraction=0.9")
        .fails(2, &["data.validation_fraction is 0.9"]);
    compare("--folds 5 --set transfer_checkpoints=2").fails(2, &["folds and transfer_checkpoints"]);
    compare("--set finetune.data.folds=3").fails(2, &["finetune.data.folds has no effect", "folds is that"]);
    compare("--folds 5000").fails(2, &["folds is 5000", "1000"]);
    let finetune =
        |set: &str| folder.run(&format!("finetune --config finetune.toml --set init_from=scratch {set}"));
    finetune("--set data.folds=3 --set data.fold=4").fails(2, &["data.fold is 4"]);
    finetune("--set data.folds=999 --set data.fold=1")
        .fails(65, &["data.folds is 999", "groups of close texts"]);
}

#[test]
fn a_start_that_knows_test_rows_is_found_out_when_it_comes_later_too() {
    let folder = Folder::pretrained();
    folder.write(
        "tested.tsv",
        "spam\twin the great prize of the day now\nham\tsee you at the old station then\n",
    );
    let text = "see you at the old station then\n\nwin the great prize of the day now\n\n";
    folder.write("leak.txt", format!("{text}{}", "some other words that nobody tests here\n\n".repeat(60)));
    folder
        .run("pretrain --config pretrain.toml --set data.train=[\"leak.txt\"] --set output_dir=leaky")
        .done();
    let line = "compare --config compare.toml --set budgets=[0] --set seeds=[1] --set pretrained=pretrained \
                --set finetune.data.test=tested.tsv";
    folder.run(line).done();
    assert!(!folder.text("compared/report.md").contains("Leakage: 2 of 2 test rows"));
    let with_start = format!("{line} --set starts.leaky.init_from=leaky --resume");
    folder.run(&format!("{with_start} --set audit=deny")).fails(3, &["2 of 2 test rows"]);
    folder.run(&with_start).done();
    assert!(folder.text("compared/report.md").contains("Leakage: 2 of 2 test rows"));
}

#[test]
fn a_label_with_too_few_rows_for_the_folds_is_refused_before_the_pretraining() {
    let folder = Folder::new();
    let rare = ["one rare thing", "two strange birds"];
    let rare: String = rare.iter().map(|text| format!("rare\t{text}\n")).collect();
    folder.write("rows.tsv", spam_and_ham() + &rare);
    let line = "compare --config compare.toml --set finetune.data.train=rows.tsv --set budgets=[0] --set seeds=[1,2]";
    folder.run(&format!("{line} --folds 4")).fails(65, &["fold ", " of 4 with seed ", "rare", "fewer folds"]);
    assert!(!folder.path("compared/pretrain").exists());
}
