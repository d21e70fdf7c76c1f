//! Records the commit the program is built from, where there is one, and compiles the CUDA kernels for the
//! feature `cuda`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A path that is missing would make cargo run this every time. In a work tree of its own they are elsewhere.
    for path in ["HEAD", "refs/heads"].iter().filter_map(|name| git(&["--git-path", name])) {
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["--short=12", "HEAD"]) {
        println!("cargo:rustc-env=TRAIN_GIT_COMMIT={commit}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        println!("cargo:rerun-if-env-changed=NVCC");
        compile_kernels(Path::new("src/ops"));
    }
}

/// What `git rev-parse` says; none where there is no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let said = Command::new("git").arg("rev-parse").args(arguments).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_string())
}

/// Every `OP/cuda.cu` becomes `OP.fatbin` in cargo's output folder, every other `NAME.cu` `NAME.fatbin`: code
/// for compute capability 8.0 and 9.0, and PTX for what comes later.
fn compile_kernels(folder: &Path) {
    let mut files = Vec::new();
    find_kernels(folder, &mut files);
    files.sort();
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let headers = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "cuh"));
    let newest_header = headers.filter_map(|path| changed(path)).max();
    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for source in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "cu")) {
        println!("cargo:rerun-if-changed={}", source.display());
        let of_op = source.file_stem().is_some_and(|stem| stem == "cuda");
        let named = if of_op { source.parent().unwrap_or(folder) } else { source };
        let name = named.file_stem().unwrap_or_default().to_string_lossy();
        let binary = output.join(format!("{name}.fatbin"));
        let built = changed(&binary);
        if built.is_none() || built < changed(source).max(newest_header) {
            compile(source, &binary);
        }
    }
}

/// The kernels and their headers. A new one comes with a line in a `mod.rs`, so these are watched too.
fn find_kernels(folder: &Path, files: &mut Vec<PathBuf>) {
    let module = folder.join("mod.rs");
    if module.exists() {
        println!("cargo:rerun-if-changed={}", module.display());
    }
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            find_kernels(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh") {
            if path.extension().is_some_and(|extension| extension == "cuh") {
                println!("cargo:rerun-if-changed={}", path.display());
            }
            files.push(path);
        }
    }
}

fn compile(source: &Path, output: &Path) {
    let nvcc = env::var("NVCC").unwrap_or_else(|_| {
        let home = env::var("CUDA_HOME").or_else(|_| env::var("CUDA_PATH"));
        home.map_or("nvcc".into(), |home| format!("{home}/bin/nvcc"))
    });
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin"]);
    for target in
        ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"]
    {
        command.args(["-gencode", target]);
    }
    match command.arg(source).arg("-o").arg(output).status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{nvcc} failed on {}: {status}", source.display()),
        Err(cause) => panic!(
            "cannot run {nvcc}: {cause}; install a CUDA toolkit of version 12.4 or later or use \
             scripts/setup_cuda_toolkit.sh"
        ),
    }
}
