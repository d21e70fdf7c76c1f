//! Signals, and resources that the system refuses.
#![cfg(unix)]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libc::{SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGTERM, c_int};

use crate::support::{Folder, Outcome};

/// Long enough for a busy machine, shorter than what is interrupted.
const PROMPTLY: Duration = Duration::from_secs(20);
/// A training that does not end by itself.
const ENDLESS: &str = "pretrain --config pretrain.toml --set train.max_steps=100000000 --set train.eval_interval=0 \
                       --set train.save_interval=0";

fn send(child: &Child, signal: c_int) {
    // SAFETY: kill only sends a signal, to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Starts `train`; to SIGHUP it begins by doing `hangup`.
fn start(folder: &Folder, line: &str, hangup: libc::sighandler_t) -> Child {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let mut command = folder.command(&arguments);
    // SAFETY: signal is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(SIGHUP, hangup);
            Ok(())
        });
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until `ready` and fails where the program ends before.
fn wait_until(child: &mut Child, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert_eq!(child.try_wait().unwrap().map(|status| status.code()), None, "it ended by itself");
        assert!(started.elapsed() < Duration::from_secs(120), "nothing happened for two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Exit code and messages of a program that has been asked to stop.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if asked.elapsed() > PROMPTLY {
            child.kill().unwrap();
            panic!("it went on for {PROMPTLY:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code(), stderr)
}

/// Number of events in the log of a run.
fn events(folder: &Folder, run: &str) -> usize {
    let log = std::fs::read_to_string(folder.path(&format!("{run}/metrics.jsonl")));
    log.unwrap_or_default().lines().count()
}

#[test]
fn waiting_for_input_ends_at_the_first_signal() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    let mut child = start(&folder, "predict finetuned - -v", SIG_DFL);
    // Its first message: it runs.
    child.stderr.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    send(&child, SIGTERM);
    let _stdin = child.stdin.take();
    let (code, stderr) = ended(child);
    assert_eq!((code, stderr.lines().last()), (Some(143), Some("error: stopped by signal 15")), "{stderr}");
}

#[test]
fn predictions_end_between_two_batches_with_whole_lines() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    folder.write("many.txt", "a small dog walked to the river\n".repeat(300_000));
    let mut child = start(&folder, "predict finetuned --input many.txt", SIG_DFL);
    let mut stdout = child.stdout.take().unwrap();
    let mut text = vec![0; 100];
    stdout.read_exact(&mut text).unwrap();
    send(&child, SIGINT);
    stdout.read_to_end(&mut text).unwrap();
    let (code, stderr) = ended(child);
    assert_eq!((code, text.last()), (Some(130), Some(&b'\n')), "{stderr}");
    assert!(text.len() < 20_000_000, "it went on to the end");
}

#[test]
fn a_tokenizer_that_is_trained_is_not_written_by_half() {
    let folder = Folder::new();
    let text: String =
        (0..400_000u64).map(|i| format!("word{} of line {i} is {}\n\n", i * i, 7 * i)).collect();
    folder.write("large.txt", text);
    let mut child = start(&folder, "tokenizer train large.txt --output large.json", SIG_DFL);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    send(&child, SIGTERM);
    let (code, stderr) = ended(child);
    assert_eq!((code, folder.path("large.json").exists()), (Some(143), false), "{stderr}");
}

#[test]
fn an_evaluation_inside_a_training_is_left() {
    let folder = Folder::new();
    // A validation part that takes many seconds.
    let document =
        |i: usize| format!("the old man walked to house {i} and the cat {} looked at it\n\n", 3 * i);
    folder.write("corpus.txt", (0..100_000).map(document).collect::<String>());
    let line =
        "pretrain --config pretrain.toml --set data.validation_fraction=0.9 --set train.micro_batch_size=1";
    let mut child = start(&folder, line, SIG_DFL);
    // Steps 1 and 2 are logged, then the evaluation begins.
    wait_until(&mut child, || events(&folder, "pretrained") == 2);
    send(&child, SIGTERM);
    let (code, stderr) = ended(child);
    assert_eq!(code, Some(143), "{stderr}");
    assert!(stderr.contains("a checkpoint is saved in pretrained; go on with --resume"), "{stderr}");
    let state = folder.json("pretrained/checkpoints/step_000002/state.json");
    assert_eq!(state["counters"]["evaluation_due"], true, "{state}");
    assert_eq!(folder.json("pretrained/run.json")["status"], "interrupted");
}

#[test]
fn a_hangup_saves_unless_it_is_ignored() {
    let folder = Folder::new();
    let mut child = start(&folder, ENDLESS, SIG_DFL);
    wait_until(&mut child, || events(&folder, "pretrained") >= 3);
    send(&child, SIGHUP);
    let (code, stderr) = ended(child);
    assert_eq!(code, Some(129), "{stderr}");
    assert!(stderr.contains("stopped by signal 1; a checkpoint is saved"), "{stderr}");

    let mut child = start(&folder, &format!("{ENDLESS} --resume"), SIG_IGN);
    let before = events(&folder, "pretrained");
    wait_until(&mut child, || events(&folder, "pretrained") > before);
    send(&child, SIGHUP);
    std::thread::sleep(Duration::from_millis(100));
    let at_hangup = events(&folder, "pretrained");
    wait_until(&mut child, || events(&folder, "pretrained") > at_hangup);
    send(&child, SIGTERM);
    assert_eq!(ended(child).0, Some(143));
}

#[test]
fn a_step_is_waited_for_and_a_second_signal_ends_it() {
    let folder = Folder::new();
    let mut child = start(&folder, &format!("{ENDLESS} --set train.grad_accum_steps=100000"), SIG_DFL);
    wait_until(&mut child, || folder.path("pretrained/run.json").exists());
    std::thread::sleep(Duration::from_millis(200));
    send(&child, SIGINT);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "the step was not waited for");
    send(&child, SIGINT);
    assert_eq!(ended(child).0, Some(130));
    assert!(!folder.path("pretrained/checkpoints").exists());
}

/// Runs `train` under a limit of the shell, such as `-v 1000000`.
fn limited(folder: &Folder, limit: &str, line: &str) -> Outcome {
    let program = folder.command(&[]).get_program().to_str().unwrap().to_string();
    let mut shell = Command::new("sh");
    shell.current_dir(folder.path("")).env("RAYON_NUM_THREADS", "1");
    shell.args(["-c", &format!("ulimit {limit} && exec {program} {line}")]);
    Outcome::of(line, shell.output().unwrap())
}

#[test]
fn threads_that_are_refused_are_one_line() {
    let folder = Folder::new();
    let with = |threads: &str| {
        let mut command = folder.train(&["report", "none"]);
        command.env("RAYON_NUM_THREADS", threads).timeout(Duration::from_secs(60));
        Outcome::of(threads, command.output().unwrap())
    };
    with("100000").fails(69, &["RAYON_NUM_THREADS is 100000", "at most 1024"]);
    with("2").fails(66, &["none"]);
    #[cfg(target_os = "linux")]
    {
        // A thousand stacks of 2 MB do not fit.
        let program = folder.command(&[]).get_program().to_str().unwrap().to_string();
        let line = format!("ulimit -v 1000000 && RAYON_NUM_THREADS=1000 exec {program} report none");
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        Outcome::of(&line, output).fails(69, &["cannot start 1000 threads", "ulimit"]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_does_not_fit_into_memory_is_refused_before_it_is_tried() {
    let folder = Folder::new();
    let gigabytes = "-v 3000000";
    let large = [
        ("train.micro_batch_size=2000000", "set train.micro_batch_size="),
        ("train.grad_accum_steps=16000000", "smaller train.grad_accum_steps"),
        ("model.num_hidden_layers=10000 --set model.hidden_size=256", "the model alone needs"),
        ("model.max_position_embeddings=1048576 --set model.head_dim=1048576", "the model alone needs"),
    ];
    for (set, advice) in large {
        let outcome = limited(&folder, gigabytes, &format!("pretrain --config pretrain.toml --set {set}"));
        outcome.fails(69, &["not enough memory: ", " need ", " are free; ", advice]);
    }
    let set = "--init-from scratch --set model.model_type=llama --set model.num_hidden_layers=10000 --set model.hidden_size=512";
    let outcome = limited(&folder, gigabytes, &format!("finetune --config finetune.toml {set}"));
    outcome.fails(69, &["not enough memory: ", "the model alone needs"]);
    limited(&folder, gigabytes, "pretrain --config pretrain.toml").done();
}

#[test]
#[cfg(target_os = "linux")]
fn memory_that_is_refused_at_work_is_one_line() {
    let folder = Folder::new();
    let rows: String =
        (0..2_000_000).map(|i| format!("ham\ta small dog walked to the river {i} times\n")).collect();
    folder.write("large.tsv", rows);
    let outcome = limited(&folder, "-v 150000", "data inspect large.tsv");
    outcome.fails(69, &["out of memory: ", "ulimit -v"]);
}

#[test]
fn a_file_beyond_the_limit_of_the_shell_is_as_a_full_disk() {
    let folder = Folder::new();
    let outcome = limited(&folder, "-f 8", "pretrain --config pretrain.toml");
    outcome.fails(74, &["cannot write ", "File too large"]);
}
