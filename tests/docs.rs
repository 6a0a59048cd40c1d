//! Documents that are made from the code are in step with it.

use std::path::Path;

#[test]
fn the_table_of_exit_statuses_is_in_step_with_the_catalogue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exit-codes.md");
    let made = towpath::exit::document();
    if std::env::var_os("TOWPATH_WRITE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept, made, "run `TOWPATH_WRITE_DOCS=1 cargo test --test docs`");
}
