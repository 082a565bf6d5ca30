-- Where the vectors of a collection are searched: in an index of this file (local), with all else of the
-- collection on the hosted database (hosted), at Pinecone (pinecone), or in a store of another package, by its
-- name. `chunk_vectors` has them in any case.
ALTER TABLE collections ADD COLUMN searched_in TEXT NOT NULL DEFAULT 'local';

-- What there is at Pinecone and in stores of other packages: a namespace for each collection that is searched there, is on
-- its way there (`filling`), or was there and whose vectors are still to be deleted (`leaving`); such a row outlives its
-- collection. Of a namespace that is filling, chunks up to `filled_to` are there; what changes of those up to `noted_to` is noted below.
CREATE TABLE vector_namespaces (
  seq            INTEGER PRIMARY KEY AUTOINCREMENT,
  collection_seq INTEGER NOT NULL,
  place          TEXT NOT NULL,
  name           TEXT NOT NULL UNIQUE,
  index_name     TEXT NOT NULL,
  host           TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('filling', 'searched', 'leaving')),
  filled_to      INTEGER NOT NULL DEFAULT 0,
  noted_to       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX vector_namespaces_in_use ON vector_namespaces (collection_seq, state) WHERE state <> 'leaving';

-- Chunks whose vector was added or removed here: noted in the same transaction, sent after it. Until `sent_at` (Unix
-- seconds) is some time ago the answers from there may not show it.
CREATE TABLE vector_changes (
  seq           INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace_seq INTEGER NOT NULL REFERENCES vector_namespaces (seq) ON DELETE CASCADE,
  chunk_seq     INTEGER NOT NULL,
  sent_at       INTEGER,
  UNIQUE (namespace_seq, chunk_seq)
) STRICT;

CREATE INDEX vector_changes_unsent ON vector_changes (namespace_seq, seq) WHERE sent_at IS NULL;
