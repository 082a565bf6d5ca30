-- Sync with a hosted database. There is one row while it is on; without it nothing below is written.
--
-- `account` says where, without any secret. `clock` is the hybrid logical clock: milliseconds of Unix time times 65,536, and
-- a counter. `last_mid` is the last number given to a change in the outbox, `acked_mid` and `acked_uid` the last change the
-- other side has confirmed. All that others changed up to `cursor` is applied, all up to `staged_to` is staged.
-- `horizon` is that of the other side when everything was last begun to be read.
-- `resync` says why everything is read again: `first`, `copied`, `purged`, `restored`, or `` where it need not be.
-- `is_recording` is 0 within a transaction that writes what others changed.
CREATE TABLE sync_state (
  is_only        INTEGER PRIMARY KEY CHECK (is_only = 1),
  device_id      TEXT NOT NULL,
  account        TEXT NOT NULL,
  clock          INTEGER NOT NULL DEFAULT 0,
  last_mid       INTEGER NOT NULL DEFAULT 0,
  acked_mid      INTEGER NOT NULL DEFAULT 0,
  acked_uid      TEXT,
  cursor         INTEGER NOT NULL DEFAULT 0,
  staged_to      INTEGER NOT NULL DEFAULT 0,
  horizon        INTEGER NOT NULL DEFAULT -1,
  resync         TEXT NOT NULL CHECK (resync IN ('', 'first', 'copied', 'purged', 'restored')),
  is_recording   INTEGER NOT NULL DEFAULT 1 CHECK (is_recording IN (0, 1)),
  with_documents INTEGER NOT NULL CHECK (with_documents IN (0, 1)),
  synced_at      TEXT,
  tried_at       TEXT,
  problem        TEXT
) STRICT;

-- What was changed here and is not confirmed yet, written by the triggers below in the transaction of the change itself.
-- `mid` is given when it is sent, in order and without gaps; `uid` names the change for good. `field` is that of a
-- conversation, `*` for a new one; `value` a JSON object of the fields that were set. Everything else is read when it is
-- sent: messages and usage never change, and of a document the newest version counts.
CREATE TABLE outbox (
  seq   INTEGER PRIMARY KEY AUTOINCREMENT,
  mid   INTEGER UNIQUE,
  uid   TEXT NOT NULL DEFAULT (lower(hex(randomblob(8)))),
  clock INTEGER NOT NULL DEFAULT 0,
  kind  TEXT NOT NULL
        CHECK (kind IN ('conversation', 'conversation_delete', 'message', 'usage', 'document', 'document_delete')),
  id    TEXT NOT NULL,
  field TEXT NOT NULL DEFAULT '',
  value TEXT
) STRICT;

CREATE INDEX outbox_by_id ON outbox (id, field);
CREATE INDEX outbox_unnumbered ON outbox (seq) WHERE mid IS NULL;

CREATE TRIGGER outbox_is_stamped AFTER INSERT ON outbox
BEGIN
  UPDATE sync_state SET clock = max(clock + 1, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) * 65536);
  UPDATE outbox SET clock = (SELECT clock FROM sync_state) WHERE seq = new.seq;
END;

-- What came from others and is not applied yet, the newest of each; and the chunks of documents among it.
CREATE TABLE sync_staged (
  kind   TEXT NOT NULL,
  id     TEXT NOT NULL,
  seq    INTEGER NOT NULL,
  change BLOB NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sync_staged_in_order ON sync_staged (kind, seq);

CREATE TABLE sync_staged_chunks (
  document_id TEXT NOT NULL,
  stamp       TEXT NOT NULL,
  chunk_index INTEGER NOT NULL,
  chunk       BLOB NOT NULL,
  PRIMARY KEY (document_id, stamp, chunk_index)
) STRICT, WITHOUT ROWID;

-- Conversations deleted elsewhere while an answer in them is being written here: they are deleted when it is complete.
CREATE TABLE sync_deferred (conversation_id TEXT PRIMARY KEY) STRICT;

-- What lost: a conversation with changes of this device that was deleted elsewhere, or a field that was set later
-- elsewhere. `content` is JSON. It stays on this device.
CREATE TABLE sync_trash (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL UNIQUE,
  kind            TEXT NOT NULL CHECK (kind IN ('conversation', 'title', 'system_prompt', 'document')),
  conversation_id TEXT NOT NULL,
  title           TEXT NOT NULL,
  content         BLOB NOT NULL,
  created_at      TEXT NOT NULL
) STRICT;

-- A file may stay on the device it was attached on, if it is larger than what is synced: its name is here, its content is
-- not. So an attachment no longer refers to a blob that must be there.
CREATE TABLE attachments_new (
  seq        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  sha256     TEXT NOT NULL,
  name       TEXT NOT NULL,
  media_type TEXT NOT NULL,
  bytes      INTEGER NOT NULL CHECK (bytes >= 0),
  created_at TEXT NOT NULL
) STRICT;

INSERT INTO attachments_new SELECT seq, id, message_id, sha256, name, media_type, bytes, created_at FROM attachments;
DROP TRIGGER blobs_without_attachment;
DROP TABLE attachments;
ALTER TABLE attachments_new RENAME TO attachments;

CREATE INDEX attachments_by_message ON attachments (message_id);
CREATE INDEX attachments_by_content ON attachments (sha256);

CREATE TRIGGER blobs_without_attachment AFTER DELETE ON attachments
WHEN NOT EXISTS (SELECT 1 FROM attachments WHERE sha256 = old.sha256)
BEGIN
  DELETE FROM blobs WHERE sha256 = old.sha256;
END;

-- Conversations. The head goes along once the answer it points to is complete.
CREATE TRIGGER sync_conversation_insert AFTER INSERT ON conversations
WHEN (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id, field, value)
  VALUES ('conversation', new.id, '*', json_object('title', new.title, 'system_prompt', new.system_prompt,
          'model', new.model, 'trashed_at', new.deleted_at));
END;

CREATE TRIGGER sync_conversation_title AFTER UPDATE OF title ON conversations
WHEN new.title IS NOT old.title AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id, field, value)
  VALUES ('conversation', new.id, 'title', json_object('title', new.title));
END;

CREATE TRIGGER sync_conversation_system_prompt AFTER UPDATE OF system_prompt ON conversations
WHEN new.system_prompt IS NOT old.system_prompt AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id, field, value)
  VALUES ('conversation', new.id, 'system_prompt', json_object('system_prompt', new.system_prompt));
END;

CREATE TRIGGER sync_conversation_model AFTER UPDATE OF model ON conversations
WHEN new.model IS NOT old.model AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id, field, value)
  VALUES ('conversation', new.id, 'model', json_object('model', new.model));
END;

CREATE TRIGGER sync_conversation_trashed AFTER UPDATE OF deleted_at ON conversations
WHEN new.deleted_at IS NOT old.deleted_at AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id, field, value)
  VALUES ('conversation', new.id, 'trashed_at', json_object('trashed_at', new.deleted_at));
END;

CREATE TRIGGER sync_conversation_head AFTER UPDATE OF head_id ON conversations
WHEN new.head_id IS NOT old.head_id AND (SELECT is_recording FROM sync_state) = 1
  AND NOT EXISTS (SELECT 1 FROM messages WHERE id = new.head_id AND status = 'streaming')
BEGIN
  INSERT INTO outbox (kind, id, field, value)
  VALUES ('conversation', new.id, 'head_id', json_object('head_id', new.head_id));
END;

CREATE TRIGGER sync_conversation_touched AFTER UPDATE OF updated_at ON conversations
WHEN new.updated_at > old.updated_at AND new.head_id IS old.head_id AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id, field, value) VALUES ('conversation', new.id, 'updated_at', '{}');
END;

CREATE TRIGGER sync_conversation_delete AFTER DELETE ON conversations
WHEN (SELECT is_recording FROM sync_state) = 1
BEGIN
  DELETE FROM outbox WHERE id = old.id AND kind = 'conversation' AND mid IS NULL;
  INSERT INTO outbox (kind, id) VALUES ('conversation_delete', old.id);
END;

-- Messages, once they are complete.
CREATE TRIGGER sync_message_insert AFTER INSERT ON messages
WHEN new.status <> 'streaming' AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) VALUES ('message', new.id);
END;

CREATE TRIGGER sync_message_settled AFTER UPDATE OF status ON messages
WHEN old.status = 'streaming' AND new.status <> 'streaming' AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) VALUES ('message', new.id);
  INSERT INTO outbox (kind, id, field, value)
  SELECT 'conversation', id, 'head_id', json_object('head_id', head_id)
  FROM conversations WHERE id = new.conversation_id AND head_id = new.id;
END;

CREATE TRIGGER sync_usage_insert AFTER INSERT ON usage
WHEN (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) VALUES ('usage', new.request_id);
END;

-- Documents: size, time and etag of an unchanged one are this device's own business.
CREATE TRIGGER sync_document_insert AFTER INSERT ON documents
WHEN (SELECT is_recording AND with_documents FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) VALUES ('document', new.id);
END;

CREATE TRIGGER sync_document_update AFTER UPDATE OF updated_at ON documents
WHEN (SELECT is_recording AND with_documents FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) VALUES ('document', new.id);
END;

CREATE TRIGGER sync_document_delete AFTER DELETE ON documents
WHEN (SELECT is_recording AND with_documents FROM sync_state) = 1
BEGIN
  DELETE FROM outbox WHERE id = old.id AND kind = 'document' AND mid IS NULL;
  INSERT INTO outbox (kind, id) VALUES ('document_delete', old.id);
END;

CREATE TRIGGER sync_collection_model AFTER UPDATE OF embedding_model ON collections
WHEN new.embedding_model IS NOT old.embedding_model AND (SELECT is_recording AND with_documents FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) SELECT 'document', id FROM documents WHERE collection_seq = new.seq;
END;
