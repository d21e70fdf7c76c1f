//! `train doctor`: what this machine has, how fast it is, and whether its GPU computes what the CPU computes.

use serde_json::{Value, json};

use candle_core::{DType, Device};

use super::print::{print, print_json};
use crate::device;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, KernelCheck};
use crate::progress::Progress;
use crate::runs::peak;

/// Measures, checks and prints.
///
/// Errors: the device asked for is not there (69); an op is further from the CPU's result than its type
/// explains (1), after everything has been printed.
pub fn run(name: &str, as_json: bool, progress: &Progress) -> Result<()> {
    let device = device::open(name, progress)?;
    let mut found = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("TRAIN_GIT_COMMIT"),
        "built_with_cuda": cfg!(feature = "cuda"),
        "cpu": {
            "architecture": std::env::consts::ARCH,
            "features": cpu_features(),
            "threads": device::threads(),
            "f32_product_gflops": peak::product(&Device::Cpu, DType::F32)? / 1e9,
            "copy_gb_per_sec": peak::copy(&Device::Cpu)? / 1e9,
        },
    });
    let checks = ops::check_kernels(&device)?;
    if let Some(gpu) = device::gpu_of(&device) {
        found["gpu"] = json!(gpu);
        for (key, dtype, tf32) in
            [("f32", DType::F32, false), ("tf32", DType::F32, true), ("bf16", DType::BF16, false)]
        {
            ops::allow_tf32(tf32);
            found["gpu"][format!("{key}_product_gflops")] = json!(peak::product(&device, dtype)? / 1e9);
        }
        ops::allow_tf32(false);
        found["gpu"]["copy_gb_per_sec"] = json!(peak::copy(&device)? / 1e9);
    }
    let wrong: Vec<&KernelCheck> = checks.iter().filter(|check| !check.passes()).collect();
    if as_json {
        found["ops"] = checks.iter().map(as_value).collect();
        print_json(&found)?;
    } else {
        print(&text(&found, &checks))?;
    }
    match wrong.first() {
        None => Ok(()),
        Some(first) => {
            let count = wrong.len();
            let what =
                format!("{count} of {} ops are wrong on this device, {} first", checks.len(), first.op);
            let hint = "use --device cpu and report it with this table";
            Err(Error::new(ErrorKind::Failed, format!("{what}; {hint}")))
        }
    }
}

fn as_value(check: &KernelCheck) -> Value {
    json!({
        "op": check.op,
        "dtype": check.dtype.as_str(),
        "error": check.error,
        "allowed": check.allowed,
        "passes": check.passes(),
    })
}

/// Instructions that choose among kernels.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let all = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// A line per figure, then a line per op.
fn text(found: &Value, checks: &[KernelCheck]) -> String {
    let mut text = String::new();
    for (part, values) in found.as_object().into_iter().flatten() {
        match values {
            Value::Object(values) => {
                for (key, value) in values {
                    text += &format!("{:<36}{}\n", format!("{part}.{key}"), shown(value));
                }
            }
            value => text += &format!("{part:<36}{}\n", shown(value)),
        }
    }
    let width = checks.iter().map(|check| check.op.len()).max().unwrap_or(0) + 2;
    text += &format!("\n{:<width$}type   error     allowed\n", "op");
    for check in checks {
        let (dtype, verdict) = (check.dtype.as_str(), if check.passes() { "" } else { "  WRONG" });
        text +=
            &format!("{:<width$}{dtype:<7}{:<10.1e}{:.0e}{verdict}\n", check.op, check.error, check.allowed);
    }
    text
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.1}", number.as_f64().unwrap_or(f64::NAN)),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
