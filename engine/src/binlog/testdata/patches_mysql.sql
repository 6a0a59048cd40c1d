-- Changes within JSON documents, which MySQL logs as such with binlog_row_value_options=PARTIAL_JSON.
CREATE TABLE patches (id INT PRIMARY KEY, n INT, j JSON, t VARCHAR(20), k JSON);
INSERT INTO patches VALUES
  (1, 0, '{"a": 1, "bc": [true, "x", null], "long": "some text that is long enough to be worth a change in place"}', 'é', '{"z": 1}'),
  (2, 0, '{"b c": {"d\\"e": [1, [2, 3]]}, "ключ": 5, "": {"": "empty"}, "$x": 1, "_y2": 2, "3z": 3, "q.r": 4, "s[0]": 6}', NULL, NULL),
  (3, 0, '[[1, 2, 3], {"k": "v"}, "s", 1.5]', 'x', '[1, 2]'),
  (5, 0, '7', 'scalar', 'null');
UPDATE patches SET j = JSON_SET(j, '$.a', 2) WHERE id = 1;
UPDATE patches SET j = JSON_SET(j, '$.a', 'text', '$.new', JSON_OBJECT('z', 1, 'aa', JSON_ARRAY())), n = 1 WHERE id = 1;
UPDATE patches SET j = JSON_SET(j, '$.bc[1]', 'replaced', '$.bc[7]', 'appended', '$.bc[last]', 0) WHERE id = 1;
UPDATE patches SET j = JSON_REMOVE(j, '$.bc[0]', '$.long') WHERE id = 1;
UPDATE patches SET j = JSON_REPLACE(j, '$.absent', 1), k = JSON_SET(k, '$.z', CAST(1.50 AS DECIMAL(9,4))) WHERE id = 1;
UPDATE patches SET j = JSON_SET(j, '$."b c"."d\\"e"[1][0]', 20) WHERE id = 2;
UPDATE patches SET j = JSON_SET(j, '$."ключ"', 'значение') WHERE id = 2;
UPDATE patches SET j = JSON_SET(j, '$."".""', JSON_ARRAY(1, '🔔', CAST('2024-02-29' AS DATE))) WHERE id = 2;
UPDATE patches SET j = JSON_SET(j, '$."$x"', 10, '$._y2', 20, '$."3z"', 30, '$."q.r"', 40, '$."s[0]"', 60) WHERE id = 2;
UPDATE patches SET j = JSON_REMOVE(j, '$."b c"."d\\"e"[0]') WHERE id = 2;
UPDATE patches SET j = JSON_SET(j, '$[0][1]', 20, '$[1].k2', TRUE, '$[9]', 'end') WHERE id = 3;
UPDATE patches SET j = JSON_SET(j, '$[1].k', NULL, '$[1].k', 'twice'), k = JSON_REMOVE(k, '$[0]') WHERE id = 3;
UPDATE patches SET j = JSON_SET(j, '$[2][1]', 'wrapped') WHERE id = 3;
UPDATE patches SET j = JSON_SET(j, '$', 8), k = JSON_SET(k, '$[1]', 1) WHERE id = 5;
UPDATE patches SET j = JSON_SET(j, '$.a', n) WHERE id IN (1, 2);
UPDATE patches SET n = n + 1;
UPDATE patches SET j = NULL WHERE id = 5;
