//! Words and addresses that orders carry: many scripts, and the characters that break careless encoders.

use serde_json::{Value, json};
use towpath_engine::env::Rng;

const REMARKS: &[&str] = &[
    "no onions, please",
    "少放辣，多加香菜",
    "ring twice 🔔🔔",
    "zażółć gęślą jaźń",
    "«à emporter» – l'étage n° 3",
    "quote \" backslash \\ slash / end",
    "first line\nsecond line\ttab",
    "'; DROP TABLE order_main; --",
    "العربية من اليمين إلى اليسار",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 beyond the basic plane 👩‍👩‍👧‍👦",
    "\u{1}control\u{7f}characters\u{feff}",
    "  spaces at both ends  ",
    "",
    "null",
    "{\"looks\":\"like json\"}",
    "<b>&amp;</b>",
];

const CITIES: &[&str] = &["杭州", "Utrecht", "São Paulo", "Łódź", "Nairobi", "القاهرة", "O'Fallon"];
const GOODS: &[&str] = &["noodles", "麻婆豆腐", "crème brûlée", "pão de queijo", "soup \"of the day\"", "tea🍵"];

/// One of a list.
pub(crate) fn pick<'a, T: ?Sized>(rng: &mut Rng, list: &[&'a T]) -> &'a T {
    list[rng.below(list.len() as u64) as usize]
}

/// A remark; most orders have none.
pub(crate) fn remark(rng: &mut Rng) -> Option<String> {
    match rng.below(10) {
        0..=4 => None,
        5 => Some(format!("{} {}", pick(rng, REMARKS), rng.below(1000))),
        6 => Some("长".repeat(1 + rng.below(200) as usize)),
        _ => Some(pick(rng, REMARKS).to_owned()),
    }
}

/// An address; some orders are fetched by the customer and have none.
pub(crate) fn address(rng: &mut Rng) -> Option<Value> {
    if rng.below(5) == 0 {
        return None;
    }
    let mut address = json!({
        "city": pick(rng, CITIES),
        "street": format!("{} street \"{}\"", rng.below(90), rng.below(30)),
        "no": rng.below(300),
        "geo": { "lat": (rng.below(180_000) as f64 - 90_000.0) / 1000.0, "lon": (rng.below(360_000) as f64) / 1000.0 },
    });
    if rng.below(3) == 0 {
        address["tags"] = json!(["gate", rng.below(9), null, true, pick(rng, CITIES)]);
    }
    if rng.below(4) == 0 {
        address["floor"] = json!(rng.below(40) as i64 - 3);
    }
    Some(address)
}

/// The name of an article.
pub(crate) fn goods(rng: &mut Rng) -> String {
    format!("{} {}", pick(rng, GOODS), rng.below(500))
}
