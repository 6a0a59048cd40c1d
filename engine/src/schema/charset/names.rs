//! Names of charsets and collations, as statements and `information_schema` write them, and their ids.
//!
//! Must not decode anything. Both families of servers share most names; where one name has two ids, the family decides.

/// The id of `utf8mb3`'s default collation: the charset of `NATIONAL` types.
pub const NATIONAL: u16 = 33;

/// The id of a collation. `charset` completes MariaDB's short names (`uca1400_ai_ci`).
pub fn collation(name: &str, charset: Option<&str>, mariadb: bool) -> Option<u16> {
    let name = name.to_ascii_lowercase();
    let name = match name.strip_prefix("utf8_") {
        Some(rest) => format!("utf8mb3_{rest}"),
        None if name.starts_with("uca1400_") => format!("{}_{name}", charset?),
        None => name,
    };
    if let Some((charset, rest)) = name.split_once("_uca1400_") {
        return uca1400(charset, rest);
    }
    if let Some(id) = mariadb.then(|| find(MARIADB, &name)).flatten().or_else(|| find(COLLATIONS, &name)) {
        return Some(id);
    }
    name.contains("_nopad").then(|| find(COLLATIONS, &name.replace("_nopad", ""))).flatten().map(|id| id + NOPAD)
}

/// The id of a charset's default collation, without what a session can set.
pub fn default_collation(charset: &str, mariadb: bool) -> Option<u16> {
    match charset.to_ascii_lowercase().as_str() {
        "utf8" => find(DEFAULTS, "utf8mb3"),
        "utf8mb4" if mariadb => find(COLLATIONS, "utf8mb4_general_ci"),
        other => find(DEFAULTS, other),
    }
}

/// The charset's name of a collation.
pub fn charset(collation: u16) -> Option<&'static str> {
    if collation >= UCA1400_FIRST {
        return UCA1400_CHARSETS.get(usize::from((collation - UCA1400_FIRST) / UCA1400_EACH)).copied();
    }
    let wanted = if (NOPAD..UCA1400_FIRST).contains(&collation) { collation - NOPAD } else { collation };
    let known = |&(_, id): &(&str, u16)| id == wanted;
    let (name, _) = pairs(COLLATIONS).find(known).or_else(|| pairs(MARIADB).find(known))?;
    Some(name.split('_').next().unwrap_or(name))
}

/// A charset's binary collation: what the attribute `BINARY` means.
pub fn binary_collation(charset: &str, mariadb: bool) -> Option<u16> {
    if charset == "binary" { Some(super::BINARY) } else { collation(&format!("{charset}_bin"), None, mariadb) }
}

/// MariaDB's collations without padding have the id of the padding one plus this.
const NOPAD: u16 = 1024;
const UCA1400_FIRST: u16 = 2048;
/// Ids kept for each charset.
const UCA1400_EACH: u16 = 256;
const UCA1400_CHARSETS: [&str; 5] = ["utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32"];

/// `[LANGUAGE_][nopad_](ai|as)_(ci|cs)`: eight ids a language.
fn uca1400(charset: &str, rest: &str) -> Option<u16> {
    let base = UCA1400_CHARSETS.iter().position(|name| *name == charset)? as u16;
    let (rest, case) = rest.rsplit_once('_')?;
    let (rest, accent) = rest.rsplit_once('_').unwrap_or(("", rest));
    let (language, nopad) = match rest.strip_suffix("nopad") {
        Some(language) => (language.trim_end_matches('_'), 4),
        None => (rest, 0),
    };
    let language = if language.is_empty() { "root" } else { language };
    let language = UCA1400.split(' ').position(|name| name == language)? as u16;
    let flags = nopad + if accent == "as" { 2 } else { 0 } + if case == "cs" { 1 } else { 0 };
    Some(UCA1400_FIRST + base * UCA1400_EACH + language * 8 + flags)
}

fn pairs(list: &'static str) -> impl Iterator<Item = (&'static str, u16)> {
    list.split(' ').filter_map(|pair| pair.split_once('=')).filter_map(|(name, id)| Some((name, id.parse().ok()?)))
}

fn find(list: &'static str, name: &str) -> Option<u16> {
    pairs(list).find(|(known, _)| *known == name).map(|(_, id)| id)
}

/// Names and ids as MySQL 9.7 lists them (`information_schema.COLLATIONS`).
const COLLATIONS: &str = "\
    big5_chinese_ci=1 latin2_czech_cs=2 dec8_swedish_ci=3 cp850_general_ci=4 latin1_german1_ci=5 hp8_english_ci=6 \
    koi8r_general_ci=7 latin1_swedish_ci=8 latin2_general_ci=9 swe7_swedish_ci=10 ascii_general_ci=11 \
    ujis_japanese_ci=12 sjis_japanese_ci=13 cp1251_bulgarian_ci=14 latin1_danish_ci=15 hebrew_general_ci=16 \
    tis620_thai_ci=18 euckr_korean_ci=19 latin7_estonian_cs=20 latin2_hungarian_ci=21 koi8u_general_ci=22 \
    cp1251_ukrainian_ci=23 gb2312_chinese_ci=24 greek_general_ci=25 cp1250_general_ci=26 latin2_croatian_ci=27 \
    gbk_chinese_ci=28 cp1257_lithuanian_ci=29 latin5_turkish_ci=30 latin1_german2_ci=31 armscii8_general_ci=32 \
    utf8mb3_general_ci=33 cp1250_czech_cs=34 ucs2_general_ci=35 cp866_general_ci=36 keybcs2_general_ci=37 \
    macce_general_ci=38 macroman_general_ci=39 cp852_general_ci=40 latin7_general_ci=41 latin7_general_cs=42 \
    macce_bin=43 cp1250_croatian_ci=44 utf8mb4_general_ci=45 utf8mb4_bin=46 latin1_bin=47 latin1_general_ci=48 \
    latin1_general_cs=49 cp1251_bin=50 cp1251_general_ci=51 cp1251_general_cs=52 macroman_bin=53 utf16_general_ci=54 \
    utf16_bin=55 utf16le_general_ci=56 cp1256_general_ci=57 cp1257_bin=58 cp1257_general_ci=59 utf32_general_ci=60 \
    utf32_bin=61 utf16le_bin=62 binary=63 armscii8_bin=64 ascii_bin=65 cp1250_bin=66 cp1256_bin=67 cp866_bin=68 \
    dec8_bin=69 greek_bin=70 hebrew_bin=71 hp8_bin=72 keybcs2_bin=73 koi8r_bin=74 koi8u_bin=75 utf8mb3_tolower_ci=76 \
    latin2_bin=77 latin5_bin=78 latin7_bin=79 cp850_bin=80 cp852_bin=81 swe7_bin=82 utf8mb3_bin=83 big5_bin=84 \
    euckr_bin=85 gb2312_bin=86 gbk_bin=87 sjis_bin=88 tis620_bin=89 ucs2_bin=90 ujis_bin=91 geostd8_general_ci=92 \
    geostd8_bin=93 latin1_spanish_ci=94 cp932_japanese_ci=95 cp932_bin=96 eucjpms_japanese_ci=97 eucjpms_bin=98 \
    cp1250_polish_ci=99 utf16_unicode_ci=101 utf16_icelandic_ci=102 utf16_latvian_ci=103 utf16_romanian_ci=104 \
    utf16_slovenian_ci=105 utf16_polish_ci=106 utf16_estonian_ci=107 utf16_spanish_ci=108 utf16_swedish_ci=109 \
    utf16_turkish_ci=110 utf16_czech_ci=111 utf16_danish_ci=112 utf16_lithuanian_ci=113 utf16_slovak_ci=114 \
    utf16_spanish2_ci=115 utf16_roman_ci=116 utf16_persian_ci=117 utf16_esperanto_ci=118 utf16_hungarian_ci=119 \
    utf16_sinhala_ci=120 utf16_german2_ci=121 utf16_croatian_ci=122 utf16_unicode_520_ci=123 utf16_vietnamese_ci=124 \
    ucs2_unicode_ci=128 ucs2_icelandic_ci=129 ucs2_latvian_ci=130 ucs2_romanian_ci=131 ucs2_slovenian_ci=132 \
    ucs2_polish_ci=133 ucs2_estonian_ci=134 ucs2_spanish_ci=135 ucs2_swedish_ci=136 ucs2_turkish_ci=137 \
    ucs2_czech_ci=138 ucs2_danish_ci=139 ucs2_lithuanian_ci=140 ucs2_slovak_ci=141 ucs2_spanish2_ci=142 \
    ucs2_roman_ci=143 ucs2_persian_ci=144 ucs2_esperanto_ci=145 ucs2_hungarian_ci=146 ucs2_sinhala_ci=147 \
    ucs2_german2_ci=148 ucs2_croatian_ci=149 ucs2_unicode_520_ci=150 ucs2_vietnamese_ci=151 \
    ucs2_general_mysql500_ci=159 utf32_unicode_ci=160 utf32_icelandic_ci=161 utf32_latvian_ci=162 \
    utf32_romanian_ci=163 utf32_slovenian_ci=164 utf32_polish_ci=165 utf32_estonian_ci=166 utf32_spanish_ci=167 \
    utf32_swedish_ci=168 utf32_turkish_ci=169 utf32_czech_ci=170 utf32_danish_ci=171 utf32_lithuanian_ci=172 \
    utf32_slovak_ci=173 utf32_spanish2_ci=174 utf32_roman_ci=175 utf32_persian_ci=176 utf32_esperanto_ci=177 \
    utf32_hungarian_ci=178 utf32_sinhala_ci=179 utf32_german2_ci=180 utf32_croatian_ci=181 utf32_unicode_520_ci=182 \
    utf32_vietnamese_ci=183 utf8mb3_unicode_ci=192 utf8mb3_icelandic_ci=193 utf8mb3_latvian_ci=194 \
    utf8mb3_romanian_ci=195 utf8mb3_slovenian_ci=196 utf8mb3_polish_ci=197 utf8mb3_estonian_ci=198 \
    utf8mb3_spanish_ci=199 utf8mb3_swedish_ci=200 utf8mb3_turkish_ci=201 utf8mb3_czech_ci=202 utf8mb3_danish_ci=203 \
    utf8mb3_lithuanian_ci=204 utf8mb3_slovak_ci=205 utf8mb3_spanish2_ci=206 utf8mb3_roman_ci=207 \
    utf8mb3_persian_ci=208 utf8mb3_esperanto_ci=209 utf8mb3_hungarian_ci=210 utf8mb3_sinhala_ci=211 \
    utf8mb3_german2_ci=212 utf8mb3_croatian_ci=213 utf8mb3_unicode_520_ci=214 utf8mb3_vietnamese_ci=215 \
    utf8mb3_general_mysql500_ci=223 utf8mb4_unicode_ci=224 utf8mb4_icelandic_ci=225 utf8mb4_latvian_ci=226 \
    utf8mb4_romanian_ci=227 utf8mb4_slovenian_ci=228 utf8mb4_polish_ci=229 utf8mb4_estonian_ci=230 \
    utf8mb4_spanish_ci=231 utf8mb4_swedish_ci=232 utf8mb4_turkish_ci=233 utf8mb4_czech_ci=234 utf8mb4_danish_ci=235 \
    utf8mb4_lithuanian_ci=236 utf8mb4_slovak_ci=237 utf8mb4_spanish2_ci=238 utf8mb4_roman_ci=239 \
    utf8mb4_persian_ci=240 utf8mb4_esperanto_ci=241 utf8mb4_hungarian_ci=242 utf8mb4_sinhala_ci=243 \
    utf8mb4_german2_ci=244 utf8mb4_croatian_ci=245 utf8mb4_unicode_520_ci=246 utf8mb4_vietnamese_ci=247 \
    gb18030_chinese_ci=248 gb18030_bin=249 gb18030_unicode_520_ci=250 utf8mb4_0900_ai_ci=255 \
    utf8mb4_de_pb_0900_ai_ci=256 utf8mb4_is_0900_ai_ci=257 utf8mb4_lv_0900_ai_ci=258 utf8mb4_ro_0900_ai_ci=259 \
    utf8mb4_sl_0900_ai_ci=260 utf8mb4_pl_0900_ai_ci=261 utf8mb4_et_0900_ai_ci=262 utf8mb4_es_0900_ai_ci=263 \
    utf8mb4_sv_0900_ai_ci=264 utf8mb4_tr_0900_ai_ci=265 utf8mb4_cs_0900_ai_ci=266 utf8mb4_da_0900_ai_ci=267 \
    utf8mb4_lt_0900_ai_ci=268 utf8mb4_sk_0900_ai_ci=269 utf8mb4_es_trad_0900_ai_ci=270 utf8mb4_la_0900_ai_ci=271 \
    utf8mb4_eo_0900_ai_ci=273 utf8mb4_hu_0900_ai_ci=274 utf8mb4_hr_0900_ai_ci=275 utf8mb4_vi_0900_ai_ci=277 \
    utf8mb4_0900_as_cs=278 utf8mb4_de_pb_0900_as_cs=279 utf8mb4_is_0900_as_cs=280 utf8mb4_lv_0900_as_cs=281 \
    utf8mb4_ro_0900_as_cs=282 utf8mb4_sl_0900_as_cs=283 utf8mb4_pl_0900_as_cs=284 utf8mb4_et_0900_as_cs=285 \
    utf8mb4_es_0900_as_cs=286 utf8mb4_sv_0900_as_cs=287 utf8mb4_tr_0900_as_cs=288 utf8mb4_cs_0900_as_cs=289 \
    utf8mb4_da_0900_as_cs=290 utf8mb4_lt_0900_as_cs=291 utf8mb4_sk_0900_as_cs=292 utf8mb4_es_trad_0900_as_cs=293 \
    utf8mb4_la_0900_as_cs=294 utf8mb4_eo_0900_as_cs=296 utf8mb4_hu_0900_as_cs=297 utf8mb4_hr_0900_as_cs=298 \
    utf8mb4_vi_0900_as_cs=300 utf8mb4_ja_0900_as_cs=303 utf8mb4_ja_0900_as_cs_ks=304 utf8mb4_0900_as_ci=305 \
    utf8mb4_ru_0900_ai_ci=306 utf8mb4_ru_0900_as_cs=307 utf8mb4_zh_0900_as_cs=308 utf8mb4_0900_bin=309 \
    utf8mb4_nb_0900_ai_ci=310 utf8mb4_nb_0900_as_cs=311 utf8mb4_nn_0900_ai_ci=312 utf8mb4_nn_0900_as_cs=313 \
    utf8mb4_sr_latn_0900_ai_ci=314 utf8mb4_sr_latn_0900_as_cs=315 utf8mb4_bs_0900_ai_ci=316 \
    utf8mb4_bs_0900_as_cs=317 utf8mb4_bg_0900_ai_ci=318 utf8mb4_bg_0900_as_cs=319 utf8mb4_gl_0900_ai_ci=320 \
    utf8mb4_gl_0900_as_cs=321 utf8mb4_mn_cyrl_0900_ai_ci=322 utf8mb4_mn_cyrl_0900_as_cs=323";

/// Each charset's default collation.
const DEFAULTS: &str = "\
    big5=1 dec8=3 cp850=4 hp8=6 koi8r=7 latin1=8 latin2=9 swe7=10 ascii=11 ujis=12 sjis=13 hebrew=16 tis620=18 \
    euckr=19 koi8u=22 gb2312=24 greek=25 cp1250=26 gbk=28 latin5=30 armscii8=32 utf8mb3=33 ucs2=35 cp866=36 \
    keybcs2=37 macce=38 macroman=39 cp852=40 latin7=41 cp1251=51 utf16=54 utf16le=56 cp1256=57 cp1257=59 utf32=60 \
    binary=63 geostd8=92 cp932=95 eucjpms=97 gb18030=248 utf8mb4=255";

/// Where MariaDB 10.11 has other ids, or collations of its own.
const MARIADB: &str = "\
    utf16_croatian_ci=672 ucs2_croatian_ci=640 utf32_croatian_ci=736 utf8mb3_croatian_ci=576 utf8mb4_croatian_ci=608 \
    utf16_croatian_mysql561_ci=122 ucs2_croatian_mysql561_ci=149 utf32_croatian_mysql561_ci=181 \
    utf8mb3_croatian_mysql561_ci=213 utf8mb4_croatian_mysql561_ci=245 utf8mb3_myanmar_ci=577 utf8mb3_thai_520_w2=578 \
    utf8mb4_myanmar_ci=609 utf8mb4_thai_520_w2=610 ucs2_myanmar_ci=641 ucs2_thai_520_w2=642 utf16_myanmar_ci=673 \
    utf16_thai_520_w2=674 utf32_myanmar_ci=737 utf32_thai_520_w2=738";

/// MariaDB's collations of UCA 14: languages in the order of their ids, eight ids each.
const UCA1400: &str = "\
    root icelandic latvian romanian slovenian polish estonian spanish swedish turkish czech danish lithuanian slovak \
    spanish2 roman persian esperanto hungarian sinhala german2 - - vietnamese croatian";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::charset::Charset;

    #[test]
    fn names_have_the_servers_ids() {
        for (name, mariadb, id) in [
            ("utf8mb4_0900_ai_ci", false, 255),
            ("utf8_general_ci", false, 33),
            ("UTF8MB4_BIN", true, 46),
            ("utf8mb4_croatian_ci", false, 245),
            ("utf8mb4_croatian_ci", true, 608),
            ("utf8mb4_general_nopad_ci", true, 1069),
            ("latin1_nopad_bin", true, 1071),
            ("utf8mb3_uca1400_as_cs", true, 2051),
            ("utf8mb4_uca1400_icelandic_nopad_ai_cs", true, 2317),
            ("utf32_uca1400_croatian_nopad_as_cs", true, 3271),
            ("binary", false, 63),
        ] {
            assert_eq!(collation(name, None, mariadb), Some(id), "{name}");
        }
        assert_eq!(collation("uca1400_ai_ci", Some("utf8mb4"), true), Some(2304));
        assert_eq!(collation("uca1400_ai_ci", None, true), None);
        assert_eq!(collation("klingon_ci", None, false), None);
    }

    #[test]
    fn charsets_and_their_collations() {
        assert_eq!(default_collation("utf8mb4", false), Some(255));
        assert_eq!(default_collation("utf8mb4", true), Some(45));
        assert_eq!(default_collation("UTF8", false), Some(33));
        assert_eq!(binary_collation("gbk", false), Some(87));
        for (id, name) in [(255, "utf8mb4"), (1071, "latin1"), (2317, "utf8mb4"), (608, "utf8mb4"), (63, "binary")] {
            assert_eq!(charset(id), Some(name), "{id}");
        }
    }

    #[test]
    fn every_collation_of_the_list_can_be_decoded() {
        for (name, id) in pairs(COLLATIONS).chain(pairs(MARIADB)) {
            assert!(Charset::of(id).is_some(), "{name}");
        }
        assert_eq!(pairs(COLLATIONS).count(), 286);
    }
}
