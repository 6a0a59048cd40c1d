-- The character set that MariaDB has not.
CREATE TABLE cs_gb18030 (id INT PRIMARY KEY, v VARCHAR(60), c CHAR(10), t TEXT, e ENUM('中文€ḿ','b'), s SET('中文€ḿ','b')) CHARACTER SET gb18030;
INSERT INTO cs_gb18030 VALUES (1, '中文🔔€ḿ', '中文🔔€ḿ', REPEAT('中文🔔€ḿ abc ', 100), '中文€ḿ', '中文€ḿ,b'), (2, 'plain "ascii"', 'x  ', '', 'b', 'b'), (3, NULL, NULL, NULL, NULL, NULL);
