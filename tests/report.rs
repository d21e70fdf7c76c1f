//! report.html: complete, safe, by itself, and readable on a narrow screen.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Folder, needs};

/// What every page of its kind shows.
const COMPARISON: &str = "verdict scores paired efficiency curves training labels mistakes fairness pretraining audit data runs methods config";
const FINE_TUNING: &str = "verdict scores course points more mistakes data config";
const PRE_TRAINING: &str = "verdict figures samples config";

/// A comparison with a message that tries to be markup.
fn compared() -> Folder {
    let folder = Folder::new();
    let nasty = "<script>document.title='broken'</script> & <b>bold</b> \"quoted\" 'text' \u{1f600}";
    let rows: String =
        (0..6).map(|i| format!("{}\t{nasty} {}\n", ["ham", "spam"][i % 2], "x".repeat(i + 1))).collect();
    folder.write("messages.tsv", folder.text("messages.tsv") + &rows);
    folder.run("compare --config compare.toml").done();
    folder
}

const PAGES: [(&str, &str); 3] = [
    ("compared/report.html", COMPARISON),
    ("compared/scratch-20-seed1/report.html", FINE_TUNING),
    ("compared/pretrain/report.html", PRE_TRAINING),
];

#[test]
fn pages_are_complete_and_need_nothing_else() {
    let folder = compared();
    for (page, sections) in PAGES {
        let html = folder.text(page);
        for section in sections.split_whitespace() {
            assert!(html.contains(&format!("<section id=\"{section}\"")), "{page} has no section {section}");
        }
        for outside in ["http:", "https:", "//", "src=", "url(", "@import", "<script", "<b>"] {
            assert!(!html.contains(outside), "{page} holds {outside}");
        }
        assert!(!html.contains("NaN"), "{page} holds NaN");
        assert!(html.matches("<svg viewBox").count() >= 3, "{page} has too few plots");
    }
    let comparison = folder.text("compared/report.html");
    assert!(comparison.find("id=\"verdict\"") < comparison.find("id=\"first\""), "the verdict comes first");
    assert!(comparison.contains("href=\"pretrained-20-seed1/report.html\""));
}

#[test]
fn a_report_is_made_again_from_what_is_stored() {
    let folder = compared();
    let before = folder.text("compared/report.html");
    folder.remove("compared/report.html");
    folder.run("report compared").done();
    assert_eq!(folder.text("compared/report.html"), before);
}

#[test]
fn a_run_without_its_predictions_still_has_its_tables_and_figures() {
    let folder = compared();
    let run = "compared/pretrained-all-seed1";
    folder.remove(&format!("{run}/predictions.jsonl"));
    let tables = folder.run(&format!("report {run}")).done();
    assert!(
        tables.stderr.contains("no report.html") && tables.stdout.contains("## Scores"),
        "{}",
        tables.stderr
    );
    let figures = folder.run(&format!("report {run} --json")).done().stdout;
    assert!(figures.starts_with("{\"phase\":\"finetune\""), "{figures}");
}

#[test]
fn terminal_markdown_and_page_show_the_same_tables() {
    let folder = compared();
    for (page, _) in PAGES {
        let run = page.trim_end_matches("/report.html");
        let (html, markdown) = (folder.text(page), folder.text(&format!("{run}/report.md")));
        let terminal = folder.run(&format!("report {run}")).done().stdout;
        let mut tables = 0;
        for section in html.split("<section id=\"").skip(1).filter(|section| section.contains("<thead>")) {
            let heading = section.split("<h2>").nth(1).and_then(|rest| rest.split("</h2>").next()).unwrap();
            let head =
                section.split("<thead>").nth(1).and_then(|rest| rest.split("</thead>").next()).unwrap();
            assert!(markdown.contains(&format!("## {heading}\n")), "{run}: {heading} is not in report.md");
            let columns = head.split("</th>").filter_map(|cell| cell.rsplit('>').next());
            for column in columns.filter(|column| !column.contains('\\') && !column.is_empty()) {
                assert!(markdown.contains(column), "{run}: {heading}: {column} is not in report.md");
            }
            // Whole texts have no room there.
            let wide = section.contains("class=\"text long\"");
            assert!(wide || terminal.contains(&format!("## {heading}\n")), "{run}: {heading} is not printed");
            tables += 1;
        }
        assert!(tables > 0, "{run} has no table");
        assert!(
            terminal.lines().all(|line| line.chars().count() <= 100 || !line.contains('─')),
            "{terminal}"
        );
    }
}

/// Chromium or Chrome, where there is one.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&folders)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)));
    named.into_iter().chain(installed).find(|path| path.is_file())
}

/// Loads a page in a frame as wide as a telephone and writes down what became of it.
const HARNESS: &str = r#"<!DOCTYPE html><meta charset="utf-8"><iframe id="frame" style="width:375px;height:800px;border:0"></iframe>
<pre id="found"></pre><script>
const frame = document.getElementById("frame");
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach(details => { details.open = true; });
  const named = svg => svg.getAttribute("aria-labelledby").split(" ").every(id => page.getElementById(id)?.textContent);
  const ids = [...page.querySelectorAll("[id]")].map(element => element.id);
  document.getElementById("found").textContent = "FOUND" + JSON.stringify({
    width: root.clientWidth, needed: root.scrollWidth, title: page.title,
    requests: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    unnamed: [...page.querySelectorAll("svg[role=img]")].filter(svg => !named(svg)).length,
    repeated: ids.filter((id, at) => ids.indexOf(id) !== at),
    sections: [...page.querySelectorAll("section")].map(section => section.id),
    scripts: page.scripts.length,
  }) + "DNUOF";
};
frame.src = "PAGE";
</script>"#;

#[test]
fn a_browser_shows_pages_without_complaint_request_or_overflow() {
    let Some(browser) = needs("chromium", browser(), "no Chromium or Chrome; set CHROMIUM to one") else {
        return;
    };
    let folder = compared();
    for (page, sections) in PAGES {
        folder.write("harness.html", HARNESS.replace("PAGE", page));
        let flags = "--headless --no-sandbox --disable-gpu --allow-file-access-from-files --enable-logging=stderr \
                     --virtual-time-budget=5000 --dump-dom";
        let profile = format!("--user-data-dir={}", folder.path("profile").display());
        let harness = format!("file://{}", folder.path("harness.html").display());
        let output =
            Command::new(&browser).args(flags.split_whitespace()).args([profile, harness]).output().unwrap();
        let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(console.is_empty(), "{page}: {console:?}");
        let found = dom.split("FOUND").nth(1).and_then(|rest| rest.split("DNUOF").next());
        let found = found.unwrap_or_else(|| panic!("{page} did not load: {log}"));
        // The only characters that a serialised text escapes.
        let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let found: Value = serde_json::from_str(&found).unwrap();
        // A scroll bar may take some of the 375 pixels.
        let (width, needed) = (found["width"].as_u64().unwrap(), found["needed"].as_u64().unwrap());
        assert!(width <= 375 && needed <= width, "{page} is {needed} pixels wide, the screen {width}");
        assert_eq!(found["requests"], serde_json::json!([]), "{page}");
        assert_eq!(found["repeated"], serde_json::json!([]), "{page}");
        assert_eq!((&found["unnamed"], &found["scripts"]), (&Value::from(0), &Value::from(0)), "{page}");
        assert_ne!(found["title"], "broken");
        let shown: Vec<&str> =
            found["sections"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for section in sections.split_whitespace() {
            assert!(shown.contains(&section), "{page}: {section} is not among {shown:?}");
        }
    }
}
