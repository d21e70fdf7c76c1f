//! Run folders: nothing that a run did not write is lost, and nothing of two runs is mixed.

use std::path::Path;

use crate::support::Folder;

const PRETRAIN: &str = "pretrain --config pretrain.toml";
const COMPARE: &str = "compare --config compare.toml --set seeds=[1] --set budgets=[20] \
                       --set pretrain.train.keep_checkpoints=0";

/// Files below a folder with their content, sorted by path; a lock holds another number each time.
fn files(folder: &Folder, below: &str) -> Vec<(String, Vec<u8>)> {
    fn walk(path: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for path in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => walk(&path, found),
                false if path.ends_with("run.lock") => found.push((path.display().to_string(), Vec::new())),
                false => found.push((path.display().to_string(), std::fs::read(path).unwrap())),
            }
        }
    }
    let mut found = Vec::new();
    walk(&folder.path(below), &mut found);
    found.sort();
    found
}

fn make(folder: &Folder, name: &str) {
    std::fs::create_dir_all(folder.path(name)).unwrap();
}

#[test]
fn overwriting_removes_what_the_run_wrote_and_nothing_else() {
    let folder = Folder::pretrained();
    let line = "finetune --config finetune.toml --set train.keep_checkpoints=0";
    folder.run(line).done();
    let places =
        ["", "model/", "tb/", "checkpoints/", "checkpoints/step_000004/", "checkpoints/step_000002/"];
    let notes = places.map(|place| format!("finetuned/{place}notes.txt"));
    notes.iter().for_each(|note| folder.write(note, note));
    make(&folder, "finetuned/mine");
    folder.write("finetuned/mine/run.json", "{}");
    folder.run(&format!("{line} --overwrite --set train.max_steps=2 --set seed=7")).done();
    notes.iter().for_each(|note| assert_eq!(folder.text(note), *note));
    assert!(folder.path("finetuned/mine/run.json").exists());
    assert!(!folder.path("finetuned/checkpoints/step_000004/state.json").exists());
    assert_eq!(folder.json("finetuned/results.json")["steps"], 2);
    folder.run(&format!("{line} --set train.max_steps=4 --set seed=7 --resume")).done();
    notes.iter().for_each(|note| assert_eq!(folder.text(note), *note));
    folder.run("predict finetuned hello").done();
}

#[test]
fn overwriting_a_comparison_leaves_what_is_not_of_it() {
    let folder = Folder::new();
    folder.run(COMPARE).done();
    let notes = ["", "scratch-20-seed1/", "search/", "baselines/", "pretrain/model/"];
    let notes = notes.map(|place| format!("compared/{place}notes.txt"));
    make(&folder, "compared/search");
    notes.iter().for_each(|note| folder.write(note, note));
    folder.replace("compared/scratch-20-seed1-backup", "compared/scratch-20-seed1");
    let kept = files(&folder, "compared/scratch-20-seed1-backup");
    folder.run(&format!("{COMPARE} --overwrite --set budgets=[0]")).done();
    notes.iter().for_each(|note| assert_eq!(folder.text(note), *note));
    assert!(files(&folder, "compared/scratch-20-seed1-backup") == kept);
    assert!(!folder.path("compared/scratch-20-seed1/run.json").exists());
    assert!(!folder.path("compared/baselines/majority-20-seed1").exists());
}

#[test]
fn a_folder_that_is_no_run_is_not_cleared() {
    let folder = Folder::new();
    make(&folder, "runs/p1");
    folder.write("runs/p1/run.json", "{}");
    for (place, named) in [("runs", "p1"), (".", "compare.toml")] {
        let before = files(&folder, ".");
        let parts = [&format!("output_dir {place} holds {named} and no run")[..], "leave --overwrite out"];
        folder.run(&format!("{PRETRAIN} --overwrite --set output_dir={place}")).fails(73, &parts);
        assert!(files(&folder, ".") == before, "not even a lock file is left in {place}");
    }
    folder.run(&format!("{PRETRAIN} --set output_dir=\"\"")).fails(2, &["output_dir is empty"]);
}

#[test]
fn a_run_among_other_files_takes_none_of_them_along() {
    let folder = Folder::new();
    let before = files(&folder, ".");
    folder.run(&format!("{PRETRAIN} --set output_dir=. --set data.cache_dir=cache")).done();
    folder.run(&format!("{PRETRAIN} --set output_dir=. --overwrite --set seed=2")).done();
    let after = files(&folder, ".");
    assert!(before.iter().all(|file| after.contains(file)));
    assert_eq!(folder.json("run.json")["seed"], 2);
}

#[test]
fn parts_of_a_run_without_its_manifest_are_neither_kept_nor_removed() {
    let folder = Folder::pretrained();
    folder.remove("pretrained/run.json");
    let before = files(&folder, "pretrained");
    for mode in ["", "--overwrite"] {
        let parts = ["output_dir pretrained holds ", " but no run.json", "move it away"];
        folder.run(&format!("{PRETRAIN} --set seed=2 {mode}")).fails(73, &parts);
    }
    folder.run(&format!("{PRETRAIN} --set seed=2 --resume")).fails(2, &["seed: 1 -> 2"]);
    assert!(files(&folder, "pretrained") == before);
    for part in ["config.toml", "checkpoints"] {
        let other = format!("only-{part}");
        make(&folder, &other);
        match part {
            "checkpoints" => folder.replace(&format!("{other}/checkpoints"), "pretrained/checkpoints"),
            _ => folder.write(&format!("{other}/{part}"), folder.text("pretrained/config.toml")),
        }
        for mode in ["", "--resume", "--overwrite"] {
            let line = format!("{PRETRAIN} {mode} --set output_dir={other}");
            folder.run(&line).fails(73, &[part, "no run.json"]);
        }
    }
    folder.run(&format!("{PRETRAIN} --resume")).done();
    assert_eq!(folder.json("pretrained/run.json")["status"], "done");
}

#[test]
fn a_clearing_that_was_cut_short_is_ended_by_whatever_comes_next() {
    let folder = Folder::pretrained();
    folder.run(&format!("{PRETRAIN} --set seed=2 --set output_dir=clean")).done();
    let model = |run: &str| folder.bytes(&format!("{run}/model/model.safetensors"));
    let gone: [&[&str]; 4] = [
        &[],
        &["run.json"],
        &["run.json", "results.json", "config.toml", "checkpoints/step_000004/state.json"],
        &[
            "run.json",
            "results.json",
            "config.toml",
            "metrics.jsonl",
            "report.html",
            "checkpoints/step_000002",
        ],
    ];
    for gone in gone {
        for mode in ["", "--resume", "--overwrite"] {
            folder.replace("again", "pretrained");
            folder.write("again/run.clearing", "run");
            folder.write("again/notes.txt", "mine");
            gone.iter().for_each(|name| folder.remove(&format!("again/{name}")));
            folder.run(&format!("{PRETRAIN} --set seed=2 --set output_dir=again {mode}")).done();
            assert!(model("again") == model("clean"), "{mode} after {gone:?}");
            assert!(!folder.path("again/run.clearing").exists());
            assert_eq!(folder.text("again/notes.txt"), "mine");
        }
    }
}

#[test]
fn no_run_of_an_old_comparison_comes_into_a_new_one() {
    let folder = Folder::new();
    folder.run(COMPARE).done();
    let other = "--set finetune.train.dropout=0.3 --set pretrain.seed=5";
    folder.run(&format!("{COMPARE} {other} --set output_dir=clean")).done();
    let f1 = |run: &str| folder.json(&format!("{run}/results.json"))["arms"].clone();
    let models = |run: &str| {
        ["pretrain", "pretrained-20-seed1", "scratch-20-seed1"]
            .map(|cell| folder.bytes(&format!("{run}/{cell}/model/model.safetensors")))
    };
    folder.replace("kept", "compared");
    folder.write("compared/run.clearing", "comparison");
    ["run.json", "results.json", "config.toml", "pretrain/run.json"]
        .iter()
        .for_each(|name| folder.remove(&format!("compared/{name}")));
    folder.run(&format!("{COMPARE} {other} --resume")).done();
    assert!(models("compared") == models("clean") && f1("compared") == f1("clean"), "cleared in part");

    // A cell of another comparison in the place of one's own.
    for cell in ["scratch-20-seed1", "baselines/majority-20-seed1"] {
        folder.replace(&format!("compared/{cell}"), &format!("kept/{cell}"));
    }
    let outcome = folder.run(&format!("{COMPARE} {other} --resume")).done();
    assert!(models("compared") == models("clean") && f1("compared") == f1("clean"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("scratch-20-seed1 was made from something else"), "{}", outcome.stderr);
    folder.replace("compared/pretrain", "kept/pretrain");
    let parts = ["compared/pretrain was made with other settings", "move it away"];
    folder.run(&format!("{COMPARE} {other} --resume")).fails(65, &parts);
    assert_eq!(folder.json("compared/run.json")["status"], "done", "a refusal changes nothing");

    folder.replace("compared", "clean");
    let lock = std::fs::File::open(folder.path("compared/pretrain/run.lock")).unwrap();
    lock.lock().unwrap();
    folder.run(&format!("{COMPARE} {other} --resume")).fails(73, &["compared/pretrain is locked"]);
    drop(lock);
    folder.write("compared/scratch-20-seed1/model/config.json", "{}");
    folder.run(&format!("{COMPARE} {other} --resume")).fails(65, &["is not as the run wrote it"]);
    assert_eq!(folder.json("compared/run.json")["status"], "done", "its results still stand");
}

#[test]
fn a_run_lies_beside_the_text_it_reads_and_may_lie_in_the_model_it_starts_from() {
    let folder = Folder::pretrained();
    make(&folder, "data");
    folder.write("data/corpus.txt", folder.text("corpus.txt"));
    let line = format!("{PRETRAIN} --set data.train=[\"data\"] --set output_dir=");
    let parts = ["output_dir data/run lies in data.train data", "choose another output_dir"];
    folder.run(&format!("{line}data/run")).fails(73, &parts);
    assert!(!folder.path("data/run").exists(), "nothing joins the text");
    folder.run(&format!("{line}beside")).done();
    let line = "finetune --config finetune.toml --set output_dir=pretrained/spam";
    folder.run(line).done();
    folder.run(&format!("{line} --overwrite")).done();
}

#[test]
fn a_comparison_goes_on_with_the_same_text_rows_model_and_program_alone() {
    let folder = Folder::new();
    folder.run(COMPARE).done();
    folder.replace("kept", "compared");
    let line = format!("{COMPARE} --resume");
    let (rows, corpus) = (folder.text("messages.tsv"), folder.text("corpus.txt"));
    folder.write("messages.tsv", format!("{rows}ham\tone more row\n"));
    folder.run(&line).fails(65, &["compared: the data is", "the comparison's was", "--allow-data-change"]);
    folder.write("messages.tsv", rows);
    folder.write("corpus.txt", format!("{corpus}one more text\n"));
    folder.run(&line).fails(65, &["compared/pretrain: the data is", "the pre-training's was"]);
    folder.write("corpus.txt", corpus);
    let manifest = folder.text("compared/run.json");
    folder.write("compared/run.json", manifest.replace("\"version\": \"", "\"version\": \"9."));
    folder.run(&line).fails(65, &["compared: it was begun by train 9.", "this is train "]);

    let mut interrupted = folder.json("kept/run.json");
    (interrupted["wall_secs"], interrupted["status"]) = (1000.0.into(), "running".into());
    folder.write("compared/run.json", interrupted.to_string());
    folder.remove("compared/results.json");
    folder.run(&line).done();
    assert!(folder.json("compared/results.json")["wall_secs"].as_f64().unwrap() > 1000.0);

    std::fs::rename(folder.path("compared"), folder.path("moved")).unwrap();
    let before = files(&folder, "moved/scratch-20-seed1");
    folder.run(&format!("{line} --set output_dir=./moved")).done();
    assert!(files(&folder, "moved/scratch-20-seed1") == before, "a moved comparison is made again");
    folder.remove("moved/scratch-20-seed1/model");
    folder
        .run(&format!("{line} --set output_dir=moved"))
        .fails(65, &["moved/scratch-20-seed1/model", "missing"]);
}

#[test]
fn overwriting_keeps_what_the_new_run_is_made_from() {
    let folder = Folder::pretrained();
    let finetune = "finetune --config finetune.toml --overwrite --set output_dir=pretrained";
    let before = files(&folder, "pretrained");
    for start in ["pretrained", "./pretrained/model", "other/../pretrained"] {
        make(&folder, "other");
        let parts = ["lies in output_dir pretrained, which --overwrite clears", "choose another output_dir"];
        folder.run(&format!("{finetune} --init-from {start}")).fails(73, &parts);
    }
    folder
        .run(&format!("{PRETRAIN} --overwrite --set data.train=[\"pretrained/*.md\"]"))
        .fails(73, &["data.train"]);
    make(&folder, "linked");
    std::os::unix::fs::symlink(folder.path("pretrained/report.md"), folder.path("linked/a.txt")).unwrap();
    for entry in ["**/samples.jsonl", "linked"] {
        let set = format!("--set data.train=[\"{entry}\"] --set data.format=jsonl");
        let parts =
            [&format!("of data.train {entry} lies in output_dir pretrained, which --overwrite clears")];
        folder.run(&format!("{PRETRAIN} --overwrite {set}")).fails(73, &parts.map(|part| part.as_str()));
    }
    for output in ["pretrained/model/tokenizer.json", "pretrained/samples.jsonl"] {
        folder
            .run(&format!("tokenizer train corpus.txt --output {output} --overwrite"))
            .fails(73, &["choose another --output"]);
    }
    let line = "pretrain --config pretrained/config.toml --overwrite";
    folder.run(line).fails(73, &["--config pretrained/config.toml lies in output_dir", "copy it"]);
    assert!(files(&folder, "pretrained") == before);
    // What somebody else put there is not cleared, so it may be used.
    folder.write("pretrained/texts.txt", folder.text("corpus.txt"));
    folder.write("pretrained/mine.toml", folder.text("pretrain.toml"));
    let line =
        "pretrain --config pretrained/mine.toml --overwrite --set data.train=[\"pretrained/texts.txt\"]";
    folder.run(line).done();
    assert!(folder.path("pretrained/texts.txt").exists() && folder.path("pretrained/mine.toml").exists());
}

#[test]
fn an_export_replaces_an_export_alone() {
    let folder = Folder::pretrained();
    let export = |to: &str| folder.run(&format!("export pretrained --to {to} --overwrite"));
    export("out").done();
    folder.write("out/notes.txt", "mine");
    let good = folder.bytes("out/model.safetensors");
    folder.write("out/model.safetensors", "old");
    export("out").done();
    assert!(folder.bytes("out/model.safetensors") == good && folder.text("out/notes.txt") == "mine");

    make(&folder, "docs");
    folder.write("docs/paper.tex", "x");
    folder.write("docs/README.md", "x");
    folder.write("letter.gguf", "dear");
    folder.run(&format!("{PRETRAIN} --set output_dir=runs/second")).done();
    let before = files(&folder, ".");
    for (to, why) in [
        ("docs", "is no exported model"),
        ("letter.gguf", "is no GGUF file"),
        ("pretrained", "belongs to the run in"),
        ("./pretrained/model", "belongs to the run in"),
        ("pretrained/adapter", "belongs to the run in"),
        ("runs/second", "belongs to the run in"),
        (".", "holds what is exported"),
    ] {
        export(to).fails(73, &[to, why, "choose another --to"]);
    }
    folder
        .run("export pretrained/model --to pretrained/model --overwrite")
        .fails(73, &["choose another --to"]);
    folder.run("export out --to out --overwrite").fails(73, &["holds what is exported"]);
    assert!(files(&folder, ".") == before);
}

#[test]
fn a_split_or_tokenizer_never_takes_the_place_of_its_source() {
    let folder = Folder::new();
    make(&folder, "data");
    folder.write("data/train.jsonl", "{\"label\":\"a\",\"text\":\"x\"}\n{\"label\":\"b\",\"text\":\"y\"}\n");
    let before = files(&folder, ".");
    let split = "data split data/train.jsonl --output data";
    folder.run(split).fails(73, &["data/train.jsonl", "another --output"]);
    folder.run(&format!("{split} --overwrite")).fails(73, &["data/train.jsonl", "is what is to be split"]);
    folder.run("data split messages.tsv --output data").fails(73, &["data/train.jsonl exists"]);
    let train = "tokenizer train corpus.txt --output corpus.txt --vocab-size 300 --overwrite";
    folder.run(train).fails(73, &["corpus.txt is no tokenizer"]);
    assert!(files(&folder, ".") == before);
}

#[test]
fn a_model_that_is_not_as_its_run_wrote_it_is_refused_wherever_it_is_used() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    let uses = |run: &str| {
        [
            format!("predict {run} hello"),
            format!("evaluate {run} --data messages.tsv"),
            format!("export {run} --to out"),
            format!("{run} --resume").replace("finetuned", "finetune --config finetune.toml"),
        ]
    };
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let file = format!("finetuned/model/{name}");
        let good = folder.bytes(&file);
        let mut bytes = good.clone();
        *bytes.last_mut().unwrap() ^= 1;
        folder.write(&file, bytes);
        for line in uses("finetuned") {
            let parts = [&file[..], "is not as the run wrote it", "name finetuned/model to take"];
            folder.run(&line).fails(65, &parts);
        }
        folder.remove(&file);
        for line in &uses("finetuned")[..3] {
            folder.run(line).fails(65, &[&file, "is missing", "--resume"]);
        }
        // The last checkpoint gives it again.
        folder.run("finetune --config finetune.toml --resume").done();
        assert_eq!(folder.bytes(&file), good);
    }
    // The advice holds: the folder by itself is taken as it is.
    let (header, weights) = ("pretrained/model/model.safetensors", "pretrained/model/config.json");
    folder.write(weights, folder.text(weights) + "\n");
    folder.run("generate pretrained --prompt the").fails(65, &[weights, "name pretrained/model"]);
    folder.run("finetune --config finetune.toml --set output_dir=next").fails(65, &[weights]);
    folder.run(&format!("{PRETRAIN} --resume")).fails(65, &[weights]);
    folder.run("generate pretrained/model --prompt the --max-new-tokens 2").done();
    folder.run("finetune --config finetune.toml --set output_dir=next --init-from pretrained/model").done();
    let compare = "compare --config compare.toml --set pretrained=pretrained";
    folder.run(compare).fails(65, &[weights]);
    // A run of a version that kept no sums still opens.
    let mut manifest = folder.json("pretrained/run.json");
    assert!(manifest["model_sha256"]["model/model.safetensors"].is_string(), "{header}");
    manifest.as_object_mut().unwrap().remove("model_sha256");
    folder.write("pretrained/run.json", manifest.to_string());
    folder.run("generate pretrained --prompt the --max-new-tokens 2").done();
    folder.remove("pretrained/model");
    folder.remove("pretrained/checkpoints");
    folder.run(&format!("{PRETRAIN} --resume")).fails(65, &["pretrained/model has no config.json"]);
}

#[test]
#[cfg(unix)]
fn what_links_lead_to_stays_whole() {
    use std::os::unix::fs::symlink;
    let folder = Folder::pretrained();
    let finetune = "finetune --config finetune.toml";
    folder.run(&format!("{finetune} --set output_dir=other")).done();
    folder.run(finetune).done();
    for name in ["model", "checkpoints"] {
        folder.remove(&format!("finetuned/{name}"));
        symlink(folder.path(&format!("other/{name}")), folder.path(&format!("finetuned/{name}"))).unwrap();
    }
    folder.run(&format!("{finetune} --overwrite")).done();
    assert!(!folder.path("finetuned/model").is_symlink());
    folder.run("predict other hello").done();
    folder.run(&format!("{finetune} --set output_dir=other --resume --set train.max_steps=6")).done();

    folder.run("export finetuned --to v1").done();
    folder.write("v1/mine", "mine");
    symlink(folder.path("v1"), folder.path("latest")).unwrap();
    for to in ["latest", "v1/../v1"] {
        folder.run(&format!("export finetuned --to {to} --overwrite")).done();
        assert!(folder.path("latest").is_symlink() && folder.text("v1/mine") == "mine", "{to}");
        assert!(folder.path("v1/model.safetensors").exists(), "{to}");
    }
}

#[test]
fn a_file_that_is_only_called_run_json_makes_no_run() {
    let folder = Folder::pretrained();
    let finetune = "finetune --config finetune.toml --set output_dir=project";
    std::fs::create_dir(folder.path("project")).unwrap();
    folder.write("project/run.json", "{\"name\": \"my service\"}");
    folder.write("project/report.md", "mine");
    std::fs::create_dir(folder.path("marked")).unwrap();
    folder.write("marked/run.clearing", "mine");
    folder.write("marked/report.md", "mine");
    folder.run("finetune --config finetune.toml --set output_dir=marked").fails(73, &["holds report.md"]);
    folder.write("pretrained/run.clearing", "mine");
    folder
        .run(&format!("{PRETRAIN} --overwrite"))
        .fails(73, &["run.clearing is there and no run wrote it", "move it"]);
    assert_eq!(folder.text("pretrained/run.clearing"), "mine");
    folder.remove("pretrained/run.clearing");
    make(&folder, "odd/run.json");
    folder.write("odd/report.md", "mine");
    folder
        .run("finetune --config finetune.toml --set output_dir=odd --overwrite")
        .fails(66, &["odd/run.json: it is a folder"]);
    assert_eq!(folder.text("odd/report.md"), "mine");
    assert_eq!(folder.text("marked/report.md") + &folder.text("marked/run.clearing"), "minemine");
    for flag in ["", " --overwrite", " --resume"] {
        folder.run(&format!("{finetune}{flag}")).fails(73, &["holds a run.json that no run wrote"]);
    }
    assert_eq!(folder.text("project/report.md"), "mine");
    folder.run("export pretrained --to project/out").done();
    folder.run("export pretrained --to new/../pretrained/model").fails(73, &["exists"]);
    folder.run("export pretrained --to new/../pretrained/adapter").fails(73, &["belongs to the run in "]);
    folder.run("export pretrained --to pretrained/model/x.gguf").fails(73, &["belongs to the run in "]);
    assert!(!folder.path("new").exists());
    // Beside what a run wrote there is room for an export.
    folder.run("export pretrained --to pretrained/hf").done();
    folder.run("export pretrained --to pretrained/model --overwrite").fails(73, &["belongs to the run"]);
}

#[test]
fn a_folder_without_a_model_says_what_it_is() {
    let folder = Folder::new();
    folder.run(COMPARE).done();
    let uses = |run: &str| {
        [
            "predict RUN hello",
            "evaluate RUN --data messages.tsv",
            "generate RUN --prompt the",
            "export RUN --to out",
        ]
        .map(|line| line.replace("RUN", run))
    };
    for line in uses("compared") {
        let parts = ["compared is a comparison", "compared/pretrain, compared/pretrained-20-seed1"];
        folder.run(&line).fails(65, &parts);
    }
    folder.run("predict compared/pretrained-20-seed1 hello").done();

    let run = "compared/scratch-20-seed1";
    let manifest = folder.json(&format!("{run}/run.json"));
    for (status, words) in [
        ("running", "was killed and has not finished; go on with it by --resume"),
        ("failed", "failed and has not finished"),
        ("interrupted", "was stopped by a signal and has not finished"),
    ] {
        let mut manifest = manifest.clone();
        manifest["status"] = status.into();
        folder.write(&format!("{run}/run.json"), manifest.to_string());
        uses(run).iter().for_each(|line| drop(folder.run(line).fails(65, &[run, words])));
    }
    folder.write(&format!("{run}/run.lock"), "4242");
    let lock = std::fs::File::options().write(true).open(folder.path(&format!("{run}/run.lock"))).unwrap();
    lock.lock().unwrap();
    let running = ["is still running (process 4242)", "wait for it"];
    folder.run(&format!("predict {run} hello")).fails(65, &running);
    let outcome = folder.run(&format!("report {run}")).done();
    assert!(outcome.stderr.contains("still running (process 4242)"), "{}", outcome.stderr);
    folder.remove(&format!("{run}/results.json"));
    folder.run(&format!("report {run}")).fails(65, &running);

    let cell = "compared/pretrained-20-seed1";
    let results = folder.text(&format!("{cell}/results.json"));
    folder.write(&format!("{cell}/results.json"), &results[..results.len() / 2]);
    folder.run(&format!("predict {cell} hello")).fails(65, &["results.json is damaged"]);
}

#[test]
fn what_a_killed_write_leaves_is_swept_and_nothing_else() {
    let folder = Folder::pretrained();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 3600);
    let left = [
        "pretrained/.run.json.00000000-4194305-0.tmp",
        "pretrained/checkpoints/.step_000006.00000000-4194305-3.tmp",
        "cache/.x.tokenizer.json.00000000-4194305-1.tmp",
    ];
    let kept = ["pretrained/.notes.tmp", "cache/x.tmp", "cache/.y.00000000-4194305-1.tmp"];
    for name in left.iter().chain(&kept) {
        folder.write(name, "x");
    }
    let old = std::fs::File::options().write(true).open(folder.path(left[2])).unwrap();
    old.set_modified(long_ago).unwrap();
    folder.run(&format!("{PRETRAIN} --resume --set train.max_steps=6")).done();
    left.iter().for_each(|name| assert!(!folder.path(name).exists(), "{name}"));
    kept.iter().for_each(|name| assert!(folder.path(name).exists(), "{name}"));
}

#[test]
fn a_folder_for_manual_pages_that_is_a_file_is_refused() {
    let folder = Folder::new();
    folder.write("file", "x");
    folder.run("manual file").fails(73, &["cannot write file"]);
}
