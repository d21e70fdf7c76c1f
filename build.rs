//! Records the commit the program is built from, where there is one, and compiles the CUDA kernels for the
//! feature `cuda`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A path that is missing would make cargo run this every time.
    for path in [".git/HEAD", ".git/refs/heads"].iter().filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = commit.ok().filter(|output| output.status.success()) {
        println!("cargo:rustc-env=TRAIN_GIT_COMMIT={}", String::from_utf8_lossy(&commit.stdout).trim());
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        println!("cargo:rerun-if-env-changed=NVCC");
        compile_kernels(Path::new("src/ops"));
    }
}

/// Every `OP/cuda.cu` becomes `OP.fatbin` in cargo's output folder, every other `NAME.cu` `NAME.fatbin`: code
/// for compute capability 8.0 and 9.0, and PTX for what comes later.
fn compile_kernels(folder: &Path) {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let is = |extension: &str| path.extension().is_some_and(|found| found == extension);
        if path.is_dir() {
            compile_kernels(&path);
        } else if is("cu") {
            let of_op = path.file_stem().is_some_and(|stem| stem == "cuda");
            let named = if of_op { folder } else { &path };
            compile(&path, &named.file_stem().unwrap_or_default().to_string_lossy());
        }
    }
}

fn compile(source: &Path, name: &str) {
    let nvcc = env::var("NVCC").unwrap_or_else(|_| {
        let home = env::var("CUDA_HOME").or_else(|_| env::var("CUDA_PATH"));
        home.map_or("nvcc".into(), |home| format!("{home}/bin/nvcc"))
    });
    let output = Path::new(&env::var("OUT_DIR").unwrap_or_default()).join(format!("{name}.fatbin"));
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin"]);
    for target in ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"]
    {
        command.args(["-gencode", target]);
    }
    match command.arg(source).arg("-o").arg(&output).status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{nvcc} failed on {}: {status}", source.display()),
        Err(cause) => panic!(
            "cannot run {nvcc}: {cause}; install a CUDA toolkit of version 12.4 or later or use \
             scripts/setup_cuda_toolkit.sh"
        ),
    }
}
