-- Values whose length takes three and four bytes, and JSON in its large form: too large for a recorded binlog.
CREATE TABLE large (id INT PRIMARY KEY, mt MEDIUMTEXT, lb LONGBLOB, j JSON);
INSERT INTO large VALUES
  (1, REPEAT('m', 70000), REPEAT(X'00FF', 70000),
   JSON_OBJECT('big', REPEAT('x', 70000), 'small', 1, 'n', 70000, 'nested', JSON_ARRAY(1, 2, JSON_OBJECT('k', 'v')))),
  (2, REPEAT('🔔', 20000), X'', JSON_ARRAY(REPEAT('y', 130), REPEAT('z', 20000), REPEAT('w', 50000), 3000000000, true));
UPDATE large SET j = JSON_SET(j, '$.n', 70001) WHERE id = 1;
UPDATE large SET j = JSON_SET(j, '$[1]', REPEAT('v', 300), '$[3]', 7, '$[9]', 'appended') WHERE id = 2;
UPDATE large SET j = JSON_SET(JSON_REMOVE(j, '$.small'), '$.big', REPEAT('u', 69000), '$.nested[2].k', 'w') WHERE id = 1;
