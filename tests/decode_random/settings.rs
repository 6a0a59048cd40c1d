//! The settings that runs are made under, and the random choice of one for each run in which every value comes up.

use super::random::Random;
use super::types::Family;

/// A setting: its name in the histogram, and for each value what it is called and how it is set.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub values: &'static [(&'static str, &'static [&'static str])],
}

/// `SET GLOBAL` reaches sessions opened after it.
const MYSQL: &[Setting] = &[
    Setting {
        name: "image",
        values: &[
            ("FULL", &["SET GLOBAL binlog_row_image = 'FULL'"]),
            ("MINIMAL", &["SET GLOBAL binlog_row_image = 'MINIMAL'"]),
            ("NOBLOB", &["SET GLOBAL binlog_row_image = 'NOBLOB'"]),
        ],
    },
    Setting {
        name: "metadata",
        values: &[
            ("MINIMAL", &["SET GLOBAL binlog_row_metadata = 'MINIMAL'"]),
            ("FULL", &["SET GLOBAL binlog_row_metadata = 'FULL'"]),
        ],
    },
    Setting {
        name: "compressed",
        values: &[
            ("OFF", &["SET GLOBAL binlog_transaction_compression = OFF"]),
            ("ON", &["SET GLOBAL binlog_transaction_compression = ON"]),
        ],
    },
    Setting {
        name: "checksum",
        values: &[("CRC32", &["SET GLOBAL binlog_checksum = CRC32"]), ("NONE", &["SET GLOBAL binlog_checksum = NONE"])],
    },
    Setting {
        name: "json",
        values: &[
            ("WHOLE", &["SET GLOBAL binlog_row_value_options = ''"]),
            ("PARTIAL", &["SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON'"]),
        ],
    },
];

const MARIADB: &[Setting] = &[
    Setting { name: "image", values: MYSQL[0].values },
    Setting {
        name: "metadata",
        values: &[
            ("NO_LOG", &["SET GLOBAL binlog_row_metadata = 'NO_LOG'"]),
            ("MINIMAL", &["SET GLOBAL binlog_row_metadata = 'MINIMAL'"]),
            ("FULL", &["SET GLOBAL binlog_row_metadata = 'FULL'"]),
        ],
    },
    Setting {
        name: "compressed",
        values: &[
            ("OFF", &["SET GLOBAL log_bin_compress = OFF"]),
            ("ON", &["SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"]),
        ],
    },
    Setting { name: "checksum", values: MYSQL[3].values },
];

/// The settings of a server.
pub fn of(family: Family) -> &'static [Setting] {
    match family {
        Family::MySql => MYSQL,
        Family::MariaDb => MARIADB,
    }
}

/// For each of so many runs a value of each setting, by its place. Each value comes up, in chance company but for
/// settings that stop a pipeline together, as another test shows: a change within a JSON document needs the document,
/// so that only one run, of those with full images, has it.
pub fn deal(family: Family, runs: usize, random: &mut Random) -> Vec<Vec<usize>> {
    let settings = of(family);
    let mut all = vec![Vec::new(); runs];
    for setting in settings {
        let mut values: Vec<usize> = (0..runs).map(|run| run % setting.values.len()).collect();
        random.shuffle(&mut values);
        all.iter_mut().zip(values).for_each(|(run, value)| run.push(value));
    }
    let place = |name: &str| settings.iter().position(|setting| setting.name == name);
    if let (Some(image), Some(json)) = (place("image"), place("json")) {
        let whole = all.iter().position(|run| run[image] == 0);
        all.iter_mut().enumerate().for_each(|(at, run)| run[json] = usize::from(Some(at) == whole));
    }
    all
}

/// Whether a type can be met under a setting's value: MariaDB leaves virtual columns out of minimal images.
pub fn may_meet(family: Family, kind: &str, setting: &str, value: &str) -> bool {
    !(family == Family::MariaDb && kind == "virtual generated" && (setting, value) == ("image", "MINIMAL"))
}
