//! The command `bench`: a plan of measurements, each of them a row of the results.

mod chart;
mod measure;
mod plan;
mod raw_tcp;
mod row;
mod table;

use std::fs::{self, File, OpenOptions};
use std::io::IsTerminal;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::{Either, select};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sessionwire::Connection;
use sessionwire::transport::{Endpoint, TransportConfig};

use self::plan::{Measurement, RAW_TCP, Target};
use self::row::{Kind, Row};
use crate::arguments::BenchOptions;
use crate::failure::Failure;
use crate::output::write;
use crate::protocol;
use crate::signals::Interruption;

/// The command `bench`.
pub(crate) async fn run(options: &BenchOptions) -> Result<ExitCode, Failure> {
    let interruption = Interruption::listen()?;
    let to_output = options.json.as_deref() == Some(Path::new("-"));
    let files = [
        options.json.as_deref().filter(|_| !to_output),
        options.chart.as_deref(),
    ];
    for file in files.into_iter().flatten() {
        check_writable(file)?;
    }
    let rows = match select(pin!(measure_all(options)), pin!(interruption.wait())).await {
        Either::Left((rows, _)) => rows?,
        Either::Right(_) => {
            let hint = "fewer --seconds, --size or --channels take less time";
            return Err(Failure::new("interrupted", hint));
        }
    };
    if let Some(file) = &options.chart {
        let drawn = chart::draw(&rows, options);
        fs::write(file, drawn?).map_err(|error| at(file, error))?;
    }
    let json = || row::to_json(&rows);
    match &options.json {
        Some(_) if to_output => return write(&json()?).map(|()| ExitCode::SUCCESS),
        Some(file) => fs::write(file, json()?).map_err(|error| at(file, error))?,
        None => {}
    }
    write(&table::format(&rows, options))?;
    Ok(ExitCode::SUCCESS)
}

/// Fails before the measurements rather than after them.
fn check_writable(file: &Path) -> Result<(), Failure> {
    let opened: Result<File, _> = OpenOptions::new().append(true).create(true).open(file);
    opened.map(drop).map_err(|error| at(file, error))
}

fn at(file: &Path, error: std::io::Error) -> Failure {
    Failure::from(error).while_doing(format!("cannot write {}", file.display()))
}

async fn measure_all(options: &BenchOptions) -> Result<Vec<Row>, Failure> {
    let targets = plan::targets(options)?;
    let measurements = plan::measurements(options);
    let progress = progress_bar(targets.len() * measurements.len());
    let mut rows = Vec::new();
    for target in targets {
        let name = target.name();
        let measured = measure_target(&target, &measurements, options.seconds, &progress);
        rows.extend(
            measured
                .await
                .map_err(|failure| failure.while_doing(name))?,
        );
    }
    progress.finish_and_clear();
    Ok(rows)
}

async fn measure_target(
    target: &Target,
    measurements: &[Measurement],
    time: Duration,
    progress: &ProgressBar,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let serving = target.serve(measurements).await?;
    for measurement in measurements {
        progress.set_message(format!("{} {measurement}", target.name()));
        let row = match &serving.endpoint {
            None => raw_tcp::measure(measurement, time).await?,
            Some(endpoint) => measure_one(endpoint, &serving.transport, measurement, time).await?,
        };
        rows.push(row);
        progress.inc(1);
    }
    serving.shut_down().await;
    Ok(rows)
}

/// Each measurement has a connection of its own, so that none inherits another's windows.
async fn measure_one(
    endpoint: &Endpoint,
    transport: &TransportConfig,
    measurement: &Measurement,
    time: Duration,
) -> Result<Row, Failure> {
    let config = protocol::config(measurement.size, measurement.channels);
    let connection = sessionwire::connect_with(endpoint, config, transport).await?;
    let measured = measure_over(&connection, endpoint, measurement, time).await?;
    // The server's side of it must not run into the next measurement.
    let _ = connection.drain(Duration::from_secs(1)).await;
    Ok(measured)
}

async fn measure_over(
    connection: &Connection,
    endpoint: &Endpoint,
    &Measurement {
        kind,
        size,
        channels,
    }: &Measurement,
    time: Duration,
) -> Result<Row, Failure> {
    let transport = endpoint.scheme().to_string();
    match kind {
        Kind::Bulk => {
            let bulk = measure::bulk(connection, size, channels, time).await?;
            Ok(Row::bulk(transport, size, channels, bulk))
        }
        Kind::Rtt => {
            let times = measure::round_trips(connection, size, time).await?;
            Ok(Row::round_trips(transport, size, times))
        }
    }
}

fn progress_bar(steps: usize) -> ProgressBar {
    // Standard error alone may be a terminal while the output goes to a file or a pipe.
    if !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(steps as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  (about {eta} left)");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// The name of the rows to compare with.
fn is_raw(row: &Row) -> bool {
    row.transport == RAW_TCP
}
