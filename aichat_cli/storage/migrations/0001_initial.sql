CREATE TABLE profiles (
  id         TEXT PRIMARY KEY,
  plan       TEXT NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'pro', 'enterprise')),
  created_at TEXT NOT NULL
) STRICT;

INSERT INTO profiles (id, created_at)
VALUES ('00000000-0000-7000-8000-000000000001', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

CREATE TABLE conversations (
  seq           INTEGER PRIMARY KEY AUTOINCREMENT,
  id            TEXT NOT NULL UNIQUE,
  user_id       TEXT NOT NULL REFERENCES profiles (id),
  title         TEXT NOT NULL,
  system_prompt TEXT,
  model         TEXT,
  head_id       TEXT REFERENCES messages (id),
  created_at    TEXT NOT NULL,
  updated_at    TEXT NOT NULL
) STRICT;

CREATE INDEX conversations_by_update ON conversations (updated_at, id);
CREATE INDEX conversations_by_user ON conversations (user_id);
CREATE INDEX conversations_by_head ON conversations (head_id);

-- AUTOINCREMENT: the liveness lock of a turn is the byte at its seq, so a seq must never come back.
CREATE TABLE messages (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  parent_id       TEXT REFERENCES messages (id),
  role            TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
  content         TEXT NOT NULL,
  reasoning       TEXT NOT NULL DEFAULT '',
  status          TEXT NOT NULL CHECK (status IN ('streaming', 'complete', 'stopped', 'failed')),
  model           TEXT,
  finish_reason   TEXT,
  error           TEXT,
  created_at      TEXT NOT NULL,
  updated_at      TEXT NOT NULL
) STRICT;

CREATE INDEX messages_by_conversation ON messages (conversation_id);
CREATE INDEX messages_by_parent ON messages (parent_id);
CREATE INDEX messages_streaming ON messages (status) WHERE status = 'streaming';

CREATE TABLE usage (
  request_id         TEXT PRIMARY KEY,
  user_id            TEXT NOT NULL REFERENCES profiles (id),
  conversation_id    TEXT REFERENCES conversations (id) ON DELETE SET NULL,
  message_id         TEXT REFERENCES messages (id) ON DELETE SET NULL,
  type               TEXT NOT NULL CHECK (type IN ('chat', 'completion', 'embedding')),
  provider           TEXT NOT NULL,
  model              TEXT NOT NULL,
  served_model       TEXT,
  provider_id        TEXT,
  input_tokens       INTEGER NOT NULL CHECK (input_tokens >= 0),
  cached_tokens      INTEGER NOT NULL CHECK (cached_tokens >= 0),
  cache_write_tokens INTEGER NOT NULL CHECK (cache_write_tokens >= 0),
  output_tokens      INTEGER NOT NULL CHECK (output_tokens >= 0),
  reasoning_tokens   INTEGER NOT NULL CHECK (reasoning_tokens >= 0),
  cost_nano          INTEGER CHECK (cost_nano >= 0),
  cost_cents         INTEGER GENERATED ALWAYS AS ((cost_nano + 9999999) / 10000000) VIRTUAL,
  provenance         TEXT NOT NULL CHECK (provenance IN ('provider', 'calculated', 'estimated')),
  raw                TEXT,
  status             TEXT NOT NULL CHECK (status IN ('complete', 'stopped', 'failed')),
  created_at         TEXT NOT NULL
) STRICT;

CREATE INDEX usage_by_user ON usage (user_id, created_at);
CREATE INDEX usage_by_conversation ON usage (conversation_id);
CREATE INDEX usage_by_message ON usage (message_id);

-- A row is written once. Only the deletion of its conversation may empty its two references.
CREATE TRIGGER usage_is_written_once BEFORE INSERT ON usage
WHEN EXISTS (SELECT 1 FROM usage WHERE request_id = new.request_id)
BEGIN
  SELECT RAISE(ABORT, 'usage of this request is already recorded');
END;

CREATE TRIGGER usage_is_not_changed BEFORE UPDATE ON usage
WHEN NOT (
  (new.conversation_id IS old.conversation_id OR new.conversation_id IS NULL)
  AND (new.message_id IS old.message_id OR new.message_id IS NULL)
  AND new.request_id IS old.request_id AND new.user_id IS old.user_id AND new.type IS old.type
  AND new.provider IS old.provider AND new.model IS old.model AND new.served_model IS old.served_model
  AND new.provider_id IS old.provider_id AND new.input_tokens IS old.input_tokens
  AND new.cached_tokens IS old.cached_tokens AND new.cache_write_tokens IS old.cache_write_tokens
  AND new.output_tokens IS old.output_tokens AND new.reasoning_tokens IS old.reasoning_tokens
  AND new.cost_nano IS old.cost_nano AND new.provenance IS old.provenance AND new.raw IS old.raw
  AND new.status IS old.status AND new.created_at IS old.created_at
)
BEGIN
  SELECT RAISE(ABORT, 'usage is immutable');
END;

CREATE TRIGGER usage_is_not_deleted BEFORE DELETE ON usage
BEGIN
  SELECT RAISE(ABORT, 'usage is immutable');
END;

-- Only settled text is searched: a checkpoint of a stream costs nothing in the index.
CREATE VIEW settled_messages AS SELECT seq, content FROM messages WHERE status <> 'streaming';

CREATE VIRTUAL TABLE messages_fts USING fts5 (
  content, content = 'settled_messages', content_rowid = 'seq',
  tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages WHEN new.status <> 'streaming'
BEGIN
  INSERT INTO messages_fts (rowid, content) VALUES (new.seq, new.content);
END;

CREATE TRIGGER messages_fts_update AFTER UPDATE OF status, content ON messages
WHEN old.status <> 'streaming' OR new.status <> 'streaming'
BEGIN
  INSERT INTO messages_fts (messages_fts, rowid, content)
  SELECT 'delete', old.seq, old.content WHERE old.status <> 'streaming';
  INSERT INTO messages_fts (rowid, content) SELECT new.seq, new.content WHERE new.status <> 'streaming';
END;

CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages WHEN old.status <> 'streaming'
BEGIN
  INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.seq, old.content);
END;

CREATE VIRTUAL TABLE titles_fts USING fts5 (
  title, content = 'conversations', content_rowid = 'seq',
  tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER titles_fts_insert AFTER INSERT ON conversations
BEGIN
  INSERT INTO titles_fts (rowid, title) VALUES (new.seq, new.title);
END;

CREATE TRIGGER titles_fts_update AFTER UPDATE OF title ON conversations
BEGIN
  INSERT INTO titles_fts (titles_fts, rowid, title) VALUES ('delete', old.seq, old.title);
  INSERT INTO titles_fts (rowid, title) VALUES (new.seq, new.title);
END;

CREATE TRIGGER titles_fts_delete AFTER DELETE ON conversations
BEGIN
  INSERT INTO titles_fts (titles_fts, rowid, title) VALUES ('delete', old.seq, old.title);
END;
