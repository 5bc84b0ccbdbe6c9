use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor, ShapeStyle, WHITE};

use super::scale::Scale;
use super::{Area, Drawn, FAINT_INK, INK, write_text};

/// A chart of bars in groups.
pub(super) struct Panel {
    pub(super) title: String,
    /// What the axis counts.
    pub(super) unit: &'static str,
    /// What the axis must have room for: the same for panels that are to be compared.
    pub(super) values: Vec<f64>,
    /// A bar for each series, if it has one.
    pub(super) groups: Vec<(String, Vec<Option<Bar>>)>,
    /// Left, top, right, bottom.
    pub(super) bounds: (i32, i32, i32, i32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    pub(super) value: f64,
    pub(super) whisker: Option<f64>,
    pub(super) color: RGBColor,
}

impl Panel {
    pub(super) fn draw(&self, root: &Area<'_>) -> Drawn {
        let (left, top, right, bottom) = self.bounds;
        write_text(root, &self.title, (left, top), 30, INK, HPos::Left)?;
        write_text(
            root,
            self.unit,
            (right, top + 7),
            21,
            FAINT_INK,
            HPos::Right,
        )?;
        let values = self.values.iter().copied();
        let scale = Scale::over(values, bottom - GROUP_LABEL, top + HEADING);
        self.draw_axis(root, &scale)?;
        let start = left + AXIS_LABEL;
        let count = i32::try_from(self.groups.len().max(1)).unwrap_or(1);
        for (index, (label, bars)) in (0..).zip(&self.groups) {
            let from = start + (right - start) * index / count;
            let to = start + (right - start) * (index + 1) / count;
            let below = (i32::midpoint(from, to), bottom - GROUP_LABEL + 8);
            write_text(root, label, below, 24, INK, HPos::Center)?;
            draw_group(root, &scale, bars, from, to)?;
        }
        let base = scale.place(0.0);
        line(root, [(start, base), (right, base)], INK.stroke_width(2))
    }

    fn draw_axis(&self, root: &Area<'_>, scale: &Scale) -> Drawn {
        let (left, _, right, _) = self.bounds;
        let start = left + AXIS_LABEL;
        for mark in scale.marks() {
            let height = scale.place(mark.value);
            let grey = if mark.is_decade { 200 } else { 236 };
            let style = RGBColor(grey, grey, grey).stroke_width(1);
            line(root, [(start, height), (right, height)], style)?;
            if mark.is_decade {
                let place = (start - 10, height - 8);
                write_text(
                    root,
                    &compact(mark.value),
                    place,
                    21,
                    FAINT_INK,
                    HPos::Right,
                )?;
            }
        }
        Ok(())
    }
}

/// Room for the title above the bars, for the groups' names below them, and for the axis' numbers
/// left of them.
const HEADING: i32 = 50;
const GROUP_LABEL: i32 = 34;
const AXIS_LABEL: i32 = 70;

const WIDEST_BAR: i32 = 90;
/// Bars narrower than this have no room for their value.
const LABELLED_WIDTH: i32 = 27;
/// From this width on a value can be written larger.
const ROOMY_WIDTH: i32 = 44;
const LABEL_HEIGHT: i32 = 24;

fn draw_group(root: &Area<'_>, scale: &Scale, bars: &[Option<Bar>], from: i32, to: i32) -> Drawn {
    let count = i32::try_from(bars.len().max(1)).unwrap_or(1);
    let width = ((to - from) * 19 / 20 / count).clamp(1, WIDEST_BAR);
    let mut left = (from + to - width * count) / 2;
    for bar in bars {
        if let Some(bar) = bar {
            draw_bar(root, scale, bar, left, width)?;
        }
        left += width;
    }
    Ok(())
}

fn draw_bar(root: &Area<'_>, scale: &Scale, bar: &Bar, left: i32, width: i32) -> Drawn {
    const GAP: i32 = 2;
    let (top, base) = (scale.place(bar.value), scale.place(0.0));
    let corners = [(left + GAP / 2, top), (left + width - GAP / 2, base)];
    root.draw(&Rectangle::new(corners, bar.color.filled()))?;
    let middle = left + width / 2;
    let Some(whisker) = bar.whisker else {
        return draw_label(root, bar.value, (middle, top - LABEL_HEIGHT), width, INK);
    };
    let end = scale.place(whisker);
    draw_whisker(root, middle, top, end)?;
    draw_label(root, whisker, (middle, end - LABEL_HEIGHT), width, INK)?;
    draw_label(
        root,
        bar.value,
        (middle, base - LABEL_HEIGHT),
        width,
        on(bar.color),
    )
}

fn draw_label(
    root: &Area<'_>,
    value: f64,
    place: (i32, i32),
    width: i32,
    color: RGBColor,
) -> Drawn {
    if width < LABELLED_WIDTH {
        return Ok(());
    }
    let size = if width < ROOMY_WIDTH { 16 } else { 22 };
    write_text(root, &compact(value), place, size, color, HPos::Center)
}

/// What can be read on a colour.
fn on(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let brightness = u32::from(red) * 3 + u32::from(green) * 6 + u32::from(blue);
    if brightness > 1300 { INK } else { WHITE }
}

fn draw_whisker(root: &Area<'_>, middle: i32, bottom: i32, top: i32) -> Drawn {
    const HALF: i32 = 7;
    line(root, [(middle, bottom), (middle, top)], INK.stroke_width(2))?;
    line(
        root,
        [(middle - HALF, top), (middle + HALF, top)],
        INK.stroke_width(2),
    )
}

fn line(root: &Area<'_>, points: [(i32, i32); 2], style: ShapeStyle) -> Drawn {
    root.draw(&PathElement::new(points.to_vec(), style))
}

/// A number in at most four characters.
fn compact(value: f64) -> String {
    match value {
        value if value >= 999_500.0 => format!("{:.1}M", value / 1e6),
        value if value >= 9950.0 => format!("{:.0}k", value / 1e3),
        value if value >= 999.5 => format!("{:.1}k", value / 1e3).replace(".0k", "k"),
        value if value >= 9.95 => format!("{value:.0}"),
        value if value >= 0.95 => format!("{value:.1}").replace(".0", ""),
        value if value >= 0.095 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let written = [
            0.01, 0.1, 1.0, 6.61, 42.4, 999.4, 999.6, 1234.0, 9990.0, 1.5e6,
        ]
        .map(compact);
        assert_eq!(
            written,
            [
                "0.01", "0.1", "1", "6.6", "42", "999", "1k", "1.2k", "10k", "1.5M"
            ]
        );
    }
}
