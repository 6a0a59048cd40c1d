-- Column types that MariaDB writes in its own way.
CREATE TABLE shapes (
  id INT PRIMARY KEY, note VARCHAR(20), g GEOMETRY, after_g VARCHAR(20) CHARACTER SET latin1, p POINT
);
INSERT INTO shapes VALUES
  (1, 'point', ST_GeomFromText('POINT(1 2)'), 'é', ST_GeomFromText('POINT(10 20)')),
  (2, 'line', ST_GeomFromText('LINESTRING(0 0, 1 1, 2 2)'), 'x', NULL), (3, NULL, NULL, NULL, NULL);

CREATE TABLE documents (id INT PRIMARY KEY, j JSON);
INSERT INTO documents VALUES (1, '{"a": 1,"b":[1, 2]}'), (2, NULL);
