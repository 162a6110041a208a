CREATE TABLE sequence (n BIGINT NOT NULL);
INSERT INTO sequence (n) VALUES (1);
CREATE TABLE objects (
	kind       TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	revision   BIGINT NOT NULL UNIQUE,
	body       TEXT,
	updated_ms BIGINT NOT NULL,
	updated_by TEXT   NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE TABLE audit (
	n          BIGINT PRIMARY KEY,
	time_ms    BIGINT NOT NULL,
	operator   TEXT   NOT NULL,
	role       TEXT   NOT NULL,
	method     TEXT   NOT NULL,
	address    TEXT   NOT NULL,
	request_id TEXT   NOT NULL,
	action     TEXT   NOT NULL,
	kind       TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	status     BIGINT NOT NULL,
	reason     TEXT   NOT NULL,
	before     TEXT,
	after      TEXT
);
CREATE INDEX audit_of_object ON audit (kind, id, n);
