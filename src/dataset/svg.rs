//! Small bar charts as SVG: the same numbers give the same bytes.

/// Width of the whole, of the labels before the bars, and of the numbers after them; pixels.
const WIDTH: usize = 640;
const LABELS: usize = 200;
const NUMBERS: usize = 90;
/// Height of a bar, and from one to the next.
const BAR: usize = 16;
const STEP: usize = 22;
/// Characters of a label that fit before its bar.
const LABEL_CHARS: usize = 28;
/// Colours that people who see colours otherwise can tell apart; one a series, from the first again when they are used up.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// A bar: its label, and a number a series that lie one after another in it.
pub struct Bar {
    /// Stands before it.
    pub label: String,
    /// The lengths of its parts.
    pub parts: Vec<u64>,
}

/// Horizontal bars below a title, with a legend of the series.
pub fn bars(title: &str, series: &[String], bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.parts.iter().sum::<u64>()).max().unwrap_or_default().max(1);
    let height = 2 * STEP + bars.len() * STEP + 12;
    let mut lines = vec![
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" role="img">"#
        ),
        format!("<title>{}</title>", escape(title)),
        format!(r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##),
        format!(r#"<text x="8" y="16" font-weight="bold">{}</text>"#, escape(title)),
    ];
    lines.extend(legend(series));
    for (at, bar) in bars.iter().enumerate() {
        lines.extend(drawn(bar, 2 * STEP + at * STEP, longest));
    }
    lines.push("</svg>\n".to_owned());
    lines.join("\n")
}

fn legend(series: &[String]) -> Vec<String> {
    let step = (WIDTH - LABELS) / series.len().max(1);
    let entry = |(at, name): (usize, &String)| {
        let (x, y) = (LABELS + at * step, STEP + 8);
        format!(
            r#"<rect x="{x}" y="{}" width="10" height="10" fill="{}"/><text x="{}" y="{y}">{}</text>"#,
            y - 9,
            colour(at),
            x + 14,
            escape(name)
        )
    };
    series.iter().enumerate().map(entry).collect()
}

fn drawn(bar: &Bar, y: usize, longest: u64) -> Vec<String> {
    let room = (WIDTH - LABELS - NUMBERS) as f64;
    let width = |number: u64| number as f64 / longest as f64 * room;
    let baseline = y + BAR - 4;
    let mut lines = vec![format!(
        r#"<text x="{}" y="{baseline}" text-anchor="end">{}</text>"#,
        LABELS - 8,
        escape(&cut(&bar.label))
    )];
    let mut before = 0;
    for (at, part) in bar.parts.iter().enumerate() {
        let (x, width) = (LABELS as f64 + width(before), width(*part));
        lines.push(format!(r#"<rect x="{x:.1}" y="{y}" width="{width:.1}" height="{BAR}" fill="{}"/>"#, colour(at)));
        before += part;
    }
    let x = LABELS as f64 + width(before) + 6.0;
    lines.push(format!(r#"<text x="{x:.1}" y="{baseline}">{before}</text>"#));
    lines
}

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(LABEL_CHARS).collect();
    if short.len() < text.len() {
        short.pop();
        short.push('…');
    }
    short
}

fn escape(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    printable.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_number() {
        let bars = [("a <b>", [10, 10]), ("c", [5, 0])];
        let bars: Vec<Bar> =
            bars.iter().map(|(label, parts)| Bar { label: (*label).to_owned(), parts: parts.to_vec() }).collect();
        let drawn = super::bars("T & t", &["train".to_owned(), "test".to_owned()], &bars);
        assert!(drawn.contains("<title>T &amp; t</title>") && drawn.contains("a &lt;b&gt;"), "{drawn}");
        assert!(
            drawn.contains(r#"x="200.0" y="44" width="175.0""#) && drawn.contains(r#"x="375.0" y="44" width="175.0""#)
        );
        assert!(drawn.contains(r#"x="200.0" y="66" width="87.5""#), "{drawn}");
        assert!(drawn.contains(">20</text>") && drawn.contains(">5</text>"));
    }

    #[test]
    fn nothing_to_draw_is_no_division_by_zero() {
        assert!(bars("t", &[], &[Bar { label: "a".to_owned(), parts: vec![0] }]).contains(r#"width="0.0""#));
    }
}
