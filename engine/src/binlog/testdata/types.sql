-- Column types that MySQL and MariaDB share, with their edges: the statements behind the recorded binlogs, and those that
-- tests/decode_real.rs runs on real servers. A statement ends with `;` at a line's end. Each table has a column `id`.
SET sql_mode = '';
SET time_zone = '+03:00';

CREATE TABLE integers (
  id INT PRIMARY KEY,
  ti TINYINT, tu TINYINT UNSIGNED, si SMALLINT, su SMALLINT UNSIGNED, mi MEDIUMINT, mu MEDIUMINT UNSIGNED,
  ii INT, iu INT UNSIGNED, bi BIGINT, bu BIGINT UNSIGNED, flag BOOLEAN NOT NULL DEFAULT 0
);
INSERT INTO integers VALUES
  (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0),
  (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 1),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1),
  (4, -1, 128, -1, 32768, -1, 8388608, -1, 2147483648, -1, 9223372036854775808, 0),
  (5, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1);

CREATE TABLE decimals (
  id BIGINT UNSIGNED PRIMARY KEY,
  a DECIMAL(1,0), b DECIMAL(12,2), c DECIMAL(9,9), d DECIMAL(10,0) UNSIGNED, e DECIMAL(65,30), f DECIMAL(38,0),
  g DECIMAL(19,10), h DECIMAL(30,30)
);
INSERT INTO decimals VALUES
  (1, 9, 1234567890.12, 0.123456789, 4294967296, 99999999999999999999999999999999999.999999999999999999999999999999,
   99999999999999999999999999999999999999, 123456789.0123456789, 0.000000000000000000000000000001),
  (2, -9, -1234567890.12, -0.123456789, 0, -0.000000000000000000000000000001, -1, -1.5, -0.5),
  (3, 0, 0, 0, 0, 0, 0, 0, 0),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, 1, 0.10, 0.000000001, 10, 1000000000, 1000000000000000000, 1000000000, 0.1);

CREATE TABLE floats (id INT PRIMARY KEY, f FLOAT, d DOUBLE, fu FLOAT UNSIGNED, dd DOUBLE(10,3));
INSERT INTO floats VALUES
  (1, 0, 0, 0, 0), (2, 0.1, 0.1, 0.1, 0.1), (3, -1.5, -1.5, 1.5, -1.5), (4, 16777217, 1e15, 1e10, 1234567.125),
  (5, 3.4028234e38, 1.7976931348623157e308, 3.4e38, 999999.999), (6, 1.17549435e-38, 2.2250738585072014e-308, 1e-30, 0),
  (7, 1e-45, 5e-324, 0, 0), (8, NULL, NULL, NULL, NULL), (9, 123456.7, 123456789.123456789, 1e20, 1),
  (10, 1e14, 1e14, 1e15, 1), (11, 1e-14, 1e-14, 1e-15, 1), (12, 1e16, 123456789012345678, 1e16, 1),
  (13, 1e-5, 1e-15, 1e-5, 1), (14, 100000000000000000000, 1e-16, 7, 1), (15, 3.3333333, 1234567890123456.7, 8, 1),
  (16, -0.0, -0e0, 0, -0.0);

CREATE TABLE texts (
  id INT PRIMARY KEY,
  c CHAR(10), v VARCHAR(200), v1 VARCHAR(60) CHARACTER SET latin1, ca CHAR(5) CHARACTER SET ascii,
  vl VARCHAR(2000), cl CHAR(255), tt TINYTEXT, t TEXT CHARACTER SET latin1, mt MEDIUMTEXT, lt LONGTEXT,
  b BINARY(5), bl BINARY(255), vb VARBINARY(300), tb TINYBLOB, bb BLOB, mb MEDIUMBLOB, lb LONGBLOB,
  u3 VARCHAR(10) CHARACTER SET utf8mb3
);
INSERT INTO texts VALUES
  (1, 'abc', 'plain', 'latin', 'asc', 'long', 'cl', 'tiny', 'text', 'medium', 'longtext',
   'bin', 'binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob', 'utf8mb3'),
  (2, 'ÄÖÜ🔔', '中文 🔔 "quoted" \\ back\nline\ttab', 'éàü€', '', REPEAT('🔔', 500), REPEAT('中', 255), REPEAT('x', 255),
   'naïve €', REPEAT('m', 700), REPEAT('l', 300), X'0001FF', X'00', X'00FF7F80', X'', X'DEADBEEF00', X'22', X'5C', '中文'),
  (3, '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', ''),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, 'trail   ', 'trail   ', X'8081FE', 'a', 'x', 'y', X'01', X'81', X'7F', X'1F', X'0102030405', X'FF', X'20', X'20',
   X'20', X'20', X'20', 'end ');

CREATE TABLE times (
  id INT PRIMARY KEY,
  d DATE, y YEAR, t0 TIME, t1 TIME(1), t3 TIME(3), t6 TIME(6), dt0 DATETIME, dt2 DATETIME(2), dt3 DATETIME(3),
  dt6 DATETIME(6), ts0 TIMESTAMP NULL, ts1 TIMESTAMP(1) NULL, ts4 TIMESTAMP(4) NULL, ts6 TIMESTAMP(6) NULL
);
INSERT INTO times VALUES
  (1, '2024-02-29', 2024, '12:34:56', '12:34:56.7', '12:34:56.789', '12:34:56.789012', '2024-02-29 12:34:56',
   '2024-02-29 12:34:56.78', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56',
   '2024-02-29 12:34:56.7', '2024-02-29 12:34:56.7890', '2024-02-29 12:34:56.789012'),
  (2, '0000-00-00', 0, '-838:59:59', '-838:59:59.0', '-00:00:00.001', '-00:00:00.000001', '0000-00-00 00:00:00',
   '0000-00-00 00:00:00.00', '0000-00-00 00:00:00.000', '0000-00-00 00:00:00.000000', '0000-00-00 00:00:00',
   '0000-00-00 00:00:00.0', '0000-00-00 00:00:00.0000', '0000-00-00 00:00:00.000000'),
  (3, '9999-12-31', 2155, '838:59:59', '838:59:58.9', '838:59:58.999', '838:59:58.999999', '9999-12-31 23:59:59',
   '9999-12-31 23:59:59.99', '9999-12-31 23:59:59.999', '9999-12-31 23:59:59.999999', '2038-01-19 06:14:07',
   '2038-01-19 06:14:07.9', '2038-01-19 06:14:07.9999', '2038-01-19 06:14:07.999999'),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, '2024-00-00', 1901, '-01:02:03', '-01:02:03.4', '-01:02:03.456', '-01:02:03.456789', '1000-01-01 00:00:00',
   '1000-01-01 00:00:00.01', '1000-01-01 00:00:00.001', '1000-01-01 00:00:00.000001', '1970-01-01 03:00:01',
   '1970-01-01 03:00:01.1', '1970-01-01 03:00:01.0001', '1970-01-01 03:00:01.000001'),
  (6, '1969-12-31', 1970, '00:00:00', '00:00:00.0', '00:00:00.100', '100:00:00.000001', '2024-00-15 00:00:00',
   '2023-10-29 02:30:00.50', '2023-10-29 02:30:00.500', '2000-02-29 23:59:59.500000', '2023-10-29 02:30:00',
   '2023-10-29 02:30:00.5', '2100-01-01 00:00:00', '2023-10-29 02:30:00.500000');

CREATE TABLE members (
  id INT PRIMARY KEY,
  e ENUM('new','it''s paid','ship,ped','') , el ENUM('café','naïve') CHARACTER SET latin1, s SET('a','b','c d'),
  s64 SET('m00','m01','m02','m03','m04','m05','m06','m07','m08','m09','m10','m11','m12','m13','m14','m15','m16','m17',
   'm18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36',
   'm37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55',
   'm56','m57','m58','m59','m60','m61','m62','m63'),
  s17 SET('n00','n01','n02','n03','n04','n05','n06','n07','n08','n09','n10','n11','n12','n13','n14','n15','n16'),
  b1 BIT(1), b8 BIT(8), b13 BIT(13), b64 BIT(64)
);
INSERT INTO members VALUES
  (1, 'new', 'café', 'a', 'm00', 'n00', b'1', b'10101010', b'1010101010101', b'1'),
  (2, 'it''s paid', 'naïve', 'a,c d', 'm00,m63', 'n00,n16', b'0', b'0', b'0', 18446744073709551615),
  (3, 'ship,ped', NULL, 'a,b,c d', 'm31,m32,m33', 'n08,n09', NULL, 255, 8191, 9223372036854775808),
  (4, '', 'café', '', '', '', b'1', b'1', b'1', 0),
  (5, 'no such member', 'bogus', 'nope', 'm62', 'n15', NULL, NULL, NULL, NULL),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE keyed (
  x VARCHAR(10), second INT, id INT, first VARCHAR(20), PRIMARY KEY (first, second), KEY (id)
);
INSERT INTO keyed VALUES ('a', 1, 1, 'k'), ('b', 2, 2, 'k');
CREATE TABLE prefixed (t VARCHAR(100), id INT, PRIMARY KEY (id, t(5)));
INSERT INTO prefixed VALUES ('text', 1);
CREATE TABLE hidden (id INT PRIMARY KEY, secret INT INVISIBLE DEFAULT 7, g INT AS (id * 2) STORED, v INT AS (id + 1) VIRTUAL);
INSERT INTO hidden (id) VALUES (1), (2);

BEGIN;
UPDATE integers SET ti = 5, bu = 17 WHERE id IN (1, 3);
UPDATE texts SET v = CONCAT(v, '!') WHERE id <= 3;
UPDATE times SET dt3 = '2025-01-01 00:00:00.500', ts6 = NULL WHERE id = 1;
DELETE FROM decimals WHERE id = 5;
DELETE FROM keyed WHERE id = 2;
COMMIT;
BEGIN;
UPDATE integers, decimals SET integers.si = 9, decimals.b = 7.25 WHERE integers.id = decimals.id AND integers.id = 2;
COMMIT;
