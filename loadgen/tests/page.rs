//! The page is whole and loads nothing; where a browser is installed, it renders there without an error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use towpath_load::processes::Used;
use towpath_load::report::{Distribution, Load, Report, SecondRow, html};

fn report(name: &str) -> Report {
    let seconds = (0..60).map(|second| SecondRow {
        planned: [100 + second, 300],
        done: [100 + second, if second == 30 { 120 } else { 300 }],
        errors: 0,
        backlog: Some(second as i64 * 3),
        figures: [("sound_delay", 900.0), ("list_latency", 12.0)]
            .map(|(figure, ms)| (figure.to_owned(), [ms, ms * 2.0, ms * 4.0, ms * 9.0]))
            .into(),
    });
    let figure = |p50: f64| Distribution {
        count: 1_000,
        mean: p50,
        p50,
        p90: p50 * 2.0,
        p99: p50 * 4.0,
        p999: p50 * 5.0,
        p9999: p50 * 6.0,
        max: p50 * 9.0,
        steps: vec![(p50, 500), (p50 * 2.0, 400), (p50 * 9.0, 100)],
    };
    let figures = ["sound_delay", "list_latency", "query_latency", "freshness_kafka", "freshness_acknowledged"];
    let mut figures: BTreeMap<String, Distribution> = figures.map(|name| (name.to_owned(), figure(30.0))).into();
    figures.insert("freshness_searchable".to_owned(), figure(400.0));
    Report {
        profile: name.to_owned(),
        seed: 1,
        scale: 1.0,
        length_s: 60.0,
        sounds_on: Some("remind".to_owned()),
        cores: 2,
        load: Load { orders: 6_000, ..Load::default() },
        errors: 0,
        error_samples: Vec::new(),
        sounds: None,
        sound_samples: BTreeMap::new(),
        documents: None,
        drain: None,
        backlog_growth: None,
        processes: vec![Used { name: "mysql".to_owned(), cpu_s: 12.0, compile_s: 0.5, peak_rss_mb: 500.0 }],
        steady: None,
        seconds: seconds.collect(),
        levels: Vec::new(),
        reasons: vec!["a <reason> & more".to_owned()],
        valid: true,
        passed: false,
        figures,
    }
}

#[test]
fn the_page_is_whole_and_loads_nothing() {
    let page = html::page(&[&report("peak-sale")]);
    for part in ["<svg", "Throughput against schedule", "sound delay", "Freshness by stage", "CPU, cores", "FAILED"] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert!(page.contains("a &lt;reason&gt; &amp; more") && !page.contains("NaN") && !page.contains("inf"));
    for loads in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(loads), "the page loads something: {loads}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file())
}

#[test]
fn a_browser_renders_it_without_an_error() {
    let Some(browser) = browser() else {
        println!("skipped: no Chromium is installed (Debian: apt-get install chromium)");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("report.html");
    std::fs::write(&file, html::page(&[&report("peak-sale"), &report("ordinary-day")])).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let (dom, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(dom.matches("<svg").count() >= 16 && dom.contains("Side by side"), "{} bytes of DOM", dom.len());
    // What a page does wrong is said under this name.
    assert!(!told.contains("CONSOLE"), "{told}");
    std::fs::remove_dir_all(&folder).unwrap();
}
