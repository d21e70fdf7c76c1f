//! What a run is told beside its config.

use candle_core::Device;

use crate::device;
use crate::error::Result;
use crate::progress::Progress;
use crate::run_dir::Existing;

/// Where a run computes, who hears how it goes, and what it does about what is there already.
///
/// By default nobody hears anything, a run that is there is refused, and the config names the device.
#[derive(Clone)]
pub struct Context {
    /// `auto`, `cpu`, `cuda` or `cuda:N`, in place of what a config names; without either, `auto`.
    pub device: Option<String>,
    /// Hears how the work goes.
    pub progress: Progress,
    /// What to do with a run that is already there.
    pub existing: Existing,
    /// Resume although the data changed since the checkpoint.
    pub allow_data_change: bool,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            device: None,
            progress: Progress::silent(),
            existing: Existing::Refuse,
            allow_data_change: false,
        }
    }
}

impl Context {
    /// The default, under a name that tells what it is like.
    pub fn quiet() -> Self {
        Self::default()
    }

    /// For asking a model on this device, heard by this observer.
    pub fn on(device: &str, progress: &Progress) -> Self {
        Self { device: Some(device.into()), progress: progress.clone(), ..Self::default() }
    }

    /// Opens the device; `named` is the config's.
    ///
    /// Errors: a device asked for by name that is not there (69).
    pub fn open_device(&self, named: &str) -> Result<Device> {
        device::open(self.device.as_deref().unwrap_or(named), &self.progress)
    }

    /// For runs inside a run, of which those that are done stay as they are.
    pub fn inner(&self) -> Self {
        Self { existing: Existing::Resume, progress: self.progress.quieter(), ..self.clone() }
    }
}
