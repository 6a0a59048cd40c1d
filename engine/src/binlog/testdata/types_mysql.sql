-- Column types that only MySQL has, or writes in its own way.
CREATE TABLE documents (id INT PRIMARY KEY, j JSON, k JSON NOT NULL);
INSERT INTO documents VALUES
  (1, '{"a": 1, "b": [1, 2, {"c": null}], "long key with spaces": "v"}', 'null'),
  (2, '[]', '{}'), (3, NULL, 'true'), (4, '"text \\"quoted\\" \\\\ \\n \\u0001 \\u4e2d 🔔"', 'false'),
  (5, '[1, -1, 32767, 32768, -32768, -32769, 65535, 65536, 2147483647, 2147483648, -2147483649]',
   '[4294967295, 4294967296, 9223372036854775807, 18446744073709551615, 1.5, 1e100, 1.0, -0.0, 1e15, 123456.789]'),
  (6, '{"": {"": {"": []}}}', '[[[[[["deep"]]]]]]'),
  (7, JSON_OBJECT('dec', CAST(1.50 AS DECIMAL(10,4)), 'date', CAST('2024-02-29' AS DATE),
   'time', CAST('-12:34:56.789' AS TIME(3)), 'dt', CAST('2024-02-29 12:34:56.789012' AS DATETIME(6))),
   JSON_ARRAY(CAST(X'DEADBEEF' AS BINARY), b'101', TIMESTAMP'2024-02-29 01:02:03', YEAR(NOW()) > 0)),
  (8, JSON_OBJECT('big', REPEAT('x', 700)), JSON_ARRAY(REPEAT('y', 130), 70000, 1.5)),
  (9, '{"z": 1, "aa": 2, "b": 3}', CAST(123456789012345678901234567890 AS JSON)),
  (10, CAST(ST_GeomFromText('POINT(1 2)') AS JSON), CAST(CAST('2015' AS YEAR) AS JSON));

UPDATE documents SET j = JSON_SET(j, '$.a', 2) WHERE id = 1;

CREATE TABLE shapes (
  id INT PRIMARY KEY, note VARCHAR(20), g GEOMETRY, after_g VARCHAR(20) CHARACTER SET latin1, p POINT SRID 4326
);
INSERT INTO shapes VALUES
  (1, 'point', ST_GeomFromText('POINT(1 2)'), 'é', ST_GeomFromText('POINT(10 20)', 4326)),
  (2, 'line', ST_GeomFromText('LINESTRING(0 0, 1 1, 2 2)'), 'x', NULL), (3, NULL, NULL, NULL, NULL);

CREATE TABLE vectors (id INT PRIMARY KEY, before_v VARCHAR(20) CHARACTER SET latin1, v VECTOR(3), after_v VARCHAR(10), b VARCHAR(10) CHARACTER SET latin1);
INSERT INTO vectors VALUES (1, 'é', TO_VECTOR('[1,2,3]'), '中', 'ü'), (2, NULL, NULL, NULL, NULL);
