//! Wiring, readiness, shutdown.

use crate::cli::options::MountPlan;

/// Serves a lock directory until it is told to stop.
pub fn serve(_plan: MountPlan) -> Result<(), String> {
    Err("not there yet".to_owned())
}
