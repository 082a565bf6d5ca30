-- Accounts of many people, for a gateway: a database of its own, with the tables of everybody's. A user has a name; the
-- profile of a database that belongs to one person has none.
ALTER TABLE profiles ADD COLUMN name TEXT CHECK (length(name) BETWEEN 1 AND 100);
ALTER TABLE profiles ADD COLUMN email TEXT;
ALTER TABLE profiles ADD COLUMN suspended_at TEXT;

CREATE UNIQUE INDEX profiles_by_name ON profiles (name) WHERE name IS NOT NULL;

-- Keys are shown once and kept as a SHA-256; the prefix finds the row and is what a user recognises it by. `scopes` are
-- words with blanks between them. A key can be held to a smaller plan than its user's, and to a sum for each calendar month.
CREATE TABLE api_keys (
  id               TEXT PRIMARY KEY,
  user_id          TEXT NOT NULL REFERENCES profiles (id),
  name             TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  prefix           TEXT NOT NULL UNIQUE CHECK (length(prefix) BETWEEN 8 AND 24),
  key_hash         BLOB NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  scopes           TEXT NOT NULL,
  plan             TEXT CHECK (plan IN ('free', 'pro', 'enterprise')),
  monthly_cap_nano INTEGER CHECK (monthly_cap_nano >= 0),
  created_at       TEXT NOT NULL,
  expires_at       TEXT,
  last_used_at     TEXT,
  revoked_at       TEXT
) STRICT;

CREATE INDEX api_keys_by_user ON api_keys (user_id);

-- Which key a call came with: what is held and charged through it is counted against its cap, its calls in its window.
ALTER TABLE credit_holds ADD COLUMN key_id TEXT REFERENCES api_keys (id);
ALTER TABLE credit_ledger ADD COLUMN key_id TEXT REFERENCES api_keys (id);
ALTER TABLE rate_events ADD COLUMN key_id TEXT REFERENCES api_keys (id);

CREATE INDEX credit_holds_by_key ON credit_holds (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX credit_ledger_by_key ON credit_ledger (key_id, created_at) WHERE key_id IS NOT NULL;
CREATE INDEX rate_events_by_key ON rate_events (key_id, at_ms) WHERE key_id IS NOT NULL;

-- What was done to accounts, and by whom. `detail` is JSON, and never holds a key.
CREATE TABLE audit_events (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  at      TEXT NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  user_id TEXT REFERENCES profiles (id),
  key_id  TEXT REFERENCES api_keys (id),
  detail  TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE INDEX audit_events_by_user ON audit_events (user_id, seq);

CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
BEGIN
  SELECT RAISE(ABORT, 'what was done is written once');
END;

CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
BEGIN
  SELECT RAISE(ABORT, 'what was done is written once');
END;
