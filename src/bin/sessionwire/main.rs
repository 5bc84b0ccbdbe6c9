//! The command-line tool: measures sessionwire, serves what it measures, and pings what is served.

mod arguments;
mod bench;
mod failure;
mod output;
mod ping;
mod protocol;
mod security;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use self::arguments::{Arguments, Command};
use self::failure::Failure;

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match async_std::task::block_on(run(command)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Bench(options) => bench::run(&options).await,
        Command::Serve(options) => serve::run(&options).await,
        Command::Ping(options) => ping::run(&options).await,
    }
}
