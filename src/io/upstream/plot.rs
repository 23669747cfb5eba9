//! The picture of a plot: a function of its numbers, nothing else.
//!
//! The values are a line, the thresholds are dashed in red, the dead-band is shaded, the raise is a
//! vertical line with its time. All labels are numbers, written with strokes of our own: no fonts,
//! no language.

mod digits;

use chrono::{DateTime, FixedOffset};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};

use crate::engine::types::plot::{Level, Plot, Point};
use digits::{UNIT, advance, strokes, width};

/// Name of the file.
pub(super) const NAME: &str = "plot.png";
/// Its type.
pub(super) const KIND: &str = "image/png";

/// Size of the picture, in pixels.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 240;
/// The field of the values in it.
const LEFT: f32 = 62.0;
const RIGHT: f32 = WIDTH as f32 - 62.0;
const TOP: f32 = 26.0;
const BOTTOM: f32 = HEIGHT as f32 - 28.0;
/// Points are marked one by one up to so many.
const MARKS_MAX: usize = 60;
/// Labels at the right edge are at least so far apart.
const LABEL_GAP: f32 = 13.0;

/// How hard the file is packed, of 9: more takes longer than it saves.
const DEFLATE: u8 = 4;

type Ink = (u8, u8, u8, u8);
const VALUE: Ink = (9, 105, 218, 255);
const THRESHOLD: Ink = (207, 34, 46, 255);
const RETURN: Ink = (154, 103, 0, 255);
const BAND: Ink = (255, 211, 61, 72);
const RAISE: Ink = (36, 41, 47, 255);
const NUMBER: Ink = (87, 96, 106, 255);

/// The picture as PNG, some kilobytes; `None` for what cannot be drawn.
pub(super) fn png(plot: &Plot) -> Option<Vec<u8>> {
    let (first, last) = (plot.points.first()?, plot.points.last()?);
    let scale = Scale::of(plot, first.0, last.0);
    let mut canvas = Canvas(Pixmap::new(WIDTH, HEIGHT)?);
    canvas.0.fill(Color::WHITE);
    draw_levels(&mut canvas, &scale, plot);
    draw_raise(&mut canvas, &scale, plot);
    draw_values(&mut canvas, &scale, &plot.points);
    draw_axes(&mut canvas, &scale, plot);
    encode(&canvas.0)
}

/// Colours of the file: a palette makes it small, and quick to make.
const COLOURS_MAX: usize = 256;

/// PNG with a palette: each channel to one of eight steps, which is as smooth to the eye.
fn encode(pixmap: &Pixmap) -> Option<Vec<u8>> {
    let mut known: [Option<u8>; 1 << 9] = [None; 1 << 9];
    let mut palette: Vec<[u8; 3]> = Vec::new();
    let mut pixels = Vec::with_capacity(pixmap.pixels().len());
    let mut last = (*pixmap.pixels().first()?, None);
    for pixel in pixmap.pixels() {
        let index = match last {
            (before, Some(index)) if before == *pixel => index,
            _ => {
                // Every pixel is opaque: the ground is white.
                let steps = [pixel.red(), pixel.green(), pixel.blue()];
                let steps = steps.map(|channel| ((u32::from(channel) * 7 + 127) / 255) as u8);
                let colour = steps.iter().fold(0, |all, step| all << 3 | usize::from(*step));
                *known.get_mut(colour)?.get_or_insert_with(|| {
                    if palette.len() < COLOURS_MAX {
                        palette.push(steps.map(|step| (u32::from(step) * 255 / 7) as u8));
                    }
                    (palette.len() - 1) as u8
                })
            }
        };
        last = (*pixel, Some(index));
        pixels.push(index);
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_deflate_compression(png::DeflateCompression::Level(DEFLATE));
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(file)
}

/// Where times and values are in the picture.
struct Scale {
    from: i64,
    until: i64,
    least: f64,
    greatest: f64,
    /// Room above and below.
    room: f64,
}

impl Scale {
    fn of(plot: &Plot, first: i64, last: i64) -> Scale {
        let (mut from, mut until) = (first, last.max(first + 1));
        let (raised, span) = (plot.raised_at.micros(), until - from);
        // A ticket may be opened long after the raise: then its values are what there is to see.
        if (from - span..until + span).contains(&raised) {
            (from, until) = (from.min(raised), until.max(raised));
        }
        let levels = plot.points.iter().map(|Point(_, level)| level);
        let levels = levels.chain(&plot.thresholds).chain(&plot.clear);
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for level in levels {
            least = least.min(level.get().into());
            greatest = greatest.max(level.get().into());
        }
        let range = greatest - least;
        let room = if range > 0.0 { range * 0.08 } else { (greatest.abs() * 0.1).max(1.0) };
        Scale { from, until, least, greatest, room }
    }

    fn x(&self, at: i64) -> f32 {
        let share = (at - self.from) as f64 / (self.until - self.from) as f64;
        LEFT + (RIGHT - LEFT) * share as f32
    }

    fn y(&self, level: f32) -> f32 {
        let floor = self.least - self.room;
        let share = (f64::from(level) - floor) / (self.greatest + self.room - floor);
        BOTTOM - (BOTTOM - TOP) * share as f32
    }

    fn shows(&self, at: i64) -> bool {
        (self.from..=self.until).contains(&at)
    }
}

/// The dead-band, the thresholds and the levels of the return.
fn draw_levels(canvas: &mut Canvas, scale: &Scale, plot: &Plot) {
    for clear in plot.clear.iter().map(|clear| clear.get()) {
        let distance = |level: &Level| (f64::from(level.get()) - f64::from(clear)).abs();
        let nearest = plot.thresholds.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some(nearest) = nearest {
            let (a, b) = (scale.y(nearest.get()), scale.y(clear));
            canvas.fill_rect((LEFT, a.min(b), RIGHT, a.max(b)), BAND);
        }
    }
    let mut labels: Vec<f32> = Vec::new();
    let thresholds = plot.thresholds.iter().map(|level| (level.get(), THRESHOLD, 1.6));
    let clear = plot.clear.iter().map(|level| (level.get(), RETURN, 1.0));
    for (level, ink, thick) in thresholds.chain(clear) {
        let y = scale.y(level);
        canvas.line(&[(LEFT, y), (RIGHT, y)], ink, thick, Some([7.0, 4.0]));
        if labels.iter().all(|label| (label - y).abs() >= LABEL_GAP) {
            canvas.text(&number(level), (RIGHT + 6.0, y), Align::Left, ink);
            labels.push(y);
        }
    }
}

fn draw_raise(canvas: &mut Canvas, scale: &Scale, plot: &Plot) {
    let raised = plot.raised_at.micros();
    if !scale.shows(raised) {
        return;
    }
    let x = scale.x(raised);
    canvas.line(&[(x, TOP - 4.0), (x, BOTTOM)], RAISE, 1.4, None);
    canvas.fill(&[(x - 4.5, TOP - 6.0), (x + 4.5, TOP - 6.0), (x, TOP + 1.0)], RAISE);
    let text = time(raised, plot.utc_offset, "%Y-%m-%d %H:%M:%S");
    let half = width(&text) / 2.0;
    let middle = x.clamp(LEFT + half, (RIGHT - half).max(LEFT + half));
    canvas.text(&text, (middle, TOP - 15.0), Align::Middle, RAISE);
}

fn draw_values(canvas: &mut Canvas, scale: &Scale, points: &[Point]) {
    let places: Vec<(f32, f32)> =
        points.iter().map(|Point(at, level)| (scale.x(*at), scale.y(level.get()))).collect();
    canvas.line(&places, VALUE, 1.8, None);
    if places.len() <= MARKS_MAX {
        for (x, y) in places {
            canvas.dot(x, y, 2.6, VALUE);
        }
    }
}

/// The least and the greatest number, the first and the last time.
fn draw_axes(canvas: &mut Canvas, scale: &Scale, plot: &Plot) {
    canvas.line(&[(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)], NUMBER, 1.0, None);
    let ends = [scale.greatest as f32, scale.least as f32];
    for level in ends.into_iter().take(if ends[0] > ends[1] { 2 } else { 1 }) {
        let y = scale.y(level);
        canvas.line(&[(LEFT - 4.0, y), (LEFT, y)], NUMBER, 1.0, None);
        canvas.text(&number(level), (LEFT - 8.0, y), Align::Right, NUMBER);
    }
    let is_short = scale.until - scale.from < 20 * 3_600_000_000;
    let pattern = if is_short { "%H:%M:%S" } else { "%m-%d %H:%M" };
    for (at, x, align) in [(scale.from, LEFT, Align::Left), (scale.until, RIGHT, Align::Right)] {
        canvas.text(&time(at, plot.utc_offset, pattern), (x, BOTTOM + 14.0), align, NUMBER);
    }
}

/// A time at the gateway's place.
fn time(micros: i64, offset: i32, pattern: &str) -> String {
    let zone = FixedOffset::east_opt(offset);
    let at = DateTime::from_timestamp_micros(micros);
    let at = at.zip(zone).map(|(at, zone)| at.with_timezone(&zone));
    at.map(|at| at.format(pattern).to_string()).unwrap_or_default()
}

/// A number of at most eight characters, with an exponent where it is very large or
/// very small.
fn number(number: f32) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{number:.1e}");
    }
    let decimals = match size {
        10_000.0.. => 0,
        1_000.0.. => 1,
        10.0.. => 2,
        1.0.. => 3,
        _ => 4,
    };
    let text = format!("{number:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where a text stands to its place.
#[derive(Clone, Copy)]
enum Align {
    Left,
    Middle,
    Right,
}

struct Canvas(Pixmap);

impl Canvas {
    fn line(&mut self, places: &[(f32, f32)], ink: Ink, thick: f32, dash: Option<[f32; 2]>) {
        let mut path = PathBuilder::new();
        add_line(&mut path, places.iter().copied());
        let dash = dash.and_then(|dash| StrokeDash::new(dash.to_vec(), 0.0));
        self.stroke(path.finish(), ink, thick, dash);
    }

    fn stroke(&mut self, path: Option<Path>, ink: Ink, width: f32, dash: Option<StrokeDash>) {
        let (line_cap, line_join) = match dash {
            Some(_) => (LineCap::Butt, LineJoin::Miter),
            None => (LineCap::Round, LineJoin::Round),
        };
        let stroke = Stroke { width, line_cap, line_join, dash, ..Stroke::default() };
        if let Some(path) = path {
            self.0.stroke_path(&path, &paint(ink), &stroke, Transform::identity(), None);
        }
    }

    fn fill(&mut self, places: &[(f32, f32)], ink: Ink) {
        let mut path = PathBuilder::new();
        add_line(&mut path, places.iter().copied());
        path.close();
        self.fill_path(path.finish(), ink);
    }

    fn fill_path(&mut self, path: Option<Path>, ink: Ink) {
        if let Some(path) = path {
            let rule = FillRule::Winding;
            self.0.fill_path(&path, &paint(ink), rule, Transform::identity(), None);
        }
    }

    fn fill_rect(&mut self, (left, top, right, bottom): (f32, f32, f32, f32), ink: Ink) {
        if let Some(rect) = Rect::from_ltrb(left, top, right, bottom) {
            self.0.fill_rect(rect, &paint(ink), Transform::identity(), None);
        }
    }

    fn dot(&mut self, x: f32, y: f32, radius: f32, ink: Ink) {
        self.fill_path(PathBuilder::from_circle(x, y, radius), ink);
    }

    /// Digits whose middle is at this height.
    fn text(&mut self, text: &str, (x, y): (f32, f32), align: Align, ink: Ink) {
        let left = match align {
            Align::Left => x,
            Align::Middle => x - width(text) / 2.0,
            Align::Right => x - width(text),
        };
        let mut path = PathBuilder::new();
        let mut at = left.max(1.0);
        for sign in text.chars() {
            for strokes in strokes(sign) {
                let place = |(a, b): &(f32, f32)| (at + a * UNIT, y + (b - 3.0) * UNIT);
                add_line(&mut path, strokes.iter().map(place));
            }
            at += advance(sign);
        }
        self.stroke(path.finish(), ink, 1.25, None);
    }
}

fn add_line(path: &mut PathBuilder, places: impl Iterator<Item = (f32, f32)>) {
    for (number, (x, y)) in places.enumerate() {
        match number {
            0 => path.move_to(x, y),
            _ => path.line_to(x, y),
        }
    }
}

fn paint((red, green, blue, alpha): Ink) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, alpha);
    paint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::time::Timestamp;

    const START: i64 = 1_767_225_600_000_000;

    fn plot(values: &[f64], thresholds: &[f64], clear: &[f64], raised: i64) -> Plot {
        let levels = |all: &[f64]| all.iter().map(|value| Level::of(*value).unwrap()).collect();
        let points = (0..).zip(values);
        Plot {
            metric: "温度".into(),
            points: points
                .map(|(n, value)| Point(START + n * 1_000_000, Level::of(*value).unwrap()))
                .collect(),
            thresholds: levels(thresholds),
            clear: levels(clear),
            raised_at: Timestamp::from_micros(START + raised * 1_000_000),
            utc_offset: 28_800,
        }
    }

    /// Red, green and blue of every pixel, row by row.
    fn pixels(file: &[u8]) -> Vec<[u8; 3]> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((frame.width, frame.height), (WIDTH, HEIGHT));
        bytes.chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect()
    }

    fn at(pixels: &[[u8; 3]], x: f32, y: f32) -> [u8; 3] {
        pixels[y as usize * WIDTH as usize + x as usize]
    }

    #[test]
    fn threshold_dead_band_and_raise_are_where_they_belong() {
        let plot = plot(&[20.0, 30.0, 50.0, 60.0, 95.0], &[80.0], &[70.0], 3);
        let scale = Scale::of(&plot, START, START + 4_000_000);
        let file = png(&plot).unwrap();
        let pixels = pixels(&file);
        let row = scale.y(80.0).round();
        let is_red = |[r, g, b]: [u8; 3]| r > 180 && g < 130 && b < 130;
        let red =
            (LEFT as u32..RIGHT as u32).filter(|x| is_red(at(&pixels, *x as f32, row))).count();
        assert!((200..500).contains(&red), "dashes: {red} pixels");
        let [r, g, b] = at(&pixels, LEFT + 40.0, scale.y(75.0));
        assert!(r > 200 && g > 200 && b < 220, "the dead-band is yellow: {r} {g} {b}");
        assert_eq!(at(&pixels, LEFT + 40.0, scale.y(90.0)), [255; 3], "above it all is white");
        let raise = scale.x(START + 3_000_000);
        let [r, g, b] = at(&pixels, raise, scale.y(90.0));
        assert!(r < 160 && g < 160 && b < 160, "the raise is dark: {r} {g} {b}");
        let [r, g, b] = at(&pixels, scale.x(START + 2_000_000), scale.y(50.0));
        assert!(r < 80 && b > 180, "the values are blue: {r} {g} {b}");
        assert_eq!(png(&plot), Some(file), "the same plot is the same file");
    }

    #[test]
    fn any_numbers_make_a_small_picture() {
        let wild: Vec<f64> = (0..crate::engine::types::plot::POINTS_MAX as i64)
            .map(|n| if n % 2 == 0 { 0.0 } else { 100.0 + (n * n % 97) as f64 })
            .collect();
        for (values, levels) in [
            (wild.as_slice(), [20.0, 33.0, 70.0, 80.0]),
            (&[3.4e38, -3.4e38], [0.0, 1.0, -1.0, 1e38]),
            (&[0.0, 0.0], [0.0; 4]),
            (&[1e-30, 2e-30], [1e-31; 4]),
        ] {
            for raised in [-1_000_000_000, -5, 0, 50, i64::MAX / 2_000_000] {
                let file = png(&plot(values, &levels, &levels[..2], raised)).unwrap();
                assert!(file.len() < 20_000, "{} bytes", file.len());
                assert!(pixels(&file).iter().any(|pixel| *pixel != [255; 3]));
            }
        }
        assert_eq!(png(&plot(&[], &[], &[], 0)), None);
    }

    #[test]
    fn numbers_and_times_are_short() {
        let told = [-12.1, 0.0, 1_013.25, 123_456.0, 21.9812, 0.001_25, 2.5e9, -9e-10].map(number);
        assert_eq!(
            told,
            ["-12.1", "0", "1013.2", "123456", "21.98", "0.0012", "2.5e9", "-9.0e-10"]
        );
        assert_eq!(time(START, 28_800, "%m-%d %H:%M:%S"), "01-01 08:00:00");
        assert_eq!(time(i64::MAX, 28_800, "%H:%M"), "");
    }
}
