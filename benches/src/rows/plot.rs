//! Plots as SVG. The same numbers give the same bytes. Background and text follow the reader's light or dark mode; lines and bars have
//! colours that can be told apart on both.

use anyhow::{Context as _, anyhow};
use plotters::coord::Shift;
use plotters::coord::combinators::{BindKeyPoints as _, WithKeyPoints};
use plotters::coord::types::RangedCoordi32;
use plotters::prelude::*;

use super::document::spoken;
use super::measure::Row;
use super::opening::Opening;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);
const BLUE: RGBColor = RGBColor(0x2f, 0x81, 0xd0);
const ORANGE: RGBColor = RGBColor(0xd9, 0x73, 0x0d);
const GREY: RGBColor = RGBColor(0x8b, 0x94, 0x9e);

/// A rule of a style sheet goes before an attribute, so what is drawn in ink and grid changes with the reader's mode.
const STYLE: &str = "<style>@media (prefers-color-scheme: dark) {\n\
    [fill=\"#1F2328\"] { fill: #e6edf3 } [stroke=\"#1F2328\"] { stroke: #e6edf3 } [stroke=\"#D1D9E0\"] { stroke: #3d444d }\n\
    }</style>\n";

/// Nanoseconds over flows, both on logarithmic scales: each way beside the usual design's.
pub(crate) fn flows(rows: &[Row]) -> anyhow::Result<String> {
    const PANELS: [(&str, &str, &str); 3] = [
        ("direct routing, IPv4", "direct", "ipv4"),
        ("IP in IP, IPv4", "ipip", "ipv4"),
        ("direct routing, IPv6", "direct", "ipv6"),
    ];
    const SERIES: [(&str, &str, RGBColor); 3] = [
        ("usual design", "baseline-usual", ORANGE),
        ("XVS", "xvs-tcp", BLUE),
        ("memory floor", "baseline-floor", GREY),
    ];
    let lines = PANELS.map(|(_, method, family)| {
        SERIES.map(|(_, name, _)| {
            // The floor belongs to direct routing: a tunnel does more than that with the packet.
            let of = if name == "baseline-floor" && method == "direct" { "-" } else { method };
            rows.iter()
                .filter(|row| (&*row.name, &*row.method, &*row.family) == (name, of, family))
                .map(|row| (thousandths(f64::from(row.flows).log2()), row.ns))
                .collect::<Vec<_>>()
        })
    });
    let all = || lines.iter().flatten().flatten();
    let values = Scale::of(all().map(|(_, ns)| *ns))?;
    let mut ticks: Vec<i32> = all().map(|(flows, _)| *flows).collect();
    ticks.sort_unstable();
    ticks.dedup();
    let last = ticks.last().copied().unwrap_or_default().max(1000);
    drawn((1080, 360), |root| {
        for ((area, (title, ..)), lines) in root.split_evenly((1, 3)).iter().zip(PANELS).zip(&lines) {
            let mut chart = ChartBuilder::on(area)
                .caption(title, ("sans-serif", 16).with_color(INK))
                .margin(10)
                .margin_right(20)
                .x_label_area_size(40)
                .y_label_area_size(50)
                .build_cartesian_2d((0..last).with_key_points(ticks.clone()), values.axis())?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .bold_line_style(GRID)
                .axis_style(INK)
                .label_style(("sans-serif", 13).with_color(INK))
                .x_label_formatter(&|flows| spoken((f64::from(*flows) / 1000.0).exp2().round() as u32))
                .y_label_formatter(&|value| values.label(*value))
                .x_desc("flows")
                .y_desc("ns a packet")
                .draw()?;
            for ((name, _, colour), line) in SERIES.iter().zip(lines) {
                if line.is_empty() {
                    continue;
                }
                let colour = *colour;
                let points = line.iter().map(|(flows, ns)| (*flows, Scale::at(*ns)));
                chart
                    .draw_series(LineSeries::new(points, colour.stroke_width(2).filled()).point_size(3))?
                    .label(*name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .label_font(("sans-serif", 13).with_color(INK))
                .draw()?;
        }
        Ok(())
    })
}

/// Nanoseconds of a new connection's first packet by scheduler, a bar for each number of reals, on a logarithmic scale.
pub(crate) fn schedulers(openings: &[Opening]) -> anyhow::Result<String> {
    const COLOURS: [RGBColor; 3] = [BLUE, ORANGE, GREY];
    let mut names: Vec<_> = openings.iter().map(|opening| &*opening.scheduler).collect();
    names.dedup();
    let mut sizes: Vec<_> = openings.iter().map(|opening| opening.reals).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let values = Scale::of(openings.iter().map(|opening| opening.ns))?;
    let middles: Vec<_> = (0..names.len()).map(|place| thousandths(place as f64 + 0.5)).collect();
    drawn((1080, 360), |root| {
        let mut chart = ChartBuilder::on(root)
            .caption("first packet of a connection", ("sans-serif", 16).with_color(INK))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((0..thousandths(names.len() as f64)).with_key_points(middles.clone()), values.axis())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(("sans-serif", 13).with_color(INK))
            .x_label_formatter(&|place| names.get((*place / 1000) as usize).copied().unwrap_or_default().to_owned())
            .y_label_formatter(&|value| values.label(*value))
            .x_desc("scheduler")
            .y_desc("ns a packet")
            .draw()?;
        let width = 0.8 / sizes.len() as f64;
        for ((nth, size), colour) in sizes.iter().enumerate().zip(COLOURS) {
            let bars = openings.iter().filter(|opening| opening.reals == *size).filter_map(|opening| {
                let place = names.iter().position(|name| *name == opening.scheduler)?;
                let left = place as f64 + 0.1 + nth as f64 * width;
                let (left, right) = (thousandths(left), thousandths(left + width));
                Some(Rectangle::new([(left, values.bottom()), (right, Scale::at(opening.ns))], colour.filled()))
            });
            chart
                .draw_series(bars)?
                .label(format!("{size} reals"))
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 13).with_color(INK))
            .draw()?;
        Ok(())
    })
}

/// Draws, and lets the colours follow the reader's mode.
fn drawn(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawingAreaErrorKind<std::io::Error>>,
) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&root).and_then(|()| root.present()).map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    let head = text.find("<svg").and_then(|at| text[at..].find('>').map(|end| at + end + 1)).context("no SVG")?;
    let (head, rest) = text.split_at(head);
    Ok(format!("{head}\n{STYLE}{}\n", rest.trim_start()))
}

/// Places on an axis are whole numbers: the library labels chosen places of such axes only.
fn thousandths(place: f64) -> i32 {
    (place * 1000.0).round() as i32
}

/// A logarithmic scale from one of 1, 2, 5, 10, ... to another.
#[derive(Debug)]
struct Scale(Vec<f64>);

impl Scale {
    /// Around all values, which are more than 0.
    fn of(values: impl Iterator<Item = f64>) -> anyhow::Result<Self> {
        let (least, most) =
            values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
        anyhow::ensure!(least > 0.0 && most >= least, "nothing that could be drawn on a logarithmic scale");
        let steps: Vec<f64> = (0..18).map(|n| [1.0, 2.0, 5.0][n % 3] * 10f64.powi(n as i32 / 3)).collect();
        let first = steps.iter().rposition(|step| *step <= least).unwrap_or(0);
        let last = steps.iter().position(|step| *step >= most).unwrap_or(steps.len() - 1).max(first + 1);
        Ok(Self(steps[first..=last].to_vec()))
    }

    fn axis(&self) -> WithKeyPoints<RangedCoordi32> {
        let keys: Vec<_> = self.0.iter().map(|step| Self::at(*step)).collect();
        (keys[0]..keys[keys.len() - 1]).with_key_points(keys)
    }

    fn bottom(&self) -> i32 {
        Self::at(self.0[0])
    }

    /// Where a value is on the axis.
    fn at(value: f64) -> i32 {
        thousandths(value.log10())
    }

    /// The step at a place.
    fn label(&self, at: i32) -> String {
        self.0.iter().find(|step| Self::at(**step) == at).map(f64::to_string).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, method: &str, flows: u32, ns: f64) -> Row {
        let (name, method, family) = (name.to_owned(), method.to_owned(), "ipv4".to_owned());
        Row { name, method, family, flows, ns, min: ns, max: ns, samples: vec![ns], insns: 1, stack: 32 }
    }

    #[test]
    fn a_scale_begins_and_ends_at_round_numbers() {
        assert_eq!(Scale::of([13.6, 437.0].into_iter()).unwrap().0, [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        assert_eq!(Scale::of([20.0].into_iter()).unwrap().0, [20.0, 50.0]);
        assert_eq!(Scale::of([0.4, 3.0].into_iter()).unwrap().0, [1.0, 2.0, 5.0]);
        let most = Scale::of([5000.0, 16000.0].into_iter()).unwrap();
        assert_eq!((most.label(Scale::at(20000.0)), most.label(7)), ("20000".to_owned(), String::new()));
        assert!(Scale::of([].into_iter()).is_err());
        assert!(Scale::of([-1.0, 3.0].into_iter()).is_err());
    }

    #[test]
    fn the_same_rows_draw_the_same_lines() {
        let rows = [
            row("xvs-tcp", "direct", 1, 13.6),
            row("xvs-tcp", "direct", 1 << 20, 200.0),
            row("baseline-usual", "direct", 1, 55.8),
            row("baseline-floor", "-", 1 << 20, 150.0),
        ];
        let text = flows(&rows).unwrap();
        assert_eq!(text, flows(&rows).unwrap());
        // One line of two points; a line for each series in the first panel's legend; all colours of ink are in the style.
        assert_eq!(text.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#2F81D0\"").count(), 2);
        assert_eq!(text.matches("usual design").count(), 1);
        assert_eq!(text.matches("memory floor").count(), 1);
        assert!(text.contains("8 k") || text.contains("1 M"), "{text}");
        assert!(text.contains("prefers-color-scheme") && text.contains("fill=\"#1F2328\""));
    }

    #[test]
    fn a_bar_is_drawn_for_each_scheduler_and_size() {
        let opening =
            |scheduler: &str, reals, ns| Opening { scheduler: scheduler.to_owned(), reals, ns, min: ns, max: ns };
        let all = [
            opening("rr", 10, 100.0),
            opening("rr", 1000, 110.0),
            opening("lc", 10, 200.0),
            opening("lc", 1000, 9000.0),
        ];
        let text = schedulers(&all).unwrap();
        // Two bars and a patch of the legend.
        assert_eq!(text.matches("fill=\"#2F81D0\"").count(), 3);
        assert_eq!(text.matches("fill=\"#D9730D\"").count(), 3);
        assert!(schedulers(&[]).is_err());
    }
}
