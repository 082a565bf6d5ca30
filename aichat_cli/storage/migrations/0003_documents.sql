-- A collection is a set of documents that are searched together; it has one embedding model, or none: text alone.
-- Its indexes, `chunks_fts_SEQ` and those of `vector_indexes`, are made with it (storage/collections.py): they can be made
-- anew from the tables below at any time.
CREATE TABLE collections (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL UNIQUE,
  user_id         TEXT NOT NULL REFERENCES profiles (id),
  name            TEXT NOT NULL,
  embedding_model TEXT,
  dimensions      INTEGER CHECK (dimensions > 0),
  created_at      TEXT NOT NULL,
  updated_at      TEXT NOT NULL,
  UNIQUE (user_id, name),
  CHECK ((embedding_model IS NULL) = (dimensions IS NULL))
) STRICT;

-- `path` is where it came from: an absolute path, a URL, or `stdin:NAME`. `root` is the folder that was ingested.
-- `size` and `modified_ns` are those of the file when it was read, `etag` what a server said of a page: what is
-- unchanged by them is not read again. `settings` names how it was split and embedded.
CREATE TABLE documents (
  seq           INTEGER PRIMARY KEY AUTOINCREMENT,
  id            TEXT NOT NULL UNIQUE,
  user_id       TEXT NOT NULL REFERENCES profiles (id),
  collection_seq INTEGER NOT NULL REFERENCES collections (seq) ON DELETE CASCADE,
  name           TEXT NOT NULL,
  path          TEXT NOT NULL,
  root          TEXT,
  title         TEXT,
  media_type    TEXT NOT NULL,
  size          INTEGER NOT NULL CHECK (size >= 0),
  modified_ns   INTEGER,
  etag          TEXT,
  sha256        BLOB NOT NULL,
  settings      TEXT NOT NULL,
  chunk_count   INTEGER NOT NULL CHECK (chunk_count >= 0),
  created_at    TEXT NOT NULL,
  updated_at    TEXT NOT NULL,
  UNIQUE (collection_seq, path)
) STRICT;

CREATE INDEX documents_by_content ON documents (collection_seq, sha256);
CREATE INDEX documents_by_root ON documents (collection_seq, root);
CREATE INDEX documents_by_user ON documents (user_id);

-- Chunks in their order are the whole text of a document; `start_char` and `end_char` count its characters.
CREATE TABLE document_chunks (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  document_seq INTEGER NOT NULL REFERENCES documents (seq) ON DELETE CASCADE,
  chunk_index  INTEGER NOT NULL,
  content      TEXT NOT NULL,
  heading      TEXT NOT NULL,
  start_char   INTEGER NOT NULL,
  end_char     INTEGER NOT NULL,
  line         INTEGER NOT NULL,
  page         INTEGER,
  token_count  INTEGER NOT NULL,
  hash         BLOB NOT NULL,
  UNIQUE (document_seq, chunk_index)
) STRICT;

CREATE INDEX document_chunks_by_hash ON document_chunks (hash);

-- Vectors as they were made, L2-normalised little-endian float16. `chunk_vectors` are of the collection's model,
-- `rerank_vectors` of the model that ranks the best again, made after ingest.
CREATE TABLE chunk_vectors (
  chunk_seq INTEGER PRIMARY KEY REFERENCES document_chunks (seq) ON DELETE CASCADE,
  vector    BLOB NOT NULL
) STRICT;

CREATE TABLE rerank_vectors (
  chunk_seq INTEGER PRIMARY KEY REFERENCES document_chunks (seq) ON DELETE CASCADE,
  vector    BLOB NOT NULL
) STRICT;

-- Vectors of the model a collection changes to, kept until all of them are there: what was paid for is not made twice.
CREATE TABLE staged_vectors (
  chunk_seq INTEGER NOT NULL REFERENCES document_chunks (seq) ON DELETE CASCADE,
  model     TEXT NOT NULL,
  vector    BLOB NOT NULL,
  PRIMARY KEY (chunk_seq, model)
) STRICT;

-- The indexes of a collection's vectors, each a vec0 table `chunk_vectors_COLLECTION_SEQ` (storage/vectors.py): the one
-- that is searched, and one that is being filled to take its place. `centroids` are the centres of the clusters its
-- vectors are gathered in, float32 one after the other, NULL where a query is compared with all of them; `trained_on` is
-- how many vectors there were when they were found.
CREATE TABLE vector_indexes (
  seq            INTEGER PRIMARY KEY AUTOINCREMENT,
  collection_seq INTEGER NOT NULL REFERENCES collections (seq) ON DELETE CASCADE,
  is_searched    INTEGER NOT NULL CHECK (is_searched IN (0, 1)),
  trained_on     INTEGER NOT NULL,
  centroids      BLOB,
  UNIQUE (collection_seq, is_searched)
) STRICT;
