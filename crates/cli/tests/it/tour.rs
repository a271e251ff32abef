//! The tour of README.md: what it shows is what is printed.

use crate::Place;

/// The fenced blocks of a page: what stands behind the fence, and the lines.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<_> = lines.by_ref().take_while(|line| *line != "```").map(str::trim_end).collect();
            blocks.push((language, body.join("\n").trim().to_owned()));
        }
    }
    blocks
}

#[test]
fn the_tour_is_true() {
    let readme = include_str!("../../../../README.md");
    let blocks = blocks(readme);
    let place = Place::new();
    let mut steps = 0;
    for pair in blocks.windows(2) {
        let [(language, sql), (next, expected)] = pair else { continue };
        if *language != "sql" {
            continue;
        }
        assert_eq!(*next, "text", "each step of the tour is followed by what it prints:\n{sql}");
        let printed = place.run("sql", &[], sql).text;
        let printed: Vec<_> = printed.lines().map(str::trim_end).collect();
        assert_eq!(printed.join("\n").trim(), expected, "{sql}");
        steps += 1;
    }
    assert!(steps >= 6, "the tour has {steps} steps");
}
