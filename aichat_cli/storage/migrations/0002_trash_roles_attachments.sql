-- A conversation in the trash has `deleted_at`: it is shown nowhere, can be taken back, and is purged later.
ALTER TABLE conversations ADD COLUMN deleted_at TEXT;

DROP INDEX conversations_by_update;
CREATE INDEX conversations_by_update ON conversations (updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX conversations_in_trash ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;

-- Imported conversations have messages of tools and of the system, and things said of them that have no column here
-- (`extra`, JSON). A CHECK changes only with its table, which is why messages is made anew.
DROP TRIGGER messages_fts_insert;
DROP TRIGGER messages_fts_update;
DROP TRIGGER messages_fts_delete;
DROP VIEW settled_messages;

CREATE TABLE messages_new (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  parent_id       TEXT REFERENCES messages (id),
  role            TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
  content         TEXT NOT NULL,
  reasoning       TEXT NOT NULL DEFAULT '',
  status          TEXT NOT NULL CHECK (status IN ('streaming', 'complete', 'stopped', 'failed')),
  model           TEXT,
  finish_reason   TEXT,
  error           TEXT,
  extra           TEXT,
  created_at      TEXT NOT NULL,
  updated_at      TEXT NOT NULL
) STRICT;

INSERT INTO messages_new
SELECT seq, id, conversation_id, parent_id, role, content, reasoning, status, model, finish_reason, error, NULL,
       created_at, updated_at
FROM messages ORDER BY seq;

-- A seq that was used once must not come back, also where the last rows were deleted.
DELETE FROM sqlite_sequence WHERE name = 'messages_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'messages_new', seq FROM sqlite_sequence WHERE name = 'messages';

DROP TABLE messages;
ALTER TABLE messages_new RENAME TO messages;

CREATE INDEX messages_by_conversation ON messages (conversation_id);
CREATE INDEX messages_by_parent ON messages (parent_id);
CREATE INDEX messages_streaming ON messages (status) WHERE status = 'streaming';

CREATE VIEW settled_messages AS SELECT seq, content FROM messages WHERE status <> 'streaming';

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

-- Files that were sent with a message. One content is kept once, however often it is attached.
CREATE TABLE blobs (
  sha256  TEXT PRIMARY KEY,
  content BLOB NOT NULL
) STRICT;

CREATE TABLE attachments (
  seq        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  sha256     TEXT NOT NULL REFERENCES blobs (sha256),
  name       TEXT NOT NULL,
  media_type TEXT NOT NULL,
  bytes      INTEGER NOT NULL CHECK (bytes >= 0),
  created_at TEXT NOT NULL
) STRICT;

CREATE INDEX attachments_by_message ON attachments (message_id);
CREATE INDEX attachments_by_content ON attachments (sha256);

CREATE TRIGGER blobs_without_attachment AFTER DELETE ON attachments
WHEN NOT EXISTS (SELECT 1 FROM attachments WHERE sha256 = old.sha256)
BEGIN
  DELETE FROM blobs WHERE sha256 = old.sha256;
END;
