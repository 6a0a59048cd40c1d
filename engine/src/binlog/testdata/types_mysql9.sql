-- What MySQL has since 9.0.
CREATE TABLE vectors (id INT PRIMARY KEY, before_v VARCHAR(20) CHARACTER SET latin1, v VECTOR(3), after_v VARCHAR(10), b VARCHAR(10) CHARACTER SET latin1);
INSERT INTO vectors VALUES (1, 'é', TO_VECTOR('[1,2,3]'), '中', 'ü'), (2, NULL, NULL, NULL, NULL);
