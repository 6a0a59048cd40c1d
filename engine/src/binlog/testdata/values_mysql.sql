-- Values that only MySQL has, run on real servers only: every kind of geometry, vectors, invisible keys, opaque JSON.
CREATE TABLE geometries (id INT PRIMARY KEY, g GEOMETRY, p POINT SRID 4326, m MULTIPOLYGON NOT NULL, after_g INT);
INSERT INTO geometries VALUES
  (1, ST_GeomFromText('POINT(1.5 -2)'), ST_GeomFromText('POINT(10 20)', 4326),
   ST_GeomFromText('MULTIPOLYGON(((0 0,4 0,4 4,0 4,0 0),(1 1,2 1,2 2,1 1)),((9 9,8 9,8 8,9 9)))'), 1),
  (2, ST_GeomFromText('LINESTRING(0 0,1e20 1,0.1 -1e-7)'), ST_GeomFromText('POINT(-89.5 179.25)', 4326),
   ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 2),
  (3, ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))'), NULL, ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 3),
  (4, ST_GeomFromText('MULTIPOINT(1 2,3 4)'), NULL, ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 4),
  (5, ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3,4 4))'), NULL,
   ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 5),
  (6, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1),GEOMETRYCOLLECTION EMPTY)'), NULL,
   ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 6),
  (7, ST_GeomFromText('LINESTRING(10 20,11 21)', 4326), NULL, ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 7),
  (8, NULL, NULL, ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), 8);
UPDATE geometries SET g = ST_GeomFromText('POINT(7 8)') WHERE id = 8;
CREATE TABLE embeddings (id INT PRIMARY KEY, v VECTOR(4), w VECTOR(2048), t VARCHAR(10) CHARACTER SET gbk);
INSERT INTO embeddings VALUES
  (1, TO_VECTOR('[0.1,-2,3e-10,16777217]'), TO_VECTOR('[1]'), '中'), (2, TO_VECTOR('[3.4e38,1e-37,0,-0.5]'), NULL, 'x'),
  (3, NULL, TO_VECTOR('[1,2,3,4,5,6,7,8,9,10,0.3333333]'), NULL);
SET sql_generate_invisible_primary_key = ON;
CREATE TABLE keyless (id INT, t VARCHAR(10));
SET sql_generate_invisible_primary_key = OFF;
INSERT INTO keyless VALUES (7, 'a'), (8, 'b');
UPDATE keyless SET t = 'c' WHERE id = 8;
CREATE TABLE unseen (id INT PRIMARY KEY, g INT AS (id * 2) STORED INVISIBLE, secret VARCHAR(10) INVISIBLE DEFAULT 'hush', t INT);
INSERT INTO unseen (id, t) VALUES (1, 1), (2, 2);
INSERT INTO unseen (id, secret) VALUES (3, 'told');
CREATE TABLE opaques (id INT PRIMARY KEY, j JSON);
INSERT INTO opaques VALUES
  (1, JSON_ARRAY(CAST(-123456789.123456789 AS DECIMAL(30,12)), CAST(0 AS DECIMAL(65,30)), 1e-7, 0.1)),
  (2, JSON_ARRAY(DATE'0001-01-01', TIME'-838:59:59', TIME'00:00:00.000001', TIMESTAMP'9999-12-31 23:59:59.999999')),
  (3, JSON_ARRAY(b'1', b'1111111111111111', X'00FF', CAST('' AS BINARY), CAST('abc' AS BINARY(5)))),
  (4, JSON_OBJECT('blob', CAST(REPEAT('x', 300) AS BINARY), 'year', CAST(2024 AS YEAR), 'set', 'a', 'max', 18446744073709551615)),
  (5, JSON_OBJECT('k1', JSON_OBJECT('k2', JSON_OBJECT('d', CAST('10.50' AS DECIMAL(5,2)))), 'neg', -9223372036854775808));
UPDATE opaques SET j = JSON_SET(j, '$[0]', CAST(X'DEAD' AS BINARY)) WHERE id < 4;
