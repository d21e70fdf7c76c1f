//! Text from a finished model: what a prompt loses where the model has too few positions, and that it is said.

use crate::support::Folder;

const PROMPT: &str = "the cat looked at the old man";

#[test]
fn a_longer_continuation_begins_with_a_shorter_one() {
    let folder = Folder::pretrained();
    let text = |tokens: usize, prompt: &str| {
        let tokens = tokens.to_string();
        let arguments =
            ["generate", "pretrained", "--temperature", "0", "--max-new-tokens", &tokens, "--prompt", prompt];
        let output = folder.train(&arguments).output().unwrap();
        assert!(output.status.success());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout).trim_end_matches('\n').to_string(), text(output.stderr))
    };
    for prompt in [PROMPT.to_string(), PROMPT.repeat(9)] {
        let (short, _) = text(1, &prompt);
        let (longest, warning) = text(100, &prompt);
        for tokens in [5, 17, 28, 31] {
            let (longer, _) = text(tokens, &prompt);
            assert!(
                longer.starts_with(&short) && longest.starts_with(&longer),
                "{tokens}: {longer:?}, {longest:?}"
            );
        }
        assert!(warning.contains("the model 32 positions"), "{warning}");
        assert_eq!(warning.contains("its beginning is left out"), prompt.len() > PROMPT.len(), "{warning}");
    }
    assert!(!text(2, PROMPT).1.contains("positions"), "where all fits nothing is said");
}

#[test]
fn samples_of_a_pre_training_say_what_their_prompts_lose() {
    let folder = Folder::new();
    let long = PROMPT.replace(' ', "_").repeat(9);
    let run = folder.run(&format!("pretrain --config pretrain.toml --set prompts=[\"{long}\"]")).done();
    assert!(run.stderr.contains("its beginning is left out"), "{}", run.stderr);
}
