use std::time::Instant;
use towpath_engine::binlog::*;
fn main() {
    let file = include_bytes!("../src/binlog/testdata/orders.binlog");
    let mut one = Vec::new();
    let mut rest = &file[4..];
    while !rest.is_empty() {
        let size = EventHeader::parse(rest).unwrap().size as usize;
        if rest[4] != 4 { one.push(&rest[..size - 4]); }
        rest = &rest[size..];
    }
    let copies = 1200;
    let mut big = Vec::new(); let mut ends = vec![];
    for _ in 0..copies { for e in &one { big.extend_from_slice(e); ends.push(big.len()); } }
    for round in 0..3 {
        let mut decoder = Decoder::new(|_, _| true);
        let (mut b, mut a) = (vec![], vec![]);
        let start = Instant::now();
        let (mut rows, mut at, mut sum) = (0u64, 0, 0usize);
        for &end in &ends {
            if let Event::Rows(mut r) = decoder.decode(&big[at..end]).unwrap() {
                while r.read_row(&mut b, &mut a).unwrap() { rows += 1; sum += a.len(); }
            }
            at = end;
        }
        let s = start.elapsed().as_secs_f64();
        println!("{round} split  {:.0} MB/s {:.2} M rows/s {sum}", big.len() as f64 / s / 1e6, rows as f64 / s / 1e6);
        let mut decoder = Decoder::new(|_, _| false);
        let start = Instant::now();
        let (mut n, mut at) = (0, 0);
        for &end in &ends { if let Event::FilteredRows{..} = decoder.decode(&big[at..end]).unwrap() { n += 1; } at = end; }
        let s = start.elapsed().as_secs_f64();
        println!("{round} filter {:.0} MB/s {:.2} M events/s {n}", big.len() as f64 / s / 1e6, ends.len() as f64 / s / 1e6);
        let mut decoder = Decoder::new(|_, _| true);
        let mut out = Vec::with_capacity(1 << 20);
        let start = Instant::now();
        let (mut rows, mut at, mut written) = (0u64, 0, 0usize);
        for &end in &ends {
            if let Event::Rows(mut r) = decoder.decode(&big[at..end]).unwrap() {
                out.clear();
                let t = r.table.clone();
                while r.read_row(&mut b, &mut a).unwrap() {
                    rows += 1;
                    for (c, f) in t.columns.iter().zip(&a) { if let Field::Value(v) = f { text::write_text(c, v, &mut out).unwrap(); } }
                }
                written += out.len();
            }
            at = end;
        }
        let s = start.elapsed().as_secs_f64();
        println!("{round} text   {:.0} MB/s {:.2} M rows/s {written}", big.len() as f64 / s / 1e6, rows as f64 / s / 1e6);
    }
}
