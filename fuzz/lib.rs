//! What every fuzz target does: the reader of one format, without a panic of ours, in bounded memory and time.

#[path = "../tests/hostile/formats.rs"]
pub mod formats;
mod memory;

use formats::Format;

/// Puts the valid files of a format where the fuzzer begins, and silences panics that a guard catches.
pub fn prepare(format: &Format) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format.name);
    std::fs::create_dir_all(&folder).expect("fuzz/corpus can be written");
    for (number, bytes) in (format.valid)().into_iter().enumerate() {
        std::fs::write(folder.join(format!("valid-{number}")), bytes).expect("fuzz/corpus can be written");
    }
    std::panic::set_hook(Box::new(|_| {}));
}

/// Runs the reader on some bytes. It may hold twice their size and 64 MiB.
pub fn run(format: &Format, bytes: &[u8]) {
    memory::allow(2 * bytes.len() + (64 << 20));
    let read = std::panic::catch_unwind(|| (format.read)(bytes));
    memory::allow(usize::MAX);
    if let Err(payload) = read {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
        eprintln!("{}: {text}", format.name);
        std::process::abort();
    }
}

/// The fuzz target of a format.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::prepare($crate::formats::named($name)),
            |data: &[u8]| $crate::run($crate::formats::named($name), data)
        );
    };
}
