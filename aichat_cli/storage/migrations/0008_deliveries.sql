-- What observers of finished turns have still to deliver to their services. `id` is known over there as well, where the
-- same one counts once. A payload is NULL once it is delivered and nothing but its id is kept, so that it is sent once
-- and never again. `claimed_until` is Unix time in milliseconds: until then one process is at it.
CREATE TABLE deliveries (
  seq INTEGER PRIMARY KEY,
  integration TEXT NOT NULL,
  id TEXT NOT NULL,
  payload BLOB,
  created_at TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  claimed_until INTEGER NOT NULL DEFAULT 0,
  UNIQUE (integration, id)
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (integration, seq) WHERE payload IS NOT NULL;

-- How each of them fares. After a failure nothing is tried before `retry_at`, Unix time in milliseconds.
CREATE TABLE integrations (
  name TEXT PRIMARY KEY,
  last_delivered_at TEXT,
  last_failed_at TEXT,
  problem TEXT,
  failures INTEGER NOT NULL DEFAULT 0,
  retry_at INTEGER NOT NULL DEFAULT 0,
  dropped INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- A random name of this database, by which events are told from those of others. It names nobody.
CREATE TABLE install (
  id TEXT NOT NULL
) STRICT;
