CREATE TABLE key_use (
	id      TEXT   PRIMARY KEY,
	used_ms BIGINT NOT NULL
);
