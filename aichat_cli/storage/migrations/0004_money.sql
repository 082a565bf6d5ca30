-- A profile pays in credits where `billing.mode` says so. Its two sums are kept by the triggers below: the balance is that
-- of its ledger, what is held that of its open holds, and neither can be more than there is.
ALTER TABLE profiles ADD COLUMN stripe_customer_id TEXT;
ALTER TABLE profiles ADD COLUMN balance_nano INTEGER NOT NULL DEFAULT 0 CHECK (balance_nano >= 0);
ALTER TABLE profiles ADD COLUMN held_nano INTEGER NOT NULL DEFAULT 0 CHECK (held_nano BETWEEN 0 AND balance_nano);

-- A purchase is written down before Stripe is asked for a Checkout Session, whose idempotency key its id is: one that was
-- cut off anywhere can be gone on with. `state` is `created` until the session is known. Asking again with that key needs
-- the very same parameters, so those that are not in the catalogue are kept: the page to return to, and the customer,
-- which is NULL until the moment before the session is asked for.
CREATE TABLE purchases (
  id             TEXT PRIMARY KEY,
  user_id        TEXT NOT NULL REFERENCES profiles (id),
  package        TEXT NOT NULL,
  credits        INTEGER NOT NULL CHECK (credits > 0),
  amount_cents   INTEGER NOT NULL CHECK (amount_cents > 0),
  currency       TEXT NOT NULL,
  is_live        INTEGER NOT NULL CHECK (is_live IN (0, 1)),
  return_url     TEXT NOT NULL,
  customer_id    TEXT,
  session_id     TEXT UNIQUE,
  url            TEXT,
  payment_intent TEXT UNIQUE,
  state          TEXT NOT NULL CHECK (state IN ('created', 'open', 'paid', 'expired', 'refused')),
  created_at     TEXT NOT NULL,
  updated_at     TEXT NOT NULL
) STRICT;

CREATE INDEX purchases_by_user ON purchases (user_id, created_at);
CREATE INDEX purchases_unsettled ON purchases (user_id) WHERE state IN ('created', 'open');

-- What went back of a payment, by a refund or a dispute: written down once by the id Stripe gave it, also before its
-- purchase is known to be paid. How many credits each takes follows from the sum of those before it.
CREATE TABLE reversals (
  seq            INTEGER PRIMARY KEY,
  ref            TEXT NOT NULL UNIQUE,
  kind           TEXT NOT NULL CHECK (kind IN ('refund', 'dispute')),
  payment_intent TEXT NOT NULL,
  amount_cents   INTEGER NOT NULL CHECK (amount_cents > 0),
  is_won         INTEGER NOT NULL DEFAULT 0 CHECK (is_won IN (0, 1)),
  created_at     TEXT NOT NULL
) STRICT;

CREATE INDEX reversals_by_payment ON reversals (payment_intent);

-- Every change of a balance, written once. `ref` makes it happen once: the request of a charge, the Checkout Session of a
-- purchase, the refund or dispute that takes one back. `uncovered_nano` is what should have been taken and was not there.
CREATE TABLE credit_ledger (
  seq            INTEGER PRIMARY KEY AUTOINCREMENT,
  id             TEXT NOT NULL UNIQUE,
  user_id        TEXT NOT NULL REFERENCES profiles (id),
  kind           TEXT NOT NULL CHECK (kind IN ('grant', 'purchase', 'charge', 'refund', 'dispute', 'dispute_won')),
  ref            TEXT NOT NULL,
  purchase_id    TEXT REFERENCES purchases (id),
  amount_nano    INTEGER NOT NULL,
  uncovered_nano INTEGER NOT NULL DEFAULT 0 CHECK (uncovered_nano >= 0),
  created_at     TEXT NOT NULL,
  UNIQUE (kind, ref),
  CHECK (CASE WHEN kind IN ('charge', 'refund', 'dispute') THEN amount_nano <= 0
         ELSE amount_nano > 0 AND uncovered_nano = 0 END)
) STRICT;

CREATE INDEX credit_ledger_by_user ON credit_ledger (user_id, seq);
CREATE INDEX credit_ledger_by_purchase ON credit_ledger (purchase_id) WHERE purchase_id IS NOT NULL;

CREATE TRIGGER credit_ledger_moves_the_balance AFTER INSERT ON credit_ledger
BEGIN
  UPDATE profiles SET balance_nano = balance_nano + new.amount_nano WHERE id = new.user_id;
END;

CREATE TRIGGER credit_ledger_is_not_changed BEFORE UPDATE ON credit_ledger
BEGIN
  SELECT RAISE(ABORT, 'the ledger is immutable');
END;

CREATE TRIGGER credit_ledger_is_not_deleted BEFORE DELETE ON credit_ledger
BEGIN
  SELECT RAISE(ABORT, 'the ledger is immutable');
END;

-- INSERT OR REPLACE deletes without a trigger.
CREATE TRIGGER credit_ledger_is_written_once BEFORE INSERT ON credit_ledger
WHEN EXISTS (SELECT 1 FROM credit_ledger WHERE id = new.id OR seq = new.seq OR (kind = new.kind AND ref = new.ref))
BEGIN
  SELECT RAISE(ABORT, 'this is already in the ledger');
END;

-- A call that is under way: what is held for it, and what it is charged by should its process die (`call`, JSON; the text
-- that arrived is that of message `message_seq`). The row goes when the call is settled or released. AUTOINCREMENT: the
-- liveness lock of a hold is a byte named by its seq.
CREATE TABLE credit_holds (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id  TEXT NOT NULL UNIQUE,
  user_id     TEXT NOT NULL REFERENCES profiles (id),
  mode        TEXT NOT NULL CHECK (mode IN ('own-keys', 'credits')),
  amount_nano INTEGER NOT NULL CHECK (amount_nano >= 0),
  call        TEXT NOT NULL,
  message_seq INTEGER,
  created_at  TEXT NOT NULL
) STRICT;

CREATE INDEX credit_holds_by_user ON credit_holds (user_id);

CREATE TRIGGER credit_holds_insert AFTER INSERT ON credit_holds WHEN new.mode = 'credits'
BEGIN
  UPDATE profiles SET held_nano = held_nano + new.amount_nano WHERE id = new.user_id;
END;

CREATE TRIGGER credit_holds_update AFTER UPDATE OF amount_nano, mode, user_id ON credit_holds
BEGIN
  UPDATE profiles SET held_nano = held_nano - old.amount_nano WHERE id = old.user_id AND old.mode = 'credits';
  UPDATE profiles SET held_nano = held_nano + new.amount_nano WHERE id = new.user_id AND new.mode = 'credits';
END;

CREATE TRIGGER credit_holds_delete AFTER DELETE ON credit_holds WHEN old.mode = 'credits'
BEGIN
  UPDATE profiles SET held_nano = held_nano - old.amount_nano WHERE id = old.user_id;
END;

-- When calls were admitted, in milliseconds of Unix time, for as long as the sliding window looks back.
CREATE TABLE rate_events (
  seq     INTEGER PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES profiles (id),
  at_ms   INTEGER NOT NULL
) STRICT;

CREATE INDEX rate_events_by_user ON rate_events (user_id, at_ms);

-- Sums of `usage` for each hour and each day (UTC), so that a long period is told without reading all of its calls: whole
-- days by days, what is left at its ends by hours, and only what is left then, in a zone at :30 or :45, call by call.
-- `unpriced` and `estimated` count the calls without a known price and those whose tokens were counted here.
CREATE TABLE usage_hours (
  user_id            TEXT NOT NULL,
  hour               TEXT NOT NULL,
  type               TEXT NOT NULL,
  provider           TEXT NOT NULL,
  model              TEXT NOT NULL,
  requests           INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL,
  cached_tokens      INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  output_tokens      INTEGER NOT NULL,
  reasoning_tokens   INTEGER NOT NULL,
  cost_nano          INTEGER NOT NULL,
  unpriced           INTEGER NOT NULL,
  estimated          INTEGER NOT NULL,
  PRIMARY KEY (user_id, hour, provider, model, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_days (
  user_id            TEXT NOT NULL,
  day                TEXT NOT NULL,
  type               TEXT NOT NULL,
  provider           TEXT NOT NULL,
  model              TEXT NOT NULL,
  requests           INTEGER NOT NULL,
  input_tokens       INTEGER NOT NULL,
  cached_tokens      INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  output_tokens      INTEGER NOT NULL,
  reasoning_tokens   INTEGER NOT NULL,
  cost_nano          INTEGER NOT NULL,
  unpriced           INTEGER NOT NULL,
  estimated          INTEGER NOT NULL,
  PRIMARY KEY (user_id, day, provider, model, type)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_hours
SELECT user_id, substr(created_at, 1, 13), type, provider, model, count(*), sum(input_tokens), sum(cached_tokens),
       sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), coalesce(sum(cost_nano), 0),
       count(*) - count(cost_nano), sum(provenance = 'estimated')
FROM usage GROUP BY user_id, substr(created_at, 1, 13), provider, model, type;

INSERT INTO usage_days
SELECT user_id, substr(hour, 1, 10), type, provider, model, sum(requests), sum(input_tokens), sum(cached_tokens),
       sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), sum(cost_nano), sum(unpriced), sum(estimated)
FROM usage_hours GROUP BY user_id, substr(hour, 1, 10), provider, model, type;

CREATE TRIGGER usage_hours_insert AFTER INSERT ON usage
BEGIN
  INSERT INTO usage_hours
  VALUES (new.user_id, substr(new.created_at, 1, 13), new.type, new.provider, new.model, 1, new.input_tokens,
          new.cached_tokens, new.cache_write_tokens, new.output_tokens, new.reasoning_tokens,
          coalesce(new.cost_nano, 0), new.cost_nano IS NULL, new.provenance = 'estimated')
  ON CONFLICT DO UPDATE SET
    requests = requests + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cost_nano = cost_nano + excluded.cost_nano,
    unpriced = unpriced + excluded.unpriced,
    estimated = estimated + excluded.estimated;
END;

CREATE TRIGGER usage_days_insert AFTER INSERT ON usage
BEGIN
  INSERT INTO usage_days
  VALUES (new.user_id, substr(new.created_at, 1, 10), new.type, new.provider, new.model, 1, new.input_tokens,
          new.cached_tokens, new.cache_write_tokens, new.output_tokens, new.reasoning_tokens,
          coalesce(new.cost_nano, 0), new.cost_nano IS NULL, new.provenance = 'estimated')
  ON CONFLICT DO UPDATE SET
    requests = requests + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cost_nano = cost_nano + excluded.cost_nano,
    unpriced = unpriced + excluded.unpriced,
    estimated = estimated + excluded.estimated;
END;

-- Every profile begins with 100 credits, by the ledger like everything else.
INSERT INTO credit_ledger (id, user_id, kind, ref, amount_nano, created_at)
SELECT id, id, 'grant', 'welcome:' || id, 1000000000, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM profiles;
