/// A logarithmic axis from bottom to top.
pub(super) struct Scale {
    least: f64,
    most: f64,
    bottom: i32,
    top: i32,
}

/// A line across the panel.
pub(super) struct Mark {
    pub(super) value: f64,
    /// Whether it is a power of ten.
    pub(super) is_decade: bool,
}

impl Scale {
    /// An axis on which all values have some height, and room above.
    pub(super) fn over(values: impl Iterator<Item = f64>, bottom: i32, top: i32) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        if most == 0.0 {
            (least, most) = (1.0, 10.0);
        }
        let least = 10_f64.powf((least / 3.0).log10().floor());
        let most = (most * 2.0).max(least * 10.0);
        Self {
            least,
            most,
            bottom,
            top,
        }
    }

    /// Where a value is.
    pub(super) fn place(&self, value: f64) -> i32 {
        let share =
            (value.clamp(self.least, self.most) / self.least).ln() / (self.most / self.least).ln();
        let height = f64::from(self.bottom - self.top) * share;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it lies within the picture"
        )]
        let height = height.round() as i32;
        self.bottom - height
    }

    /// 1, 2 and 5 of each decade.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        let mut decade = self.least;
        while decade <= self.most {
            for factor in [1.0, 2.0, 5.0] {
                let value = decade * factor;
                if value <= self.most {
                    marks.push(Mark {
                        value,
                        is_decade: factor < 2.0,
                    });
                }
            }
            decade *= 10.0;
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_the_ends_in_order() {
        let scale = Scale::over([30.0, 4000.0].into_iter(), 500, 100);
        let places = [10.0, 30.0, 4000.0, 8000.0].map(|value| scale.place(value));
        assert_eq!(places.first(), Some(&500));
        assert_eq!(places.last(), Some(&100));
        assert!(places.is_sorted_by(|lower, higher| lower > higher));
        let decades = scale.marks().into_iter().filter(|mark| mark.is_decade);
        assert_eq!(decades.count(), 3);
    }

    #[test]
    fn no_values_make_an_axis_all_the_same() {
        let scale = Scale::over(std::iter::empty(), 10, 0);
        assert!(scale.marks().len() >= 4);
    }
}
