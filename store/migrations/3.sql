CREATE INDEX objects_by_revision ON objects (kind, revision);
