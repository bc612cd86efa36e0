//! Where a run's time went, step by step.

use comfy_table::{Cell, CellAlignment};

use super::output;
use crate::error::Result;
use crate::trace::{StepTime, Trace};

/// Writes a trace to its file, and tells the time of each step where it is asked for.
pub(super) fn write(trace: Trace, tell: bool) -> Result<()> {
    let times = trace.write()?;
    if tell {
        output::tell(&as_text(&times));
    }
    Ok(())
}

fn as_text(times: &[StepTime]) -> String {
    let mut table = output::table(&["step", "spans", "total ms", "self ms", "busy ms"]);
    let milliseconds = |time: f64| Cell::new(format!("{time:.1}")).set_alignment(CellAlignment::Right);
    for time in times {
        let [total, own, busy] = [time.total_ms, time.self_ms, time.busy_ms].map(milliseconds);
        table.add_row([Cell::new(&time.name), output::number(time.spans), total, own, busy]);
    }
    table.to_string()
}
