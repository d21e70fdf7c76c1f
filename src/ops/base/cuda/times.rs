//! Time on the device by kernel, for benchmarks: off unless asked for, since it costs two events per launch.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::Result;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, sys::CUevent_flags};

type Timed = (String, CudaEvent, CudaEvent);

thread_local! {
    /// What was launched since timing was turned on; none while it is off.
    static TIMED: RefCell<Option<Vec<Timed>>> = const { RefCell::new(None) };
}

/// Turns the timing of this thread's launches on or off, and forgets what was timed.
pub fn time_kernels(on: bool) {
    TIMED.replace(on.then(Vec::new));
}

/// Number of launches and milliseconds by name of kernel, since timing was turned on. Waits for the device.
pub fn kernel_times() -> Result<BTreeMap<String, (usize, f64)>> {
    let timed = TIMED.with_borrow_mut(|timed| timed.as_mut().map(std::mem::take)).unwrap_or_default();
    let mut times = BTreeMap::new();
    for (name, start, end) in timed {
        let total: &mut (usize, f64) = times.entry(name).or_default();
        total.0 += 1;
        total.1 += f64::from(start.elapsed_ms(&end).w()?);
    }
    Ok(times)
}

/// Runs `launch`, between two events where timing is on.
pub fn timed(stream: &CudaStream, name: &str, launch: impl FnOnce() -> Result<()>) -> Result<()> {
    if TIMED.with_borrow(Option::is_none) {
        return launch();
    }
    let event = || stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w();
    let start = event()?;
    launch()?;
    let end = event()?;
    TIMED.with_borrow_mut(|timed| {
        if let Some(timed) = timed {
            timed.push((name.to_string(), start, end));
        }
    });
    Ok(())
}
