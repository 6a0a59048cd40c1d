-- The example's database: what `cargo stack up` loads, and what examples/orders.toml carries into Elasticsearch.
-- Each statement can be run again.

CREATE DATABASE IF NOT EXISTS orders CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS orders.order_main (
  order_id    BIGINT        NOT NULL PRIMARY KEY,
  merchant_id BIGINT        NOT NULL,
  store_id    INT           NOT NULL,
  user_id     BIGINT        NOT NULL,
  status      TINYINT       NOT NULL,
  order_type  SMALLINT      NOT NULL,
  amount      DECIMAL(12,2) NOT NULL,
  remark      VARCHAR(200)  NULL,
  address     JSON          NULL,
  prompt_flag TINYINT       NOT NULL DEFAULT 0,
  created_at  DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  updated_at  TIMESTAMP(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  KEY merchant_status (merchant_id, status)
) DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS orders.order_item (
  id       BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id BIGINT        NOT NULL,
  sku_id   BIGINT        NOT NULL,
  name     VARCHAR(120)  NOT NULL,
  qty      INT           NOT NULL,
  price    DECIMAL(10,2) NOT NULL
) DEFAULT CHARACTER SET utf8mb4;

-- What Towpath needs: to follow the binary log, and to read the captured tables and their columns.
CREATE USER IF NOT EXISTS 'towpath'@'%' IDENTIFIED BY 'towpath';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'towpath'@'%';
GRANT SELECT ON orders.* TO 'towpath'@'%';
