//! Builds the client of `lib.rs` for a page, and puts it into `page`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> ExitCode {
    let Err(error) = build() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

#[cfg(not(target_family = "wasm"))]
fn build() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = here.join("target");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--lib", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(here)
        .status()?;
    if !status.success() {
        return Err(format!("the build failed; is there `rustup target add {TARGET}`?").into());
    }
    let page = here.join("page");
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(target.join(TARGET).join("release/echo.wasm"))
        .web(true)?
        .omit_default_module_path(false)
        .typescript(false)
        .generate(&page)?;
    println!("{} is ready to be served", page.display());
    Ok(())
}

#[cfg(target_family = "wasm")]
fn build() -> Result<(), Box<dyn Error>> {
    Ok(())
}
