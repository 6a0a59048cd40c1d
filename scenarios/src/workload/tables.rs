//! The two tables, as definitions and as SQL.

use towpath_engine::schema::{Column, ColumnType, TableSchema};

/// The database the tables lie in.
pub const DATABASE: &str = "orders";

/// The database to which orders move when they are over, where there is an archive: `order_main` alone.
pub const ARCHIVE: &str = "archive";

/// utf8mb4_0900_ai_ci, the server's default.
const COLLATION: u16 = 255;

/// A table of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `order_main`.
    Orders,
    /// `order_item`.
    Items,
}

/// What an order's `status` means.
pub mod status {
    /// The customer has sent it: the merchant's device rings.
    pub const CREATED: i64 = 1;
    /// It is paid: the device still rings.
    pub const PAID: i64 = 2;
    /// The merchant has taken it.
    pub const ACCEPTED: i64 = 3;
    /// It is on its way.
    pub const DELIVERING: i64 = 4;
    /// It has arrived.
    pub const DONE: i64 = 5;
    /// It was called off.
    pub const CANCELLED: i64 = 6;
    /// The statuses of orders on which somebody still works.
    pub const ACTIVE: [i64; 4] = [CREATED, PAID, ACCEPTED, DELIVERING];
}

/// Places of `order_main`'s columns in a row.
pub mod order_columns {
    /// `order_id`, the primary key.
    pub const ORDER_ID: usize = 0;
    /// `merchant_id`.
    pub const MERCHANT_ID: usize = 1;
    /// `store_id`.
    pub const STORE_ID: usize = 2;
    /// `user_id`.
    pub const USER_ID: usize = 3;
    /// `status`.
    pub const STATUS: usize = 4;
    /// `order_type`.
    pub const ORDER_TYPE: usize = 5;
    /// `amount`.
    pub const AMOUNT: usize = 6;
    /// `remark`.
    pub const REMARK: usize = 7;
    /// `address`.
    pub const ADDRESS: usize = 8;
    /// `prompt_flag`.
    pub const PROMPT_FLAG: usize = 9;
    /// `created_at`.
    pub const CREATED_AT: usize = 10;
    /// `updated_at`.
    pub const UPDATED_AT: usize = 11;
}

impl Table {
    /// Both.
    pub const ALL: [Table; 2] = [Table::Orders, Table::Items];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "order_main",
            Self::Items => "order_item",
        }
    }

    /// Its columns' names, in order.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Orders => &[
                "order_id",
                "merchant_id",
                "store_id",
                "user_id",
                "status",
                "order_type",
                "amount",
                "remark",
                "address",
                "prompt_flag",
                "created_at",
                "updated_at",
            ],
            Self::Items => &["id", "order_id", "sku_id", "name", "qty", "price"],
        }
    }

    /// Its definition in `database`.
    pub fn schema(self, database: &str) -> TableSchema {
        use ColumnType::{BigInt, DateTime, Decimal, Int, Json, SmallInt, Timestamp, TinyInt, VarChar};
        let kinds = match self {
            Self::Orders => vec![
                BigInt,
                BigInt,
                Int,
                BigInt,
                TinyInt,
                SmallInt,
                Decimal { precision: 12, scale: 2 },
                VarChar { max_bytes: 200 * 4 },
                Json,
                TinyInt,
                DateTime { fsp: 3 },
                Timestamp { fsp: 3 },
            ],
            Self::Items => {
                vec![BigInt, BigInt, BigInt, VarChar { max_bytes: 120 * 4 }, Int, Decimal { precision: 10, scale: 2 }]
            }
        };
        let column = |(name, kind): (&&str, ColumnType)| Column {
            name: (*name).to_owned(),
            unsigned: false,
            nullable: matches!(*name, "remark" | "address"),
            collation: matches!(kind, VarChar { .. }).then_some(COLLATION),
            kind,
        };
        TableSchema {
            database: database.to_owned(),
            table: self.name().to_owned(),
            columns: self.columns().iter().zip(kinds).map(column).collect(),
            primary_key: vec![0],
        }
    }

    /// Its CREATE TABLE statement.
    pub fn create_sql(self, database: &str) -> String {
        let name = self.name();
        let body = match self {
            Self::Orders => {
                "order_id BIGINT NOT NULL PRIMARY KEY, merchant_id BIGINT NOT NULL, store_id INT NOT NULL, \
                 user_id BIGINT NOT NULL, status TINYINT NOT NULL, order_type SMALLINT NOT NULL, \
                 amount DECIMAL(12,2) NOT NULL, remark VARCHAR(200) NULL, address JSON NULL, \
                 prompt_flag TINYINT NOT NULL DEFAULT 0, created_at DATETIME(3) NOT NULL, \
                 updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), \
                 KEY (merchant_id, status)"
            }
            Self::Items => {
                "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id BIGINT NOT NULL, sku_id BIGINT NOT NULL, \
                 name VARCHAR(120) NOT NULL, qty INT NOT NULL, price DECIMAL(10,2) NOT NULL"
            }
        };
        format!("CREATE TABLE IF NOT EXISTS `{database}`.`{name}` ({body}) DEFAULT CHARSET=utf8mb4")
    }
}
