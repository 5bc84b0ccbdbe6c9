//! The results as a picture: throughput above, round trips below, a colour for each transport.

mod panel;
mod scale;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle, WHITE};

use self::panel::{Bar, Panel};
use super::plan::RAW_TCP;
use super::row::{Kind, Row};
use super::table::cores;
use crate::arguments::BenchOptions;
use crate::failure::Failure;

/// Draws all rows, answers the SVG.
pub(super) fn draw(rows: &[Row], options: &BenchOptions) -> Result<String, Failure> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH.unsigned_abs(), HEIGHT.unsigned_abs()))
        .into_drawing_area();
    let drawn = draw_all(&root, rows, options).and_then(|()| root.present());
    drop(root);
    match drawn {
        Ok(()) => Ok(svg),
        Err(error) => Err(Failure::new(
            format!("cannot draw the chart: {error}"),
            "use --json, and draw it with another program",
        )),
    }
}

type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

const WIDTH: i32 = 1600;
const HEIGHT: i32 = 1000;
const MARGIN: i32 = 60;
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT_INK: RGBColor = RGBColor(102, 102, 102);

/// A transport as the chart shows it.
struct Series<'r> {
    transport: &'r str,
    color: RGBColor,
}

fn draw_all(root: &Area<'_>, rows: &[Row], options: &BenchOptions) -> Drawn {
    root.fill(&WHITE)?;
    let series = series_of(rows);
    draw_title(root, options)?;
    draw_legend(root, &series)?;
    let sizes = sorted(rows.iter().map(|row| row.size));
    let counts = shown(&sorted(bulk_rows(rows).map(|row| row.channels)));
    for (index, &channels) in counts.iter().enumerate() {
        let (left, right) = column(index, counts.len());
        throughput(rows, &series, &sizes, channels, (left, 190, right, 570)).draw(root)?;
    }
    let round_trips = round_trips(rows, &series, &sizes, (MARGIN, 630, WIDTH - MARGIN, 930));
    round_trips.draw(root)
}

/// Two panels side by side at most: the fewest channels and the most.
fn shown(counts: &[usize]) -> Vec<usize> {
    let mut shown: Vec<_> = counts
        .first()
        .into_iter()
        .chain(counts.last())
        .copied()
        .collect();
    shown.dedup();
    shown
}

fn column(index: usize, of: usize) -> (i32, i32) {
    const GAP: i32 = 60;
    let middle = WIDTH / 2;
    match (of, index) {
        (1, _) => (MARGIN, WIDTH - MARGIN),
        (_, 0) => (MARGIN, middle - GAP / 2),
        _ => (middle + GAP / 2, WIDTH - MARGIN),
    }
}

fn throughput(
    rows: &[Row],
    series: &[Series<'_>],
    sizes: &[usize],
    channels: usize,
    bounds: (i32, i32, i32, i32),
) -> Panel {
    let plural = if channels == 1 { "" } else { "s" };
    let bar = |size: usize, transport: &str| {
        let found = bulk_rows(rows)
            .find(|row| row.channels == channels && row.size == size && row.transport == transport);
        found.map(|row| (row.mb_per_s, None))
    };
    Panel {
        title: format!("Throughput, {channels} channel{plural}"),
        unit: "MB/s of payload, log scale; higher is better",
        values: bulk_rows(rows).map(|row| row.mb_per_s).collect(),
        groups: groups(series, sizes, bar),
        bounds,
    }
}

fn round_trips(
    rows: &[Row],
    series: &[Series<'_>],
    sizes: &[usize],
    bounds: (i32, i32, i32, i32),
) -> Panel {
    let bar = |size: usize, transport: &str| {
        let found = rows
            .iter()
            .find(|row| row.kind == Kind::Rtt && row.size == size && row.transport == transport);
        found.and_then(|row| Some((row.p50_us?, row.p99_us)))
    };
    Panel {
        title: "Round trip, one message at a time".to_owned(),
        unit: "µs, log scale: bar p50, whisker p99; lower is better",
        values: rows
            .iter()
            .flat_map(|row| [row.p50_us, row.p99_us])
            .flatten()
            .collect(),
        groups: groups(series, sizes, bar),
        bounds,
    }
}

fn groups(
    series: &[Series<'_>],
    sizes: &[usize],
    bar: impl Fn(usize, &str) -> Option<(f64, Option<f64>)>,
) -> Vec<(String, Vec<Option<Bar>>)> {
    let bars = |size: usize| {
        let bars = series.iter().map(|series| {
            let (value, whisker) = bar(size, series.transport)?;
            Some(Bar {
                value,
                whisker,
                color: series.color,
            })
        });
        bars.collect()
    };
    sizes
        .iter()
        .map(|&size| (super::table::bytes(size), bars(size)))
        .collect()
}

fn series_of(rows: &[Row]) -> Vec<Series<'_>> {
    let mut series: Vec<Series<'_>> = Vec::new();
    for row in rows {
        if series.iter().all(|known| known.transport != row.transport) {
            series.push(Series {
                transport: &row.transport,
                color: color(&row.transport),
            });
        }
    }
    series
}

/// The colours of Okabe and Ito, which the colour-blind can tell apart; grey for what is compared with.
fn color(transport: &str) -> RGBColor {
    match transport {
        RAW_TCP => RGBColor(153, 153, 153),
        "memory" => RGBColor(230, 159, 0),
        "tcp" => RGBColor(0, 114, 178),
        "unix" => RGBColor(0, 158, 115),
        "ws" => RGBColor(204, 121, 167),
        "tls" => RGBColor(86, 180, 233),
        _ => RGBColor(213, 94, 0),
    }
}

fn draw_title(root: &Area<'_>, options: &BenchOptions) -> Drawn {
    let title = match &options.connect {
        Some(endpoint) => format!("sessionwire to {endpoint}"),
        None => "sessionwire by transport, beside raw TCP".to_owned(),
    };
    let subtitle = format!(
        "typed messages over one connection, serialised, decoded and checked  ·  {}  ·  {:?} a measurement",
        cores(),
        options.seconds
    );
    write_text(root, &title, (MARGIN, 30), 44, INK, HPos::Left)?;
    write_text(root, &subtitle, (MARGIN, 86), 23, FAINT_INK, HPos::Left)
}

fn draw_legend(root: &Area<'_>, series: &[Series<'_>]) -> Drawn {
    const BOX: i32 = 20;
    let mut left = MARGIN;
    for Series { transport, color } in series {
        let top = 134;
        let corners = [(left, top), (left + BOX, top + BOX)];
        root.draw(&Rectangle::new(corners, color.filled()))?;
        let label = match *transport {
            RAW_TCP => "raw TCP (nothing framed or checked)",
            other => other,
        };
        write_text(root, label, (left + BOX + 10, top - 1), 25, INK, HPos::Left)?;
        let length = i32::try_from(label.chars().count()).unwrap_or(0);
        left += BOX + 10 + length * 11 + 36;
    }
    Ok(())
}

/// Writes text whose top is at `place`. The backend writes sizes as 1/1.24 of what it is given.
fn write_text(
    root: &Area<'_>,
    text: &str,
    place: (i32, i32),
    size: i32,
    color: RGBColor,
    anchor: HPos,
) -> Drawn {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&color)
        .pos(Pos::new(anchor, VPos::Top));
    root.draw(&Text::new(text.to_owned(), place, style))
}

fn bulk_rows(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.kind == Kind::Bulk)
}

fn sorted(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
