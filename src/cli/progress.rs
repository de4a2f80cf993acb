//! Progress bars: on a terminal, with rate and time left; nothing when stderr is piped.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over bytes; `total` is what is known of their number. `wanted` overrides the terminal's
/// absence or presence.
pub fn bytes(total: Option<u64>, wanted: Option<bool>) -> ProgressBar {
    if !wanted.unwrap_or_else(|| stderr().is_terminal()) {
        return ProgressBar::hidden();
    }
    let shape = match total {
        Some(_) => "{bytes} / {total_bytes} [{bar:30}] {percent}% {binary_bytes_per_sec} {eta}",
        None => "{bytes} {binary_bytes_per_sec}",
    };
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    // The shapes above are constants: one that does not parse falls back to the default bar.
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
