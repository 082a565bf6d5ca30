-- The hosted database of aichat: plain Postgres 15 or newer with pgvector 0.8 or newer, or a Supabase project.
--
-- It is applied as it stands, in one transaction, by the owner of the database, who need not be a superuser; applying it
-- again changes nothing, and applying a newer one brings an older database forward. `aichat sync init DSN` does that, and
-- `aichat sync init --print` shows it.
--
-- Who may do what. Everything is revoked first and granted by hand. A signed-in user (`authenticated`) only reads, and only
-- rows of their own; all that they write goes through functions which know who asks. Money, plans and limits are changed
-- by the service alone (`service_role`, or the owner of the database, which a gateway connects as). `anon` may do nothing.
--
-- What lies where. `public` has the tables, and the functions a user may call. `aichat` has what is called with the id of
-- a user: by the owner and the service, never by a user.

-- 1. Where it runs -----------------------------------------------------------------------------------------------------

do $$
begin
  if current_setting('server_version_num')::int < 150000 then
    raise exception 'aichat needs Postgres 15 or newer, and this is %', current_setting('server_version')
      using errcode = 'feature_not_supported';
  end if;
end $$;

-- Supabase keeps extensions in a schema of its own; elsewhere they are in public. Only a superuser can make this one where
-- it is missing, unless the host has marked it as trusted.
create extension if not exists vector;

do $$
declare
  found text := (select extversion from pg_extension where extname = 'vector');
begin
  if split_part(found, '.', 1)::int = 0 and split_part(found, '.', 2)::int < 8 then
    raise exception 'aichat needs pgvector 0.8 or newer, and this is %', found using errcode = 'feature_not_supported',
      hint = 'Run: ALTER EXTENSION vector UPDATE';
  end if;
end $$;

-- Where it lies, so that its types are found by their names, also where an owner's own search_path leaves it out.
select set_config('search_path', 'public, ' || quote_ident(nspname), true)
from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname = 'vector';

-- Functions that set hnsw.* need the library in the session that makes them: Postgres takes such a name for another's
-- otherwise, and only a superuser could set it.
select '[0]'::vector;

create schema if not exists aichat;
revoke all on schema aichat from public;

-- On Postgres 15 only the owner may make things in public, but a database that was upgraded still lets everybody.
do $$
begin
  revoke create on schema public from public;
exception when insufficient_privilege then
  null;
end $$;

-- The roles of Supabase. Where they are missing and may not be made, there is only the owner, and nobody to keep out.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if to_regrole(wanted) is null then
      begin
        execute format('create role %I nologin', wanted);
      exception
        when insufficient_privilege then null;
        when duplicate_object or unique_violation then null;  -- another database of the same server was set up meanwhile
      end;
    end if;
  end loop;
end $$;

-- Supabase's `auth`, where it is missing: who there is, and who asks. Whoever sets request.jwt.claims has checked them.
do $$
begin
  if to_regprocedure('auth.uid()') is null then
    create schema if not exists auth;
    create table if not exists auth.users (
      id         uuid primary key default gen_random_uuid(),
      email      text unique,
      created_at timestamptz not null default now()
    );
    revoke all on auth.users from public;
    create function auth.uid() returns uuid language sql stable as
      $uid$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $uid$;
    grant usage on schema auth to public;
  end if;
end $$;

-- Which of these files were applied: the newest tells what a client meets.
create table if not exists aichat.schema_versions (
  version    integer primary key,
  applied_at timestamptz not null default now()
);

-- 2. Tables ------------------------------------------------------------------------------------------------------------
--
-- Ids are made by the devices (UUIDv7), so every key begins with the user: nobody can take another's id, nor hang a
-- message, a chunk or an attachment on what belongs to somebody else.

-- What a user has. Both sums are kept by triggers: the balance is that of the ledger, what is held that of the open holds,
-- and neither can be more than there is. Money is in nano-dollars; a credit is a cent, 10,000,000 of them.
create table if not exists public.profiles (
  id                 uuid primary key references auth.users (id) on delete cascade,
  plan               text not null default 'free' check (plan in ('free', 'pro', 'enterprise')),
  balance_nano       bigint not null default 0 check (balance_nano >= 0),
  held_nano          bigint not null default 0 check (held_nano between 0 and balance_nano),
  credits            bigint generated always as (balance_nano / 10000000) stored,
  stripe_customer_id text unique,
  created_at         timestamptz not null default now()
);

-- Every change of a balance, written once: `kind` and `ref` together happen once.
create table if not exists public.credit_ledger (
  id             bigint generated always as identity primary key,
  user_id        uuid not null references public.profiles (id) on delete cascade,
  kind           text not null check (kind in ('grant', 'purchase', 'charge', 'refund', 'dispute', 'dispute_won')),
  ref            text not null,
  amount_nano    bigint not null,
  uncovered_nano bigint not null default 0 check (uncovered_nano >= 0),
  created_at     timestamptz not null default now(),
  unique (kind, ref),
  check (case when kind in ('charge', 'refund', 'dispute') then amount_nano <= 0
         else amount_nano > 0 and uncovered_nano = 0 end)
);
create index if not exists credit_ledger_by_user on public.credit_ledger (user_id, id);

-- A call that is under way, and the most it can cost. `call` is what it is charged by should its holder die.
create table if not exists public.credit_holds (
  request_id  uuid primary key,
  user_id     uuid not null references public.profiles (id) on delete cascade,
  amount_nano bigint not null check (amount_nano >= 0),
  call        jsonb not null,
  expires_at  timestamptz not null,
  created_at  timestamptz not null default now()
);
create index if not exists credit_holds_by_user on public.credit_holds (user_id);
create index if not exists credit_holds_by_expiry on public.credit_holds (expires_at);

-- When calls were admitted, for as long as the sliding window of an hour looks back.
create table if not exists public.rate_events (
  id      bigint generated always as identity primary key,
  user_id uuid not null references public.profiles (id) on delete cascade,
  at      timestamptz not null default clock_timestamp()
);
create index if not exists rate_events_by_user on public.rate_events (user_id, at);

-- Keys of a gateway: shown once, kept as a SHA-256; the prefix finds the row and is what a user recognises it by.
create table if not exists public.api_keys (
  id           uuid primary key default gen_random_uuid(),
  user_id      uuid not null references public.profiles (id) on delete cascade,
  name         text not null check (length(name) between 1 and 100),
  prefix       text not null unique check (length(prefix) between 8 and 24),
  key_hash     bytea not null unique check (octet_length(key_hash) = 32),
  created_at   timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at   timestamptz
);
create index if not exists api_keys_by_user on public.api_keys (user_id);

-- Accounts of many people. A user of a gateway has a name; its operator may suspend them. A key has what it may be used for,
-- can be held to a smaller plan than its user's and to a sum for each calendar month (UTC), and can end by itself.
alter table public.profiles add column if not exists name text check (length(name) between 1 and 100);
alter table public.profiles add column if not exists email text;
alter table public.profiles add column if not exists suspended_at timestamptz;
create unique index if not exists profiles_by_name on public.profiles (name);
alter table public.api_keys add column if not exists scopes text[] not null default '{chat,embeddings,credits,sync}';
alter table public.api_keys add column if not exists plan text check (plan in ('free', 'pro', 'enterprise'));
alter table public.api_keys add column if not exists monthly_cap_nano bigint check (monthly_cap_nano >= 0);
alter table public.api_keys add column if not exists expires_at timestamptz;

-- Which key a call came with: what is held and charged through it is counted against its cap, its calls in its window.
alter table public.credit_holds add column if not exists key_id uuid;
alter table public.credit_ledger add column if not exists key_id uuid;
alter table public.rate_events add column if not exists key_id uuid;
create index if not exists credit_holds_by_key on public.credit_holds (key_id);
create index if not exists credit_ledger_by_key on public.credit_ledger (key_id, created_at);
create index if not exists rate_events_by_key on public.rate_events (key_id, at);

-- Credits that somebody set out to buy, at the price of that time, in cents. It is written down before Stripe is asked for a
-- Checkout Session, whose idempotency key `id` is: what was cut off anywhere can be gone on with. `state` is `created` until
-- the session is known. A session, and a payment, is for one purchase.
create table if not exists public.purchases (
  id             uuid primary key,
  user_id        uuid not null references public.profiles (id) on delete cascade,
  package        text not null,
  credits        bigint not null check (credits between 1 and 1000000000),
  amount_cents   bigint not null check (amount_cents > 0),
  currency       text not null,
  is_live        boolean not null,
  return_url     text not null,
  customer_id    text,
  session_id     text unique,
  url            text,
  payment_intent text unique,
  state          text not null default 'created' check (state in ('created', 'open', 'paid', 'expired', 'refused')),
  created_at     timestamptz not null default clock_timestamp(),
  updated_at     timestamptz not null default clock_timestamp()
);
create index if not exists purchases_by_user on public.purchases (user_id, created_at);
create index if not exists purchases_unsettled on public.purchases (user_id) where state in ('created', 'open');
alter table public.credit_ledger add column if not exists purchase_id uuid;

-- What went back of a payment, by a refund or a dispute: once by the id Stripe gave it, and also before anybody's purchase is
-- known to be paid by it, so it has no user. How many credits each takes follows from the sum of those before it.
create table if not exists aichat.reversals (
  id             bigint generated always as identity primary key,
  ref            text not null unique,
  kind           text not null check (kind in ('refund', 'dispute')),
  payment_intent text not null,
  amount_cents   bigint not null check (amount_cents > 0),
  is_won         boolean not null default false,
  created_at     timestamptz not null default clock_timestamp()
);
create index if not exists reversals_by_payment on aichat.reversals (payment_intent);

-- What was done to accounts, and by whom; `detail` never holds a key. It outlives the account.
create table if not exists aichat.audit_events (
  id      bigint generated always as identity primary key,
  at      timestamptz not null default clock_timestamp(),
  actor   text not null,
  action  text not null,
  user_id uuid,
  key_id  uuid,
  detail  jsonb not null default '{}'
);
create index if not exists audit_events_by_user on aichat.audit_events (user_id, id);

-- Who syncs. Every change of a user gets the next number of `head`, under a lock on this row, so that the order of the
-- numbers is the order in which they became visible: whoever has seen up to one has seen all before it. `horizon` is the
-- newest number among the tombstones that were purged; a reader from before it has to read everything again.
create table if not exists public.sync_heads (
  user_id uuid primary key references public.profiles (id) on delete cascade,
  head    bigint not null default 0,
  horizon bigint not null default 0,
  clock   bigint not null default 0,
  purged  timestamptz not null default now()
);

-- The devices of a user. `last_mid` and `last_uid` name the last change each has sent: one that is sent again is skipped,
-- and a device that does not know its own last change is a copy of another. `seen_seq` is how far it has fetched.
create table if not exists public.sync_devices (
  user_id    uuid not null references public.profiles (id) on delete cascade,
  id         uuid not null,
  name       text not null,
  last_mid   bigint not null default 0,
  last_uid   text,
  seen_seq   bigint not null default 0,
  created_at timestamptz not null default now(),
  seen_at    timestamptz not null default now(),
  primary key (user_id, id)
);

-- `stamps` has, for each field that was ever set, when and by which device: the greater one wins. `origin` is the device
-- all of its changes came from, null where there are several or one of them lost: nobody is sent what is only their own.
-- A deleted conversation stays as a row without content, so that every device hears of it.
create table if not exists public.conversations (
  user_id       uuid not null references public.profiles (id) on delete cascade,
  id            uuid not null,
  seq           bigint not null,
  origin        uuid,
  title         text not null default '',
  system_prompt text,
  model         text,
  head_id       uuid,
  trashed_at    timestamptz,
  stamps        jsonb not null default '{}',
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  deleted_at    timestamptz,
  primary key (user_id, id)
);
create unique index if not exists conversations_by_seq on public.conversations (user_id, seq);
create index if not exists conversations_by_update on public.conversations (user_id, updated_at) where deleted_at is null;

-- A message arrives when it is complete and never changes. `attachments` lists its files; their content is in `blobs`,
-- unless it was too large to be sent.
create table if not exists public.messages (
  user_id         uuid not null,
  id              uuid not null,
  seq             bigint not null,
  origin          uuid,
  conversation_id uuid not null,
  parent_id       uuid,
  role            text not null check (role in ('user', 'assistant', 'system', 'tool')),
  content         text not null,
  reasoning       text not null default '',
  status          text not null check (status in ('complete', 'stopped', 'failed')),
  model           text,
  finish_reason   text,
  error           text,
  extra           text,
  attachments     jsonb not null default '[]',
  created_at      timestamptz not null,
  primary key (user_id, id),
  unique (user_id, conversation_id, id),
  foreign key (user_id, conversation_id) references public.conversations (user_id, id) on delete cascade,
  foreign key (user_id, conversation_id, parent_id) references public.messages (user_id, conversation_id, id)
    on delete cascade deferrable initially deferred
);
create unique index if not exists messages_by_seq on public.messages (user_id, seq);
create index if not exists messages_by_parent on public.messages (user_id, conversation_id, parent_id);
create index if not exists messages_by_file on public.messages using gin (attachments jsonb_path_ops)
  where attachments <> '[]';

create table if not exists public.blobs (
  user_id    uuid not null references public.profiles (id) on delete cascade,
  sha256     text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  content    bytea not null,
  created_at timestamptz not null default now(),
  primary key (user_id, sha256)
);

-- The books: a row for each call, written once. Deleting a conversation empties its references and changes nothing else.
create table if not exists public.usage (
  user_id            uuid not null references public.profiles (id) on delete cascade,
  request_id         uuid not null,
  seq                bigint not null,
  origin             uuid,
  conversation_id    uuid,
  message_id         uuid,
  type               text not null check (type in ('chat', 'completion', 'embedding')),
  provider           text not null,
  model              text not null,
  served_model       text,
  provider_id        text,
  input_tokens       bigint not null check (input_tokens >= 0),
  cached_tokens      bigint not null check (cached_tokens >= 0),
  cache_write_tokens bigint not null check (cache_write_tokens >= 0),
  output_tokens      bigint not null check (output_tokens >= 0),
  reasoning_tokens   bigint not null check (reasoning_tokens >= 0),
  cost_nano          bigint check (cost_nano >= 0),
  cost_cents         bigint generated always as ((cost_nano + 9999999) / 10000000) stored,
  provenance         text not null check (provenance in ('provider', 'calculated', 'estimated')),
  raw                text,
  status             text not null check (status in ('complete', 'stopped', 'failed')),
  created_at         timestamptz not null,
  primary key (user_id, request_id),
  foreign key (user_id, conversation_id) references public.conversations (user_id, id)
    on delete set null (conversation_id),
  foreign key (user_id, message_id) references public.messages (user_id, id) on delete set null (message_id)
);
create unique index if not exists usage_by_seq on public.usage (user_id, seq);
-- A month is a range of this index; one on date_trunc('month', created_at) would not load, as it depends on the zone.
create index if not exists usage_by_time on public.usage (user_id, created_at);
create index if not exists usage_by_conversation on public.usage (user_id, conversation_id);
create index if not exists usage_by_message on public.usage (user_id, message_id);
-- Calls that the service made, of which it may know no more than the id.
create index if not exists usage_of_service on public.usage (request_id) where origin is null;

-- A document and the version of it that is there: `stamp` is when and by which device it was last set. `embedding_model`
-- and `dimensions` are those of its vectors; devices with another model make their own.
create table if not exists public.documents (
  user_id         uuid not null references public.profiles (id) on delete cascade,
  id              uuid not null,
  seq             bigint not null,
  origin          uuid,
  stamp           text not null collate "C",
  collection      text not null default '',
  name            text not null default '',
  path            text not null default '',
  root            text,
  title           text,
  media_type      text not null default '',
  size            bigint not null default 0 check (size >= 0),
  etag            text,
  sha256          text,
  settings        text not null default '',
  embedding_model text,
  dimensions      integer check (dimensions > 0),
  chunk_count     integer not null default 0 check (chunk_count >= 0),
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  deleted_at      timestamptz,
  primary key (user_id, id)
);
create unique index if not exists documents_by_seq on public.documents (user_id, seq);

-- Chunks in their order are the whole text of a document. A vector has as many dimensions as its model gives it, half
-- precision as on the devices. `words` is for full-text search: the title and headings count more than the text.
create table if not exists public.document_chunks (
  id              bigint generated always as identity primary key,
  user_id         uuid not null,
  document_id     uuid not null,
  collection      text not null,
  chunk_index     integer not null check (chunk_index >= 0),
  content         text not null,
  heading         text not null default '',
  start_char      integer not null,
  end_char        integer not null,
  line            integer not null,
  page            integer,
  token_count     integer not null,
  hash            text not null,
  embedding_model text,
  embedding       halfvec,
  words           tsvector not null,
  unique (user_id, document_id, chunk_index),
  foreign key (user_id, document_id) references public.documents (user_id, id) on delete cascade,
  check ((embedding is null) or (embedding_model is not null))
);
create index if not exists document_chunks_by_user on public.document_chunks (user_id, collection);

-- Chunks of a version that is still being sent: what is there stays searchable until all of it has come.
create table if not exists aichat.staged_chunks (
  user_id     uuid not null references public.profiles (id) on delete cascade,
  document_id uuid not null,
  version     text not null,
  chunk_index integer not null,
  chunk       jsonb not null,
  staged_at   timestamptz not null default now(),
  primary key (user_id, document_id, version, chunk_index)
);

-- 3. Sign-up -----------------------------------------------------------------------------------------------------------

-- Whoever signs up has a profile, on the free plan and with 100 credits, in the same transaction.
create or replace function aichat.welcome() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.profiles (id) values (new.id) on conflict do nothing;
  return new;
end $$;

create or replace function aichat.grant_welcome_credits() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.credit_ledger (user_id, kind, ref, amount_nano)
  values (new.id, 'grant', 'welcome:' || new.id, 1000000000);
  insert into public.sync_heads (user_id) values (new.id);
  return null;
end $$;

create or replace trigger aichat_welcome after insert on auth.users for each row execute function aichat.welcome();
create or replace trigger grant_welcome_credits after insert on public.profiles
  for each row execute function aichat.grant_welcome_credits();

-- Who had signed up before this was applied.
insert into public.profiles (id) select id from auth.users on conflict do nothing;

-- 4. Money -------------------------------------------------------------------------------------------------------------
--
-- A call is admitted, which holds the most it can cost, and ends in one of three ways: it is settled with what it did cost,
-- released because nothing came of it, or expired because whoever held it has died. Whatever changes a balance locks the
-- profile first (for no key update, which lets rows that refer to it be written meanwhile), then the hold or the purchase:
-- two that meet wait for each other and never in a circle. Whoever learns of a payment locks that before the profile.
--
-- Refusals have states of their own, so that whoever asks can tell them apart:
--
--   AI400  an argument that means nothing: an amount below zero, an unknown plan
--   AI401  nobody is signed in, or the key is none that can be used; DETAIL tells which: unknown, revoked, expired
--   AI402  the balance does not cover it, or, with the hint `cap`, what the key may spend this month; DETAIL is what is left
--          to spend, in nano-dollars
--   AI403  what is written once is not changed, and sums are not written by hand
--   AI404  there is no such user, or no such key
--   AI409  the same id was used before, for something else
--   AI423  the user is suspended
--   AI429  as many calls as the plan allows were admitted within an hour; DETAIL is how many seconds to wait

-- What a call that costs this much takes from a balance: whole credits, at least one, and nothing where it cost nothing.
create or replace function aichat.charge_nano(cost_nano bigint) returns bigint
language sql immutable set search_path = '' as $$
  select (cost_nano + 9999999) / 10000000 * 10000000
$$;

-- What has accrued of a call. Whatever is written there, it is an amount: one call that cannot be read must not keep all
-- others from being ended.
create or replace function aichat.accrued_nano(call jsonb) returns bigint
language sql immutable set search_path = '' as $$
  select case jsonb_typeof(call -> 'accrued_nano')
    when 'number' then least(greatest(ceil((call ->> 'accrued_nano')::numeric), 0), 1e15)::bigint
    else 0 end
$$;

-- Paid calls within any hour.
create or replace function aichat.calls_an_hour(plan text) returns integer
language sql immutable set search_path = '' as $$
  select case plan when 'enterprise' then 1000 when 'pro' then 200 else 20 end
$$;

-- The balance is the sum of the ledger: the check on profiles refuses an entry that is not covered.
create or replace function aichat.move_balance() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.profiles set balance_nano = balance_nano + new.amount_nano where id = new.user_id;
  return null;
end $$;

-- What is held is the sum of the open holds, however they come and go.
create or replace function aichat.move_held() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    update public.profiles set held_nano = held_nano - old.amount_nano where id = old.user_id;
  end if;
  if tg_op <> 'DELETE' then
    update public.profiles set held_nano = held_nano + new.amount_nano where id = new.user_id;
  end if;
  return null;
end $$;

create or replace function aichat.refuse_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception '%.% allows no % like this', tg_table_schema, tg_table_name, tg_op using errcode = 'AI403';
end $$;

-- Rows that are written once go with their profile, which is gone already when they do, and never before it.
create or replace function aichat.keep_until_profile_goes() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.profiles where id = old.user_id) then
    raise exception 'rows of %.% are not deleted', tg_table_schema, tg_table_name using errcode = 'AI403';
  end if;
  return old;
end $$;

-- Of usage only the references may change: to nothing, when what they refer to has gone; and from nothing, under a higher
-- number, when a device tells what a call of the service belongs to. It is looked at afterwards: before, generated columns
-- are not there yet.
create or replace function aichat.keep_usage() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  allowed public.usage := old;
begin
  if new.conversation_id is null and not exists (
    select from public.conversations c
    where c.user_id = old.user_id and c.id = old.conversation_id and c.deleted_at is null
  ) then
    allowed.conversation_id := null;
  end if;
  if new.message_id is null and not exists (
    select from public.messages m where m.user_id = old.user_id and m.id = old.message_id
  ) then
    allowed.message_id := null;
  end if;
  if old.conversation_id is null and new.conversation_id is not null
    or old.message_id is null and new.message_id is not null
  then
    allowed.conversation_id := coalesce(old.conversation_id, new.conversation_id);
    allowed.message_id := coalesce(old.message_id, new.message_id);
    allowed.seq := greatest(old.seq, new.seq);
  end if;
  if new is distinct from allowed then
    raise exception 'usage is written once' using errcode = 'AI403';
  end if;
  return null;
end $$;

create or replace trigger ledger_moves_balance after insert on public.credit_ledger
  for each row execute function aichat.move_balance();
create or replace trigger ledger_is_not_changed before update on public.credit_ledger
  for each row execute function aichat.refuse_change();
create or replace trigger ledger_is_not_deleted before delete on public.credit_ledger
  for each row execute function aichat.keep_until_profile_goes();
create or replace trigger ledger_is_not_truncated before truncate on public.credit_ledger
  for each statement execute function aichat.refuse_change();

create or replace trigger holds_move_held after insert or delete or update of amount_nano, user_id on public.credit_holds
  for each row execute function aichat.move_held();
create or replace trigger holds_are_not_truncated before truncate on public.credit_holds
  for each statement execute function aichat.refuse_change();

create or replace trigger usage_is_not_changed after update on public.usage
  for each row execute function aichat.keep_usage();
create or replace trigger usage_is_not_deleted before delete on public.usage
  for each row execute function aichat.keep_until_profile_goes();
create or replace trigger usage_is_not_truncated before truncate on public.usage
  for each statement execute function aichat.refuse_change();

create or replace trigger audit_is_not_changed before update or delete on aichat.audit_events
  for each row execute function aichat.refuse_change();
create or replace trigger audit_is_not_truncated before truncate on aichat.audit_events
  for each statement execute function aichat.refuse_change();

-- The sums as of now, for what was written before these triggers were there: whoever had signed up before all of this.
drop trigger if exists sums_are_not_written on public.profiles;
update public.profiles p set balance_nano = s.balance_nano, held_nano = s.held_nano
from (
  select q.id,
    coalesce((select sum(l.amount_nano) from public.credit_ledger l where l.user_id = q.id), 0) as balance_nano,
    coalesce((select sum(h.amount_nano) from public.credit_holds h where h.user_id = q.id), 0) as held_nano
  from public.profiles q
) s
where p.id = s.id and (p.balance_nano, p.held_nano) is distinct from (s.balance_nano, s.held_nano);

-- From here on only the triggers above write them: an update that does not come from a trigger is refused, also to the owner.
create trigger sums_are_not_written before update of balance_nano, held_nano on public.profiles
  for each row when (pg_trigger_depth() = 0) execute function aichat.refuse_change();
create or replace trigger sums_begin_at_nothing before insert on public.profiles
  for each row when (new.balance_nano <> 0 or new.held_nano <> 0) execute function aichat.refuse_change();

-- What older versions had in the place of what follows.
drop function if exists aichat.admit(uuid, uuid, bigint, jsonb, interval, boolean);
drop function if exists aichat.renew(uuid, jsonb, interval);
drop function if exists aichat.authenticate(text, bytea);
drop function if exists aichat.enter(uuid, text, text, bigint, bigint);

-- Take a place in the sliding window of an hour, of a user's, or of a key's where that is given: how many are left of how
-- many. AI429 where there is none. The user is locked by whoever calls this.
create or replace function aichat.take_place(user_id uuid, key_id uuid, plan text, is_counted boolean, moment timestamptz)
returns table (calls_limit integer, calls_left integer, calls_reset_at timestamptz)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  calls integer;
  oldest timestamptz;
  free_at timestamptz;
begin
  calls_limit := aichat.calls_an_hour(take_place.plan);
  select count(*), min(e.at) into calls, oldest from public.rate_events e
  where e.user_id = take_place.user_id and (take_place.key_id is null or e.key_id = take_place.key_id);
  if is_counted and calls >= calls_limit then
    select e.at + interval '1 hour' into free_at from public.rate_events e
    where e.user_id = take_place.user_id and (take_place.key_id is null or e.key_id = take_place.key_id)
    order by e.at, e.id offset calls - calls_limit limit 1;
    raise exception 'the % plan allows % calls an hour', take_place.plan, calls_limit
      using errcode = 'AI429', detail = greatest(ceil(extract(epoch from free_at - moment)), 1)::integer::text,
        hint = take_place.plan;
  end if;
  calls_left := greatest(calls_limit - calls - is_counted::integer, 0);
  calls_reset_at := coalesce(oldest, case when is_counted then moment end) + interval '1 hour';
  return next;
end $$;

-- What a key may still spend in this calendar month (UTC), in nano-dollars; null for any amount.
create or replace function aichat.cap_left(key_id uuid) returns bigint
language sql stable security definer set search_path = '' as $$
  select k.monthly_cap_nano
    - coalesce((select sum(h.amount_nano) from public.credit_holds h where h.key_id = k.id), 0)::bigint
    + coalesce((
        select sum(l.amount_nano) from public.credit_ledger l
        where l.key_id = k.id and l.created_at >= date_trunc('month', clock_timestamp() at time zone 'utc') at time zone 'utc'
      ), 0)::bigint
  from public.api_keys k where k.id = cap_left.key_id
$$;

-- Admit a call: count it in the sliding window of its user's plan, and hold the most it can cost, in whole credits.
--
-- `call` is an object the caller knows the call by. `accrued_nano` in it is what it is charged should its holder die: at
-- first what the prompt costs, then what `renew` says. `expires` is how long it may go without a sign of life. A fallback is
-- part of the call that failed: with `is_first` false the window does not count it. A call that comes with a key also
-- counts in the key's own window, where the key is held to another plan, and against its cap. Returns the plan, what it
-- allows within an hour, what is left of that, when the oldest call leaves the window, and what is left to spend in
-- nano-dollars; of the two windows, the one with less left.
-- Refuses with AI401, AI402, AI409, AI423 and AI429; then nothing was counted and nothing is held.
create or replace function aichat.admit(
  user_id uuid, request_id uuid, amount_nano bigint, call jsonb, expires interval, is_first boolean default true,
  key_id uuid default null
) returns table (plan text, calls_limit integer, calls_left integer, calls_reset_at timestamptz, available_nano bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  profile public.profiles;
  api_key public.api_keys;
  moment timestamptz;
  due bigint;
  cap_left bigint;
  own record;
begin
  if num_nulls(request_id, amount_nano, call, expires, is_first) > 0 or amount_nano < 0 or jsonb_typeof(call) <> 'object'
    or jsonb_typeof(call -> 'accrued_nano') <> 'number' or expires not between interval '1 second' and interval '1 day'
  then
    raise exception 'a call needs an id, an amount, what it is charged by and an end' using errcode = 'AI400';
  end if;

  select * into profile from public.profiles p where p.id = admit.user_id for no key update;
  if not found then
    raise exception 'there is no user %', admit.user_id using errcode = 'AI404';
  end if;
  if profile.suspended_at is not null then
    raise exception 'the user is suspended' using errcode = 'AI423';
  end if;
  -- The clock is read under the lock, so that events are in the order of their times. What lies ahead is of a clock that
  -- went wrong.
  moment := clock_timestamp();
  if admit.key_id is not null then
    select * into api_key from public.api_keys k where k.id = admit.key_id and k.user_id = profile.id;
    if not found or api_key.revoked_at is not null or api_key.expires_at <= moment then
      raise exception 'the key can not be used' using errcode = 'AI401',
        detail = case when api_key.revoked_at is not null then 'revoked' when api_key.id is not null then 'expired'
                 else 'unknown' end;
    end if;
  end if;
  -- A call that was charged is not charged again: under the same id it would be free. One whose usage is known was made.
  if exists (select from public.credit_holds h where h.request_id = admit.request_id)
    or exists (select from public.credit_ledger l where l.kind = 'charge' and l.ref = admit.request_id::text)
    or exists (select from public.usage u where u.user_id = profile.id and u.request_id = admit.request_id)
  then
    raise exception 'call % was admitted before', admit.request_id using errcode = 'AI409';
  end if;

  delete from public.rate_events e
  where e.user_id = profile.id and (e.at <= moment - interval '1 hour' or e.at > moment);
  plan := profile.plan;
  select t.calls_limit, t.calls_left, t.calls_reset_at into calls_limit, calls_left, calls_reset_at
  from aichat.take_place(profile.id, null, profile.plan, admit.is_first, moment) t;
  if api_key.plan is not null then
    select * into own from aichat.take_place(profile.id, api_key.id, api_key.plan, admit.is_first, moment);
    if own.calls_left < calls_left then
      plan := api_key.plan;
      calls_limit := own.calls_limit;
      calls_left := own.calls_left;
      calls_reset_at := own.calls_reset_at;
    end if;
  end if;
  if is_first then
    insert into public.rate_events (user_id, key_id, at) values (profile.id, admit.key_id, moment);
  end if;

  due := aichat.charge_nano(admit.amount_nano);
  cap_left := case when due > 0 then aichat.cap_left(api_key.id) end;
  if cap_left < due then
    raise exception 'the key may not spend this much this month'
      using errcode = 'AI402', detail = greatest(cap_left, 0)::text, hint = 'cap';
  end if;
  insert into public.credit_holds (request_id, user_id, key_id, amount_nano, call, expires_at)
  select admit.request_id, p.id, admit.key_id, due, admit.call, moment + admit.expires
  from public.profiles p
  where p.id = profile.id and p.balance_nano - p.held_nano >= due;
  if not found then
    raise exception 'the balance does not cover this call'
      using errcode = 'AI402', detail = (profile.balance_nano - profile.held_nano)::text;
  end if;
  select p.balance_nano - p.held_nano into available_nano from public.profiles p where p.id = profile.id;
  return next;
end $$;

-- Signs of life of calls under way: `calls` is an array of objects with the `request_id` of each and what has accrued of it,
-- which is laid over its `call`; `expires` is how long until the next. Returns those that have ended meanwhile, and are not
-- paid for any longer. It waits for nobody: a call that is just being ended is passed over, so that however many calls are
-- told of at once, nobody can wait for them in a circle.
create or replace function aichat.renew(calls jsonb, expires interval) returns setof uuid
language plpgsql security definer set search_path = '' as $$
begin
  if num_nulls(calls, expires) > 0 or jsonb_typeof(calls) <> 'array'
    or expires not between interval '1 second' and interval '1 day'
  then
    raise exception 'signs of life are an array, and last for a day at most' using errcode = 'AI400';
  end if;
  if exists (
    select from jsonb_array_elements(calls) told
    where jsonb_typeof(told) <> 'object' or jsonb_typeof(told -> 'request_id') is distinct from 'string'
      or jsonb_typeof(told -> 'accrued_nano') <> 'number'
  ) then
    raise exception 'a sign of life is an object, with the id of a call' using errcode = 'AI400';
  end if;
  with told as materialized (
    select (told ->> 'request_id')::uuid as id, told - 'request_id' as accrued from jsonb_array_elements(calls) told
  ), alive as materialized (
    select h.request_id as id from public.credit_holds h where h.request_id in (select told.id from told)
    for no key update skip locked
  )
  update public.credit_holds h set call = h.call || told.accrued, expires_at = clock_timestamp() + renew.expires
  from told join alive on alive.id = told.id
  where h.request_id = told.id;
  return query
  select (told ->> 'request_id')::uuid from jsonb_array_elements(calls) told
  where not exists (select from public.credit_holds h where h.request_id = (told ->> 'request_id')::uuid);
end $$;

-- Whose call it is, or nothing where it has ended; the user is locked until the transaction ends.
create or replace function aichat.lock_holder(request_id uuid) returns uuid
language sql security definer set search_path = '' as $$
  select p.id from public.credit_holds h join public.profiles p on p.id = h.user_id
  where h.request_id = lock_holder.request_id
  for no key update of p
$$;

-- End a call that cost this much: what was held is free, and whole credits are charged, once. Where it cost more than there
-- is, all that is not held for other calls is taken, and the rest written down as uncovered. A call that has ended already
-- is not charged again. Returns what it was charged in the end, in nano-dollars.
create or replace function aichat.settle(request_id uuid, cost_nano bigint)
returns table (charged_nano bigint, uncovered_nano bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  holder uuid := aichat.lock_holder(settle.request_id);
  due bigint := aichat.charge_nano(settle.cost_nano);
  key_of_call uuid;
begin
  if due is null or settle.cost_nano < 0 then
    raise exception 'a call costs nothing or more' using errcode = 'AI400';
  end if;
  delete from public.credit_holds h where h.request_id = settle.request_id returning h.key_id into key_of_call;
  if found and due > 0 then
    insert into public.credit_ledger (user_id, key_id, kind, ref, amount_nano, uncovered_nano)
    select p.id, key_of_call, 'charge', settle.request_id::text, -taken, due - taken
    from public.profiles p, least(due, p.balance_nano - p.held_nano) as taken
    where p.id = holder;
  end if;
  return query
  select coalesce(-l.amount_nano, 0), coalesce(l.uncovered_nano, 0)
  from (values (settle.request_id::text)) as asked (ref)
  left join public.credit_ledger l on l.kind = 'charge' and l.ref = asked.ref;
end $$;

-- End a call of which nothing came. False says that it had ended already.
create or replace function aichat.release(request_id uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  perform aichat.lock_holder(release.request_id);
  delete from public.credit_holds h where h.request_id = release.request_id;
  return found;
end $$;

-- End the calls whose holders gave no sign of life, and charge what had accrued. Returns them with what each was charged:
-- whoever asks writes down their usage, in the same transaction.
create or replace function aichat.expire(moment timestamptz default clock_timestamp())
returns table (request_id uuid, user_id uuid, call jsonb, charged_nano bigint, uncovered_nano bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  late record;
begin
  -- In the order of the users: two that expire at once take their locks in the same one.
  for late in
    select h.request_id, h.user_id from public.credit_holds h
    where h.expires_at <= expire.moment order by h.user_id, h.request_id
  loop
    perform aichat.lock_holder(late.request_id);
    select h.call into call from public.credit_holds h
    where h.request_id = late.request_id and h.expires_at <= expire.moment for update skip locked;
    continue when not found;  -- it was renewed, or is being renewed, or has ended
    request_id := late.request_id;
    user_id := late.user_id;
    select s.charged_nano, s.uncovered_nano into charged_nano, uncovered_nano
    from aichat.settle(late.request_id, aichat.accrued_nano(call)) s;
    return next;
  end loop;
end $$;

-- Write down a call that the service has made for a user, as `used` tells it; false where that is there already. It is
-- numbered like a change from a device, which all of them get to see.
create or replace function aichat.record_usage(user_id uuid, request_id uuid, cost_nano bigint, used jsonb) returns boolean
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  row public.usage := jsonb_populate_record(null::public.usage, record_usage.used);
begin
  perform from public.sync_heads h where h.user_id = record_usage.user_id for no key update;
  if not found then
    raise exception 'there is no user %', record_usage.user_id using errcode = 'AI404';
  end if;
  if exists (
    select from public.usage u where u.user_id = record_usage.user_id and u.request_id = record_usage.request_id
  ) then
    return false;
  end if;
  update public.sync_heads h set head = h.head + 1 where h.user_id = record_usage.user_id returning h.head into row.seq;
  insert into public.usage (
    user_id, request_id, seq, type, provider, model, served_model, provider_id, input_tokens, cached_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, provenance, raw, status, created_at
  ) values (
    record_usage.user_id, record_usage.request_id, row.seq, coalesce(row.type, 'chat'), row.provider, row.model,
    row.served_model, row.provider_id, coalesce(row.input_tokens, 0), coalesce(row.cached_tokens, 0),
    coalesce(row.cache_write_tokens, 0), coalesce(row.output_tokens, 0), coalesce(row.reasoning_tokens, 0),
    record_usage.cost_nano, coalesce(row.provenance, 'calculated'), row.raw, coalesce(row.status, 'complete'),
    coalesce(row.created_at, clock_timestamp())
  );
  return true;
end $$;

-- End a call of a gateway's in one step: charged and written down, or, where `used` is null, released. Returns what it took
-- in the end, and what its user has now; nothing where nobody knows whose call it was. One that has ended already, because
-- its holder was thought dead, is neither charged nor written down again. A cost that is not known is charged as nothing.
create or replace function aichat.finish(request_id uuid, cost_nano bigint, used jsonb)
returns table (charged_nano bigint, uncovered_nano bigint, balance_nano bigint, held_nano bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  holder uuid;
begin
  perform aichat.lock_holder(finish.request_id);
  -- It may have ended while this waited for its user.
  select h.user_id into holder from public.credit_holds h where h.request_id = finish.request_id;
  if holder is null then
    holder := coalesce(
      (select l.user_id from public.credit_ledger l where l.kind = 'charge' and l.ref = finish.request_id::text),
      (select u.user_id from public.usage u where u.request_id = finish.request_id and u.origin is null limit 1));
  elsif finish.used is null then
    perform aichat.release(finish.request_id);
  else
    perform from aichat.settle(finish.request_id, coalesce(finish.cost_nano, 0));
    perform aichat.record_usage(holder, finish.request_id, finish.cost_nano, finish.used);
  end if;
  return query
  select coalesce(-l.amount_nano, 0), coalesce(l.uncovered_nano, 0), p.balance_nano, p.held_nano
  from public.profiles p
  left join public.credit_ledger l on l.user_id = p.id and l.kind = 'charge' and l.ref = finish.request_id::text
  where p.id = holder;
end $$;

-- Change a balance by an entry that happens once: true where it is new, false where it had happened, AI409 where something
-- else had happened under the same name.
create or replace function aichat.enter(
  user_id uuid, kind text, ref text, amount_nano bigint, uncovered_nano bigint, purchase_id uuid default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  insert into public.credit_ledger (user_id, kind, ref, amount_nano, uncovered_nano, purchase_id)
  values (enter.user_id, enter.kind, enter.ref, enter.amount_nano, enter.uncovered_nano, enter.purchase_id)
  on conflict (kind, ref) do nothing;
  if found then
    return true;
  end if;
  -- What was covered then may differ from what would be now; what was due is the same.
  if exists (
    select from public.credit_ledger l
    where l.kind = enter.kind and l.ref = enter.ref and l.user_id = enter.user_id
      and abs(l.amount_nano) + l.uncovered_nano = abs(enter.amount_nano) + enter.uncovered_nano
  ) then
    return false;
  end if;
  raise exception '% % was entered before, otherwise', enter.kind, enter.ref using errcode = 'AI409';
end $$;

-- Lock a user, and see what they can spend, in nano-dollars: neither spent nor held.
create or replace function aichat.lock_available(user_id uuid) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  available bigint;
begin
  select p.balance_nano - p.held_nano into available
  from public.profiles p where p.id = lock_available.user_id for no key update;
  if not found then
    raise exception 'there is no user %', lock_available.user_id using errcode = 'AI404';
  end if;
  return available;
end $$;

-- Add whole credits, once for each kind and ref: a gift, a purchase by its Checkout Session, a dispute that was won.
create or replace function aichat.grant_credits(user_id uuid, kind text, ref text, amount bigint) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if num_nulls(kind, ref, amount) > 0 or kind not in ('grant', 'purchase', 'dispute_won')
    or amount not between 1 and 1000000000
  then
    raise exception 'credits are added in whole ones, for a reason' using errcode = 'AI400';
  end if;
  perform aichat.lock_available(user_id);
  return aichat.enter(user_id, kind, ref, amount * 10000000, 0);
end $$;

-- Take whole credits back, once for each kind and ref, for a refund or a dispute: at most what is there and not held, and
-- the rest is written down as uncovered.
create or replace function aichat.take_credits(user_id uuid, kind text, ref text, amount bigint) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  taken bigint;
begin
  if num_nulls(kind, ref, amount) > 0 or kind not in ('refund', 'dispute') or amount not between 1 and 1000000000 then
    raise exception 'credits are taken back in whole ones, for a reason' using errcode = 'AI400';
  end if;
  taken := least(aichat.lock_available(user_id), amount * 10000000);
  return aichat.enter(user_id, kind, ref, -taken, amount * 10000000 - taken);
end $$;

-- Write down that a user is about to buy credits.
create or replace function aichat.begin_purchase(
  id uuid, user_id uuid, package text, credits bigint, amount_cents bigint, currency text, is_live boolean, return_url text
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform aichat.lock_available(user_id);
  insert into public.purchases (id, user_id, package, credits, amount_cents, currency, is_live, return_url)
  values ($1, $2, $3, $4, $5, $6, $7, $8);
end $$;

-- Write down what has become known of a purchase; what is null stays as it is. A customer is kept once, and a purchase whose
-- session is known is open, unless it has ended.
create or replace function aichat.note_purchase(
  id uuid, state text default null, customer_id text default null, session_id text default null, url text default null,
  payment_intent text default null
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform from public.profiles p join public.purchases b on b.user_id = p.id
  where b.id = note_purchase.id for no key update of p;
  update public.purchases b set
    state = case when $2 is not null then $2 when b.state = 'created' and $4 is not null then 'open' else b.state end,
    customer_id = coalesce(b.customer_id, $3), session_id = coalesce($4, b.session_id), url = coalesce($5, b.url),
    payment_intent = coalesce($6, b.payment_intent), updated_at = clock_timestamp()
  where b.id = $1;
end $$;

-- Change a balance for a purchase, by an entry that happens once: what was bought, what went back, what was won again. True
-- where it is new; AI404 where there is no such purchase.
create or replace function aichat.enter_purchase(
  purchase_id uuid, kind text, ref text, amount_nano bigint, uncovered_nano bigint
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  buyer uuid := (select b.user_id from public.purchases b where b.id = $1);
begin
  if kind is null or kind not in ('purchase', 'refund', 'dispute', 'dispute_won') then
    raise exception 'a purchase has no entry of kind %', kind using errcode = 'AI400';
  end if;
  perform aichat.lock_available(buyer);
  return aichat.enter(buyer, kind, ref, amount_nano, uncovered_nano, purchase_id);
end $$;

-- Keep the customer a user is at Stripe, unless somebody else was quicker; whether it was kept.
create or replace function aichat.remember_customer(user_id uuid, customer_id text, instead_of text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  perform aichat.lock_available(user_id);
  update public.profiles p set stripe_customer_id = $2
  where p.id = $1 and p.stripe_customer_id is not distinct from $3;
  return found;
end $$;

-- Write a refund or a dispute down, once; that a dispute was won is never forgotten.
create or replace function aichat.keep_reversal(
  ref text, kind text, payment_intent text, amount_cents bigint, is_won boolean
) returns void
language sql security definer set search_path = '' as $$
  insert into aichat.reversals as r (ref, kind, payment_intent, amount_cents, is_won) values ($1, $2, $3, $4, $5)
  on conflict (ref) do update set is_won = r.is_won or excluded.is_won
$$;

create or replace trigger purchases_are_not_deleted before delete on public.purchases
  for each row execute function aichat.keep_until_profile_goes();
create or replace trigger purchases_are_not_truncated before truncate on public.purchases
  for each statement execute function aichat.refuse_change();

-- Take whole credits from a balance and return what is left of it, in whole credits; AI402 where what is not held does not
-- cover them, and then nothing is taken. Each call takes anew: what must happen once is admitted and settled instead.
create or replace function public.deduct_credits(user_id uuid, amount integer) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  due bigint := amount::bigint * 10000000;
  available bigint;
begin
  if due is null or due <= 0 then
    raise exception 'what is deducted is one credit or more' using errcode = 'AI400';
  end if;
  available := aichat.lock_available(user_id);
  if available < due then
    raise exception 'the balance does not cover % credits', amount using errcode = 'AI402', detail = available::text;
  end if;
  perform aichat.enter(user_id, 'charge', 'deduct:' || gen_random_uuid(), -due, 0);
  return (select p.credits from public.profiles p where p.id = deduct_credits.user_id);
end $$;

-- Put a user on a plan, from their next call on.
create or replace function aichat.set_plan(user_id uuid, plan text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if plan is null or plan not in ('free', 'pro', 'enterprise') then
    raise exception 'there is no plan %', plan using errcode = 'AI400';
  end if;
  update public.profiles p set plan = set_plan.plan where p.id = set_plan.user_id;
  if not found then
    raise exception 'there is no user %', user_id using errcode = 'AI404';
  end if;
end $$;

-- 5. Keys of the gateway -----------------------------------------------------------------------------------------------

-- A key for whoever is signed in; nobody can make one for another. Only its hash comes here: the key was shown once.
create or replace function public.create_api_key(name text, prefix text, key_hash bytea) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  made uuid;
begin
  insert into public.api_keys (user_id, name, prefix, key_hash)
  select p.id, create_api_key.name, create_api_key.prefix, create_api_key.key_hash
  from public.profiles p where p.id = (select auth.uid())
  returning api_keys.id into made;
  if not found then
    raise exception 'nobody is signed in' using errcode = 'AI401';
  end if;
  return made;
end $$;

-- Revoke a key of one's own, at once and for good. False says that there is none, or that it was revoked already.
create or replace function public.revoke_api_key(id uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update public.api_keys k set revoked_at = clock_timestamp()
  where k.id = revoke_api_key.id and k.user_id = (select auth.uid()) and k.revoked_at is null;
  return found;
end $$;

-- Somebody new, who is on the free plan and has the credits of a new profile. AI409 where the name is taken. The address is
-- where they are written to, not what they sign in with: several may share one.
create or replace function aichat.create_user(name text, email text) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into auth.users (id) values (made);
  insert into public.profiles (id) values (made) on conflict do nothing;
  update public.profiles p set name = create_user.name, email = create_user.email where p.id = made;
  return made;
exception when unique_violation then
  raise exception 'the name is taken' using errcode = 'AI409';
end $$;

-- Refuse a user's keys from now on, or take them again; whether that changed anything.
create or replace function aichat.suspend(user_id uuid, is_suspended boolean) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  was_suspended boolean;
begin
  select p.suspended_at is not null into was_suspended
  from public.profiles p where p.id = suspend.user_id for no key update;
  if not found then
    raise exception 'there is no user %', suspend.user_id using errcode = 'AI404';
  end if;
  if was_suspended <> is_suspended then
    update public.profiles p set suspended_at = case when is_suspended then clock_timestamp() end
    where p.id = suspend.user_id;
  end if;
  return was_suspended <> is_suspended;
end $$;

-- A key for a user, made by an operator. Only its hash comes here: the key was shown once.
create or replace function aichat.create_api_key(
  user_id uuid, name text, prefix text, key_hash bytea, scopes text[], plan text, monthly_cap_nano bigint,
  expires_at timestamptz
) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  made uuid;
begin
  insert into public.api_keys (user_id, name, prefix, key_hash, scopes, plan, monthly_cap_nano, expires_at)
  select p.id, create_api_key.name, create_api_key.prefix, create_api_key.key_hash, create_api_key.scopes,
    create_api_key.plan, create_api_key.monthly_cap_nano, create_api_key.expires_at
  from public.profiles p where p.id = create_api_key.user_id
  returning api_keys.id into made;
  if not found then
    raise exception 'there is no user %', create_api_key.user_id using errcode = 'AI404';
  end if;
  return made;
end $$;

-- Revoke anybody's key, at once and for good; whose it was, and null where it was revoked already.
create or replace function aichat.revoke_api_key(id uuid) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  holder uuid;
begin
  update public.api_keys k set revoked_at = clock_timestamp() where k.id = revoke_api_key.id and k.revoked_at is null
  returning k.user_id into holder;
  if not found and not exists (select from public.api_keys k where k.id = revoke_api_key.id) then
    raise exception 'there is no key %', revoke_api_key.id using errcode = 'AI404';
  end if;
  return holder;
end $$;

-- Write down what was done to an account, in the transaction that does it.
create or replace function aichat.audit(actor text, action text, user_id uuid, key_id uuid, detail jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into aichat.audit_events (actor, action, user_id, key_id, detail) values ($1, $2, $3, $4, coalesce($5, '{}'))
$$;

-- Whose key it is, and what may be done with it. AI401 where there is no such key, or it was revoked or has expired; AI423
-- where its user is suspended. Keys are compared by their hashes, so the time this takes tells nothing. When a key was last
-- used is written once a minute: more often would be a write for each call.
create or replace function aichat.authenticate(prefix text, key_hash bytea)
returns table (user_id uuid, user_name text, key_id uuid, key_name text, scopes text[], plan text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  found_key public.api_keys;
  profile public.profiles;
  moment timestamptz := clock_timestamp();
begin
  select * into found_key from public.api_keys k
  where k.prefix = authenticate.prefix and k.key_hash = authenticate.key_hash;
  if not found or found_key.revoked_at is not null or found_key.expires_at <= moment then
    raise exception 'the key can not be used' using errcode = 'AI401',
      detail = case when found_key.revoked_at is not null then 'revoked' when found_key.id is not null then 'expired'
               else 'unknown' end;
  end if;
  select * into profile from public.profiles p where p.id = found_key.user_id;
  if profile.suspended_at is not null then
    raise exception 'the user is suspended' using errcode = 'AI423';
  end if;
  if coalesce(found_key.last_used_at < moment - interval '1 minute', true) then
    update public.api_keys k set last_used_at = moment
    where k.id = found_key.id and coalesce(k.last_used_at < moment - interval '1 minute', true);
  end if;
  return query select profile.id, coalesce(profile.name, profile.id::text), found_key.id, found_key.name, found_key.scopes,
    coalesce(found_key.plan, profile.plan);
end $$;

-- 6. Search ------------------------------------------------------------------------------------------------------------

-- Words are those of the search on the devices: runs of letters and digits, in lower case, Latin letters without accents,
-- by Porter's stems; stopwords are words like any other.
do $$
begin
  if not exists (select from pg_ts_config where cfgname = 'words' and cfgnamespace = 'aichat'::regnamespace) then
    create text search dictionary aichat.porter (template = snowball, language = porter);
    create text search configuration aichat.words (parser = default);
    alter text search configuration aichat.words
      add mapping for asciiword, word, numword, int, uint, float, sfloat with aichat.porter;
  end if;
end $$;

-- A text with nothing but words and spaces, so that the parser of Postgres takes no part of it for an address or a path.
-- The characters that part words are listed, as what a letter is depends on the locale of the database.
create or replace function aichat.bare(written text) returns text
language sql immutable strict parallel safe set search_path = '' as $$
  select case when octet_length(written) = length(written)
    then regexp_replace(written, '[\u0001-/:-@\[-`{-\u007f]+', ' ', 'g')
    else regexp_replace(
      normalize(regexp_replace(normalize(written, nfd), '([A-Za-z])[\u0300-\u036f]+', '\1', 'g'), nfc),
      '[\u0001-/:-@\[-`{-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u2000-\u206f\u20a0-\u20cf'
      '\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\ufe10-\ufe1f\ufe30-\ufe6f'
      '\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+', ' ', 'g') end
$$;

-- What `words` of a chunk holds: words of the title and the headings with the weight A, those of the text without. Null is
-- as empty. Any text will do: a tsvector takes a megabyte, so of a text only the first 200,000 characters are taken, which
-- cannot make more of it whatever they are, and no chunk that a device makes is longer.
create or replace function aichat.words_of(title text, heading text, content text) returns tsvector
language sql immutable parallel safe set search_path = '' as $$
  select setweight(to_tsvector('aichat.words',
      aichat.bare(left(coalesce(title, ''), 2000) || ' ' || left(coalesce(heading, ''), 2000))), 'A')
    || to_tsvector('aichat.words', aichat.bare(left(coalesce(content, ''), 200000)))
$$;

-- The words of a chunk, each as one number of its own in each collection of each user: what an index finds of a user is
-- theirs alone, however common the word is with others. The cost keeps planners from computing it row by row.
create or replace function aichat.word_keys(user_id uuid, collection text, words tsvector) returns bigint[]
language sql immutable parallel safe cost 5000 set search_path = '' as $$
  select array_agg(hashtextextended(lexeme collate "C", scope.seed))
  from (values (hashtextextended((user_id::text || collection) collate "C", 0))) as scope (seed),
    unnest(tsvector_to_array(words)) as lexeme
$$;

create index if not exists document_chunks_by_word on public.document_chunks
  using gin (aichat.word_keys(user_id, collection, words));

-- In the row, where comparing thousands of them does not have to fetch each from elsewhere.
alter table public.document_chunks alter column embedding set storage main, alter column words set storage main;

-- In how many chunks of a collection each word is, and how many chunks and tokens there are by the model and the dimensions
-- of their vectors (empty and 0: without one). Triggers keep both, so that a search need not count.
create table if not exists aichat.word_counts (
  user_id    uuid not null,
  collection text not null,
  word       text not null collate "C",
  chunks     bigint not null,
  primary key (user_id, collection, word)
) with (fillfactor = 70);

create table if not exists aichat.library_sizes (
  user_id         uuid not null,
  collection      text not null,
  embedding_model text not null,
  dimensions      integer not null,
  chunks          bigint not null,
  tokens          bigint not null,
  primary key (user_id, collection, embedding_model, dimensions)
) with (fillfactor = 70);

create or replace function aichat.count_chunks() returns trigger
language plpgsql security definer set search_path = public, extensions, pg_temp as $$
begin
  if tg_op <> 'INSERT' then
    with gone as (
      select user_id, collection, coalesce(embedding_model, '') as model, coalesce(vector_dims(embedding), 0) as dimensions,
        count(*) as chunks, sum(token_count) as tokens
      from old_chunks group by 1, 2, 3, 4
    )
    update aichat.library_sizes s set chunks = s.chunks - g.chunks, tokens = s.tokens - g.tokens
    from gone g
    where (s.user_id, s.collection, s.embedding_model, s.dimensions) = (g.user_id, g.collection, g.model, g.dimensions);
    delete from aichat.library_sizes s using (select distinct user_id, collection from old_chunks) g
    where (s.user_id, s.collection) = (g.user_id, g.collection) and s.chunks <= 0;
  end if;
  if tg_op <> 'DELETE' then
    insert into aichat.library_sizes as s (user_id, collection, embedding_model, dimensions, chunks, tokens)
    select user_id, collection, coalesce(embedding_model, ''), coalesce(vector_dims(embedding), 0), count(*), sum(token_count)
    from new_chunks group by 1, 2, 3, 4 order by 1, 2, 3, 4
    on conflict (user_id, collection, embedding_model, dimensions)
    do update set chunks = s.chunks + excluded.chunks, tokens = s.tokens + excluded.tokens;
  end if;
  return null;
end $$;

create or replace function aichat.count_words() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' then
    -- Vectors are made anew more often than words.
    if not exists (
      select from old_chunks o join new_chunks n using (id)
      where (o.user_id, o.collection, o.words) is distinct from (n.user_id, n.collection, n.words)
    ) then
      return null;
    end if;
  end if;
  if tg_op <> 'INSERT' then
    with gone as (
      select user_id, collection, word, count(*) as chunks
      from old_chunks, unnest(tsvector_to_array(words)) as word group by 1, 2, 3
    ), last as (
      delete from aichat.word_counts c using gone g
      where (c.user_id, c.collection, c.word) = (g.user_id, g.collection, g.word) and c.chunks <= g.chunks
    )
    update aichat.word_counts c set chunks = c.chunks - g.chunks
    from gone g where (c.user_id, c.collection, c.word) = (g.user_id, g.collection, g.word) and c.chunks > g.chunks;
  end if;
  if tg_op <> 'DELETE' then
    insert into aichat.word_counts as c (user_id, collection, word, chunks)
    select user_id, collection, word, count(*)
    from new_chunks, unnest(tsvector_to_array(words)) as word group by 1, 2, 3 order by 1, 2, 3
    on conflict (user_id, collection, word) do update set chunks = c.chunks + excluded.chunks;
  end if;
  return null;
end $$;

create or replace trigger chunks_came after insert on public.document_chunks
  referencing new table as new_chunks for each statement execute function aichat.count_chunks();
create or replace trigger chunks_changed after update on public.document_chunks
  referencing old table as old_chunks new table as new_chunks for each statement execute function aichat.count_chunks();
create or replace trigger chunks_went after delete on public.document_chunks
  referencing old table as old_chunks for each statement execute function aichat.count_chunks();
create or replace trigger words_came after insert on public.document_chunks
  referencing new table as new_chunks for each statement execute function aichat.count_words();
create or replace trigger words_changed after update on public.document_chunks
  referencing old table as old_chunks new table as new_chunks for each statement execute function aichat.count_words();
create or replace trigger words_went after delete on public.document_chunks
  referencing old table as old_chunks for each statement execute function aichat.count_words();

-- An index for the vectors of so many dimensions, where there is none: a collection above 20,000 chunks is compared
-- by it, and with all of its vectors as long as it has none. Before a library is loaded in bulk, drop the index, and call this afterwards.
create or replace function aichat.index_embeddings(dimensions integer) returns void
language plpgsql set search_path = public, extensions, pg_temp as $$
begin
  execute format(
    'create index if not exists document_chunks_nearest_%1$s on public.document_chunks'
    ' using hnsw ((embedding::halfvec(%1$s)) halfvec_cosine_ops) where vector_dims(embedding) = %1$s', dimensions);
end $$;

-- The local models, and OpenAI's text-embedding-3-small.
do $$
begin
  perform aichat.index_embeddings(dimensions) from unnest(array[256, 384, 1536]) as dimensions;
end $$;

-- The chunks of a user nearest to a vector, by their cosines, nearest first, of equals the older; those of all collections
-- or models where that is null. Up to 20,000 chunks all are compared: an index shared with others would find too few of a
-- small library. The + 0 is what keeps the index out of that. The index compares in half precision, so some more than
-- are wanted are compared again. Vectors of zeros have no cosine.
create or replace function aichat.nearest_chunks(
  for_user uuid, in_collection text, query_model text, query_embedding vector, match_count integer
) returns table (chunk_id bigint, similarity double precision)
language plpgsql stable rows 100 set search_path = public, extensions, pg_temp
set hnsw.iterative_scan = strict_order set hnsw.ef_search = 300 set hnsw.max_scan_tuples = 100000
set enable_seqscan = off set jit = off as $$
declare
  dimensions integer := vector_dims(query_embedding);
  wanted integer := least(greatest(match_count, 0), 1000);
  size bigint := (
    select coalesce(sum(s.chunks), 0) from aichat.library_sizes s
    where s.user_id = for_user and s.dimensions = vector_dims(query_embedding)
      and s.collection = coalesce(in_collection, s.collection)
      and s.embedding_model = coalesce(query_model, s.embedding_model)
  );
  near text := format(
    'select found.id, 1 - (found.embedding::vector <=> $4)'
    ' from (select c.id, c.embedding from public.document_chunks c'
    ' where c.user_id = $1 and vector_dims(c.embedding) = %1$s'
    || case when in_collection is null then '' else ' and c.collection = $2' end
    || case when query_model is null then '' else ' and c.embedding_model = $3' end
    || ' order by (c.embedding::halfvec(%1$s) <=> $4::halfvec(%1$s)) %%s limit $5 + 30) as found'
    ' where (found.embedding::vector <=> $4) <> ''NaN'' order by 2 desc, 1 limit $5', dimensions);
  ids bigint[];
  cosines double precision[];
begin
  if query_embedding is null then
    return;
  end if;
  if size > 20000 then
    execute format('select array_agg(id), array_agg(cosine) from (%s) as nearest (id, cosine)', format(near, ''))
      into ids, cosines using for_user, in_collection, query_model, query_embedding, wanted;
  end if;
  -- The index may give up before it has found enough of a library that is small beside the others.
  if ids is null or cardinality(ids) < wanted then
    return query execute format(near, '+ 0, c.id') using for_user, in_collection, query_model, query_embedding, wanted;
  else
    return query select * from unnest(ids, cosines);
  end if;
end $$;

-- The words of a query as they are looked for. One of several parts, such as ERR_4031, is a phrase, which `query` tells;
-- `frequency` is in how many chunks its last part is, as on the devices. The rarest words find chunks, 4,000 in all, or so
-- many of the rarest; those in so many more only rank what is found, and beyond 60,000 are left out; a word that is nowhere
-- does neither. A device asks for 48 words at most.
create or replace function aichat.words_asked(for_user uuid, in_collection text, query_words text[])
returns table (
  place bigint, frequency bigint, rarest bigint, keys bigint[], parts text[], query tsquery, finds boolean, ranks boolean
)
language sql stable rows 10 set search_path = '' set client_min_messages = warning as $$
  with parts as (
    select asked.place, asked.word, part.lexeme, spot, coalesce(counts.chunks, 0) as chunks
    from unnest(query_words[1:64]) with ordinality as asked (word, place)
      cross join unnest(to_tsvector('aichat.words', aichat.bare(left(asked.word, 1000)))) as part
      cross join unnest(part.positions) as spot
      left join aichat.word_counts counts
        on (counts.user_id, counts.collection, counts.word) = (for_user, in_collection, part.lexeme)
  ), words as (
    select parts.place, (array_agg(chunks order by spot desc))[1] as frequency, min(chunks) as rarest,
      aichat.word_keys(for_user, in_collection, array_to_tsvector(array_agg(lexeme))) as keys,
      array_agg(lexeme order by spot) as parts, phraseto_tsquery('aichat.words', aichat.bare(left(word, 1000))) as query
    from parts group by parts.place, word
  ), counted as (
    select *, row_number() over rarest_first as rank, sum(words.rarest) over rarest_first as found
    from words where words.rarest > 0 window rarest_first as (order by words.rarest, words.place)
  )
  select place, frequency, rarest, keys, parts, query, rank = 1 or found <= 4000, rank = 1 or found <= 60000
  from counted
  union all
  select place, frequency, rarest, keys, parts, query, false, false from words where words.rarest = 0
$$;

-- How often a phrase is in a chunk, twice for each time in the title or a heading.
create or replace function aichat.times_of_phrase(words tsvector, parts text[]) returns double precision
language sql immutable parallel safe set search_path = '' as $$
  select coalesce(sum(1 + (begun.heaviest = 'A')::integer), 0) from (
    select spots.spot - part.place, min(spots.weight) as heaviest
    from unnest(words) as held (lexeme, positions, weights)
      join unnest(parts) with ordinality as part (lexeme, place) using (lexeme)
      cross join unnest(held.positions, held.weights) as spots (spot, weight)
    group by 1 having count(*) = cardinality(parts)
  ) as begun
$$;

-- The chunks that hold a word of a query, ranked as on the devices (BM25, a word in the title or a heading counts twice),
-- best first. To rank a chunk takes time, so of many those are ranked that hold the words that tell the most, and
-- the chunks `also` where they hold a word that finds. Where all words are in more than 60,000 chunks, only those are ranked.
create or replace function aichat.chunks_with_words(
  for_user uuid, in_collection text, query_words text[], also bigint[], match_count integer
) returns table (chunk_id bigint, score double precision)
language sql stable rows 100 set search_path = '' set enable_seqscan = off set jit = off set work_mem = '64MB' as $$
  with library as (
    select sum(chunks)::double precision as chunks, greatest(sum(tokens) / sum(chunks), 1)::double precision as mean
    from aichat.library_sizes where user_id = for_user and collection = in_collection
  ), words as materialized (
    select * from aichat.words_asked(for_user, in_collection, query_words) where ranks
  ), found as materialized (
    select words.place, chunk.id
    from words cross join lateral (
      select c.id from public.document_chunks c
      where aichat.word_keys(c.user_id, c.collection, c.words) @> words.keys
        and (cardinality(words.parts) = 1 or c.words @@ words.query)
      limit 4000
    ) as chunk
    where words.finds and (words.rarest <= 60000 or coalesce(cardinality(also), 0) = 0)
  ), asked as materialized (
    select words.*, ln(greatest((library.chunks - held.chunks + 0.5) / (held.chunks + 0.5), 1.000001)) as weight
    from words cross join library cross join lateral (
      select case when words.finds and cardinality(words.parts) > 1
        then (select count(*) from found where found.place = words.place) else words.rarest end as chunks
    ) as held
  ), holding as (
    select found.id from found join asked using (place)
    group by found.id order by sum(asked.weight) desc, found.id
    limit (select greatest(3 * match_count, 5000 / greatest(count(*), 1)) from asked)
  ), ranked as materialized (
    select chunk.*
    from (select id from holding union select unnest(also)) as candidates cross join library cross join lateral (
      select c.id, c.words, 1.2 * (0.25 + 0.75 * c.token_count / library.mean) as length
      from public.document_chunks c where c.id = candidates.id limit 1
    ) as chunk
  )
  -- What ts_rank makes of n times a word is the sum of 1 / i² up to n, in parts of that of all i: n is told by the rest. Once
  -- with all weights and once with A alone, and the title and the headings count twice.
  select ranked.id, sum(asked.weight * 2.2 * times.n / (times.n + ranked.length)) as score
  from ranked cross join asked cross join lateral (
    select case
      when cardinality(asked.parts) = 1 then
        round(1 / (1.6449340668482264 * (1 - ts_rank('{1,1,1,1}', ranked.words, asked.query))) - 0.5)
        + round(1 / (1.6449340668482264 * (1 - ts_rank('{0,0,0,1}', ranked.words, asked.query))) - 0.5)
      when ranked.words @@ asked.query then aichat.times_of_phrase(ranked.words, asked.parts)
      else 0
    end as n
    offset 0
  ) as times
  where times.n > 0
  group by ranked.id having bool_or(asked.finds)
  order by score desc, ranked.id limit match_count
$$;

-- Everything that a device needs to rank, judge and show what a collection has on a query, in one answer:
--   chunks       how many there are
--   models       of their vectors, that of the most first
--   frequencies  in how many chunks each of `query_words` is
--   candidates   the best by words and the best by their vectors: chunk_id, words_score and similarity (null where it
--                is not among those), and of the first `text_count` of them, by the fused score of the devices, the place
--                and the content
create or replace function aichat.search_documents(
  for_user uuid, in_collection text, query_words text[], query_embedding vector default null,
  query_model text default null, match_count integer default 100, text_count integer default 10,
  words_share double precision default 0.7
) returns json
language sql stable set search_path = public, extensions, pg_temp set jit = off as $$
  with nearest as materialized (
    select chunk_id as id, similarity
    from aichat.nearest_chunks(for_user, in_collection, query_model, query_embedding, match_count)
  ), worded as materialized (
    select chunk_id as id, score from aichat.chunks_with_words(
      for_user, in_collection, query_words, (select array_agg(id) from nearest), least(greatest(match_count, 0), 1000))
  ), weighed as (
    select id, score, similarity,
      words_share * coalesce(score / nullif(max(score) over (), 0), 0) + (1 - words_share) * coalesce(
        (similarity - min(similarity) over ()) / nullif(max(similarity) over () - min(similarity) over (), 0),
        (similarity is not null)::integer) as fused
    from nearest full join worded using (id)
  ), fused as (
    select id, score, similarity, row_number() over (order by weighed.fused desc, id) as place from weighed
  ), shown as (
    select fused.id as chunk_id, score as words_score, similarity, chunk.*, place
    from fused left join lateral (
      select d.id as document_id, d.name, d.path, d.title, c.heading, c.start_char, c.end_char, c.line, c.page, c.hash,
        c.content
      from public.document_chunks c join public.documents d on (d.user_id, d.id) = (c.user_id, c.document_id)
      where c.id = fused.id limit 1
    ) as chunk on place <= text_count
  )
  select json_build_object(
    'chunks', (select coalesce(sum(chunks), 0) from aichat.library_sizes
      where user_id = for_user and collection = in_collection),
    'models', (select coalesce(json_agg(embedding_model order by chunks desc), '[]') from aichat.library_sizes
      where user_id = for_user and collection = in_collection and dimensions > 0),
    'frequencies', (select coalesce(json_agg(coalesce(words.frequency, 0) order by asked.place), '[]')
      from unnest(query_words) with ordinality as asked (word, place)
        left join aichat.words_asked(for_user, in_collection, query_words) as words using (place)),
    'candidates', (select coalesce(json_agg(row_to_json(shown) order by place), '[]') from shown)
  )
$$;

-- Whether who calls a function that runs as its owner may ask for a user: for themselves, or as the service or the owner.
create or replace function aichat.may_search(for_user uuid) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(for_user = auth.uid(), false) or caller.name = 'service_role' or pg_has_role(caller.name, current_user, 'member')
  from (values (coalesce(nullif(current_setting('role'), 'none'), session_user)::name)) as caller (name)
$$;

-- The chunks of a user most like a query, by cosine; of vectors with other dimensions nothing. Who asks for another user is
-- given nothing.
create or replace function public.match_user_documents(
  query_embedding vector, match_user_id uuid, match_count integer default 5, match_threshold double precision default 0.7
) returns table (chunk_id bigint, document_id uuid, chunk_index integer, content text, similarity double precision)
language sql stable security definer set search_path = public, extensions, pg_temp as $$
  select c.id, c.document_id, c.chunk_index, c.content, nearest.similarity
  from aichat.nearest_chunks(match_user_id, null, null, query_embedding, match_count) as nearest
    join public.document_chunks c on c.id = nearest.chunk_id
  where nearest.similarity >= match_threshold and (select aichat.may_search(match_user_id))
  order by nearest.similarity desc, c.id
$$;

-- Words and meaning together, for who is signed in; see aichat.search_documents.
create or replace function public.search_user_documents(
  query_words text[], query_embedding vector default null, query_model text default null,
  in_collection text default 'default', match_count integer default 100, text_count integer default 10,
  words_share double precision default 0.7
) returns json
language sql stable security definer set search_path = public, extensions, pg_temp as $$
  select aichat.search_documents(auth.uid(), in_collection, query_words, query_embedding, query_model, match_count,
    text_count, words_share)
$$;

-- 7. Sync --------------------------------------------------------------------------------------------------------------
--
-- A device keeps what it changed in an outbox, each change with a number (`mid`) of that device's that has no gaps, a name
-- (`uid`), and the time of a hybrid logical clock: milliseconds of Unix time times 65,536, and a counter. It pulls what
-- changed since it last did, then pushes its outbox in batches. Each of these is one call in one transaction, which may be
-- cut off, repeated or delayed: nothing is lost by it and nothing happens twice.
--
-- Answers have a `status`:
--   ok      it was done.
--   behind  others changed what is changed here, and this device has not seen it yet: pull first, nothing was done.
--   copied  the device's last change here is not the one it knows: its database is a copy, or was restored.
--   gap     changes are missing that were received once: this database was restored from an older copy.
--   purged  the device was away for longer than deletions are remembered: it has to read everything.

-- Times as the devices write them. Without a search path of its own it becomes part of the query that calls it.
create or replace function aichat.iso(at timestamptz) returns text
language sql immutable parallel safe as
  $$ select pg_catalog.to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;

-- What fields are compared by: the clock, then the device, as text of a fixed width.
create or replace function aichat.stamp(clock bigint, device uuid) returns text
language sql immutable parallel safe set search_path = '' as
  $$ select lpad(to_hex(clock), 16, '0') || '-' || device $$;

-- The user of a database that belongs to one person: made by the first device that asks.
create table if not exists aichat.owners (
  is_only boolean primary key default true check (is_only),
  user_id uuid not null references public.profiles (id) on delete cascade
);

create or replace function aichat.personal_user() returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  found uuid;
begin
  select user_id into found from aichat.owners;
  if found is not null then
    return found;
  end if;
  lock table aichat.owners in exclusive mode;  -- two devices may be the first
  select user_id into found from aichat.owners;
  if found is null then
    found := gen_random_uuid();
    insert into auth.users (id) values (found);
    insert into public.profiles (id) values (found) on conflict do nothing;
    insert into aichat.owners (user_id) values (found);
  end if;
  return found;
end $$;

-- Deletions are remembered for half a year; who was away for longer reads everything again. Chunks and files that were sent
-- before a change which then never came go as well. Pushing does this once a day.
create or replace function aichat.sync_purge(for_user uuid, kept interval default '180 days') returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  newest bigint;
begin
  perform 1 from public.sync_heads where user_id = for_user for update;
  with gone as (
    delete from public.conversations where user_id = for_user and deleted_at < now() - kept returning seq
  ), documents_gone as (
    delete from public.documents where user_id = for_user and deleted_at < now() - kept returning seq
  )
  select max(seq) into newest from (select seq from gone union all select seq from documents_gone) every;
  update public.sync_heads set horizon = greatest(horizon, coalesce(newest, 0)), purged = now() where user_id = for_user;
  delete from aichat.staged_chunks where user_id = for_user and staged_at < now() - interval '1 day';
  delete from public.blobs b where b.user_id = for_user and b.created_at < now() - interval '7 days' and not exists (
    select from public.messages m where m.user_id = for_user
      and m.attachments @> jsonb_build_array(jsonb_build_object('sha256', b.sha256)));
  return coalesce(newest, 0);
end $$;

-- What changed after `after`, at most `most` rows and about `most_bytes`, in the order of their numbers. A row that changed
-- again is found at its new number only. `next` is what to ask for after; `is_all` whether there was nothing more.
--
-- Who reads everything, from 0, says with the following pages what the horizon was at the first: then only a deletion that
-- was forgotten meanwhile makes it begin anew.
create or replace function aichat.sync_pull(
  for_user uuid, device uuid, device_name text, after bigint, most integer, most_bytes integer,
  horizon_at_start bigint default -1
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  heads  public.sync_heads;
  known  public.sync_devices;
  listed jsonb;
  number integer;
  last   bigint;
  kept   integer;
begin
  select * into heads from public.sync_heads where user_id = for_user;
  if not found then
    raise exception 'there is no such user' using errcode = 'no_data_found';
  end if;
  insert into public.sync_devices as d (user_id, id, name) values (for_user, device, device_name)
  on conflict (user_id, id) do update set name = excluded.name, seen_at = now()
    where d.name <> excluded.name or d.seen_at < now() - interval '1 minute';
  select * into known from public.sync_devices where user_id = for_user and id = device;
  -- The head and the rows up to it are read in one statement, which sees one moment. Otherwise a conversation that changes
  -- in between is beyond the head, and its messages before it come without it.
  with now as (
    select h.head, h.horizon, h.clock from public.sync_heads h where h.user_id = for_user
  ), changed as (
    select * from (
      (select c.seq, 'conversation' as kind, c.id from public.conversations c
       where c.user_id = for_user and c.seq > after and c.seq <= (select n.head from now n)
         and c.origin is distinct from device
       order by c.seq limit most)
      union all
      (select m.seq, 'message', m.id from public.messages m
       where m.user_id = for_user and m.seq > after and m.seq <= (select n.head from now n)
         and m.origin is distinct from device
       order by m.seq limit most)
      union all
      (select u.seq, 'usage', u.request_id from public.usage u
       where u.user_id = for_user and u.seq > after and u.seq <= (select n.head from now n)
         and u.origin is distinct from device
       order by u.seq limit most)
      union all
      (select d.seq, 'document', d.id from public.documents d
       where d.user_id = for_user and d.seq > after and d.seq <= (select n.head from now n)
         and d.origin is distinct from device
       order by d.seq limit most)
    ) every order by seq limit most
  ), built as (
    select n.seq, jsonb_build_object(
      'kind', n.kind, 'id', c.id, 'seq', c.seq, 'is_deleted', c.deleted_at is not null,
      'title', c.title, 'system_prompt', c.system_prompt, 'model', c.model, 'head_id', c.head_id,
      'trashed_at', aichat.iso(c.trashed_at), 'stamps', c.stamps,
      'created_at', aichat.iso(c.created_at), 'updated_at', aichat.iso(c.updated_at)) as change
    from changed n join public.conversations c on c.user_id = for_user and c.id = n.id where n.kind = 'conversation'
    union all
    select n.seq, jsonb_build_object(
      'kind', n.kind, 'id', m.id, 'seq', m.seq, 'conversation_id', m.conversation_id, 'parent_id', m.parent_id,
      'role', m.role, 'content', m.content, 'reasoning', m.reasoning, 'status', m.status, 'model', m.model,
      'finish_reason', m.finish_reason, 'error', m.error, 'extra', m.extra, 'attachments', m.attachments,
      'created_at', aichat.iso(m.created_at))
    from changed n join public.messages m on m.user_id = for_user and m.id = n.id where n.kind = 'message'
    union all
    select n.seq, jsonb_build_object(
      'kind', n.kind, 'id', u.request_id, 'seq', u.seq, 'conversation_id', u.conversation_id,
      'message_id', u.message_id, 'type', u.type, 'provider', u.provider, 'model', u.model,
      'served_model', u.served_model, 'provider_id', u.provider_id, 'input_tokens', u.input_tokens,
      'cached_tokens', u.cached_tokens, 'cache_write_tokens', u.cache_write_tokens,
      'output_tokens', u.output_tokens, 'reasoning_tokens', u.reasoning_tokens, 'cost_nano', u.cost_nano,
      'provenance', u.provenance, 'raw', u.raw, 'status', u.status, 'created_at', aichat.iso(u.created_at))
    from changed n join public.usage u on u.user_id = for_user and u.request_id = n.id where n.kind = 'usage'
    union all
    select n.seq, jsonb_build_object(
      'kind', n.kind, 'id', d.id, 'seq', d.seq, 'is_deleted', d.deleted_at is not null, 'stamp', d.stamp,
      'collection', d.collection, 'name', d.name, 'path', d.path, 'root', d.root, 'title', d.title,
      'media_type', d.media_type, 'size', d.size, 'etag', d.etag, 'sha256', d.sha256, 'settings', d.settings,
      'embedding_model', d.embedding_model, 'dimensions', d.dimensions, 'chunk_count', d.chunk_count,
      'created_at', aichat.iso(d.created_at), 'updated_at', aichat.iso(d.updated_at))
    from changed n join public.documents d on d.user_id = for_user and d.id = n.id where n.kind = 'document'
  ), page as (
    select seq, change, sum(pg_column_size(change)) over (order by seq) - pg_column_size(change) as before from built
  )
  select jsonb_agg(change order by seq) filter (where before < most_bytes), count(*),
         max(seq) filter (where before < most_bytes), count(*) filter (where before < most_bytes),
         (select n.head from now n), (select n.horizon from now n), (select n.clock from now n)
  into listed, number, last, kept, heads.head, heads.horizon, heads.clock from page;
  if after > 0 and after < heads.horizon and horizon_at_start < heads.horizon then
    return jsonb_build_object('status', 'purged', 'head', heads.head, 'clock', heads.clock);
  end if;
  if number < most and kept = number then
    last := heads.head;
  end if;
  update public.sync_devices d set seen_seq = last
  where d.user_id = for_user and d.id = device and d.seen_seq is distinct from last;
  return jsonb_build_object(
    'status', 'ok', 'head', heads.head, 'horizon', heads.horizon, 'clock', heads.clock,
    'last_mid', known.last_mid, 'last_uid', known.last_uid, 'rows', coalesce(listed, '[]'),
    'is_all', number < most and kept = number, 'next', last);
end $$;

-- What a device changed, in the order of its numbers; see above for what `changes` are and what is answered. `seen` is the
-- number up to which it has applied what others changed.
create or replace function aichat.sync_push(
  for_user uuid, device uuid, device_name text, seen bigint, changes jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  heads    public.sync_heads;
  known    public.sync_devices;
  newest   bigint := (extract(epoch from clock_timestamp()) * 1000)::bigint * 65536;
  latest   bigint := newest + 300000::bigint * 65536;
  first    bigint;
  final    bigint;
  final_uid text;
  document record;
begin
  select * into heads from public.sync_heads where user_id = for_user for update;
  if not found then
    raise exception 'there is no such user' using errcode = 'no_data_found';
  end if;
  if seen < heads.horizon then
    return jsonb_build_object('status', 'purged', 'head', heads.head, 'clock', heads.clock);
  end if;
  insert into public.sync_devices (user_id, id, name) values (for_user, device, device_name)
  on conflict (user_id, id) do update set name = excluded.name, seen_at = now()
  returning * into known;

  if exists (select from jsonb_to_recordset(changes) as c (mid bigint, uid text)
             where c.mid = known.last_mid and c.uid is distinct from known.last_uid) then
    return jsonb_build_object('status', 'copied', 'last_mid', known.last_mid, 'last_uid', known.last_uid);
  end if;
  select coalesce(jsonb_agg(c.change order by (c.change ->> 'mid')::bigint), '[]') into changes
  from jsonb_array_elements(changes) as c (change) where (c.change ->> 'mid')::bigint > known.last_mid;
  select min(c.mid), max(c.mid) into first, final from jsonb_to_recordset(changes) as c (mid bigint);
  if first is null then
    return jsonb_build_object('status', 'ok', 'head', heads.head, 'clock', heads.clock,
                              'last_mid', known.last_mid, 'last_uid', known.last_uid);
  end if;
  if first <> known.last_mid + 1 or final - first + 1 <> jsonb_array_length(changes) then
    return jsonb_build_object('status', 'gap', 'last_mid', known.last_mid, 'last_uid', known.last_uid);
  end if;

  -- A clock that is more than five minutes ahead would win for as long as it is: such a change happened now.
  select jsonb_agg(c.change || jsonb_build_object(
           'stamp', aichat.stamp(case when (c.change ->> 'clock')::bigint > latest
                                 then greatest(heads.clock, newest) + c.place
                                 else (c.change ->> 'clock')::bigint end, device),
           'seq', heads.head + (c.change ->> 'mid')::bigint - known.last_mid) order by c.place)
  into changes from jsonb_array_elements(changes) with ordinality as c (change, place);

  if aichat.sync_is_behind(for_user, seen, changes) then
    return jsonb_build_object('status', 'behind', 'head', heads.head, 'clock', heads.clock);
  end if;

  perform aichat.sync_conversations(for_user, device, changes);
  insert into public.messages (user_id, id, seq, origin, conversation_id, parent_id, role, content, reasoning, status,
                               model, finish_reason, error, extra, attachments, created_at)
  select for_user, c.id, c.seq, device, c.conversation_id, c.parent_id, c.role, c.content, c.reasoning, c.status,
         c.model, c.finish_reason, c.error, c.extra, coalesce(c.attachments, '[]'), c.created_at
  from jsonb_to_recordset(changes) as c (
    kind text, id uuid, seq bigint, conversation_id uuid, parent_id uuid, role text, content text, reasoning text,
    status text, model text, finish_reason text, error text, extra text, attachments jsonb, created_at timestamptz)
  join public.conversations v on v.user_id = for_user and v.id = c.conversation_id and v.deleted_at is null
  where c.kind = 'message'
  on conflict do nothing;
  insert into public.usage (user_id, request_id, seq, origin, conversation_id, message_id, type, provider, model,
                            served_model, provider_id, input_tokens, cached_tokens, cache_write_tokens, output_tokens,
                            reasoning_tokens, cost_nano, provenance, raw, status, created_at)
  select for_user, c.id, c.seq, device, v.id, m.id, c.type, c.provider, c.model,
         c.served_model, c.provider_id, c.input_tokens, c.cached_tokens, c.cache_write_tokens, c.output_tokens,
         c.reasoning_tokens, c.cost_nano, c.provenance, c.raw, c.status, c.created_at
  from jsonb_to_recordset(changes) as c (
    kind text, id uuid, seq bigint, conversation_id uuid, message_id uuid, type text, provider text, model text,
    served_model text, provider_id text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
    output_tokens bigint, reasoning_tokens bigint, cost_nano bigint, provenance text, raw text, status text,
    created_at timestamptz)
  left join public.conversations v on v.user_id = for_user and v.id = c.conversation_id and v.deleted_at is null
  left join public.messages m on m.user_id = for_user and m.id = c.message_id
  -- What a call under way through a gateway costs, the gateway writes down when it ends.
  where c.kind = 'usage' and not exists (
    select from public.credit_holds h where h.user_id = for_user and h.request_id = c.id)
  on conflict do nothing;
  -- A gateway does not know what its calls belong to; the device does.
  update public.usage u set
    seq = c.seq, conversation_id = coalesce(u.conversation_id, v.id), message_id = coalesce(u.message_id, m.id)
  from jsonb_to_recordset(changes) as c (kind text, id uuid, seq bigint, conversation_id uuid, message_id uuid)
  left join public.conversations v on v.user_id = for_user and v.id = c.conversation_id and v.deleted_at is null
  left join public.messages m on m.user_id = for_user and m.id = c.message_id
  where c.kind = 'usage' and u.user_id = for_user and u.request_id = c.id
    and (u.conversation_id is null and v.id is not null or u.message_id is null and m.id is not null);
  if changes @? '$[*] ? (@.kind == "conversation_delete")' then
    perform aichat.sync_delete_conversations(for_user, device, changes);
  end if;
  for document in
    select * from jsonb_array_elements(changes) as c (change)
    where c.change ->> 'kind' in ('document', 'document_delete') order by (c.change ->> 'mid')::bigint
  loop
    perform aichat.sync_document(for_user, device, document.change);
  end loop;

  select c.uid into final_uid from jsonb_to_recordset(changes) as c (mid bigint, uid text) where c.mid = final;
  update public.sync_devices d set last_mid = final, last_uid = final_uid, seen_at = now()
  where d.user_id = for_user and d.id = device;
  update public.sync_heads set
    head = heads.head + final - known.last_mid,
    clock = greatest(clock, (select max(('x' || left(c.stamp, 16))::bit(64)::bigint)
                             from jsonb_to_recordset(changes) as c (stamp text)))
  where user_id = for_user returning * into heads;
  if heads.purged < now() - interval '1 day' then
    perform aichat.sync_purge(for_user);
  end if;
  return jsonb_build_object('status', 'ok', 'head', heads.head, 'clock', heads.clock,
                            'last_mid', final, 'last_uid', final_uid);
end $$;

-- Whether a change would lose to, or be about something deleted by, a change this device has not seen: it has to know, so
-- that it can keep what loses.
create or replace function aichat.sync_is_behind(for_user uuid, seen bigint, changes jsonb) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from jsonb_to_recordset(changes) as c (kind text, id uuid, conversation_id uuid, stamp text, fields jsonb)
    join public.conversations v on v.user_id = for_user and v.seq > seen
      and v.id = case c.kind when 'message' then c.conversation_id when 'conversation' then c.id end
    where v.deleted_at is not null
       or exists (select from jsonb_object_keys(c.fields) as f (name)
                  where v.stamps ->> f.name collate "C" >= c.stamp and v.stamps ->> f.name not like '%' || right(c.stamp, 36))
  ) or exists (
    select from jsonb_to_recordset(changes) as c (kind text, id uuid, stamp text)
    join public.documents d on d.user_id = for_user and d.id = c.id and d.seq > seen
    where c.kind = 'document' and (d.deleted_at is not null or d.stamp >= c.stamp collate "C")
  )
$$;

-- Conversations that are new, and fields that were set: each is won by the greatest stamp.
create or replace function aichat.sync_conversations(for_user uuid, device uuid, changes jsonb) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.conversations (user_id, id, seq, origin, created_at, updated_at)
  select distinct on (c.id) for_user, c.id, c.seq, device, c.created_at, least(c.updated_at, now() + interval '5 minutes')
  from jsonb_to_recordset(changes) as c (
    kind text, id uuid, seq bigint, created_at timestamptz, updated_at timestamptz)
  where c.kind = 'conversation' order by c.id, c.seq
  on conflict do nothing;

  -- A first sync fills tables that Postgres knows nothing of yet: it would look for each conversation among all.
  if exists (
    select from pg_catalog.pg_class c
    where c.oid in ('public.conversations'::regclass, 'public.messages'::regclass)
      and (c.reltuples < 0 or pg_relation_size(c.oid) > 10 * 8192 * (c.relpages + 1::bigint))
  ) then
    analyze public.conversations, public.messages;
  end if;

  -- One pass, without a join of what is made here: nothing is known of its size, and a plan for a few rows would be chosen.
  with listed as (
    select c.id, c.seq, c.updated_at, c.stamp, f.name, f.value
    from jsonb_to_recordset(changes) as c (
      kind text, id uuid, seq bigint, updated_at timestamptz, stamp text, fields jsonb)
    left join jsonb_each(c.fields) as f (name, value) on true
    where c.kind = 'conversation'
  ), newest as (
    select id, name, max(seq) as seq, max(updated_at) as updated_at, max(stamp collate "C") as stamp,
           (array_agg(value order by stamp collate "C" desc))[1] as value
    from listed group by id, name
  ), compared as (
    select n.*, n.name is null or n.stamp > coalesce(v.stamps ->> n.name, '') as is_won
    from newest n join public.conversations v on v.user_id = for_user and v.id = n.id and v.deleted_at is null
  ), merged as (
    select id, max(seq) as seq, max(updated_at) as updated_at, bool_and(is_won) as has_won,
           coalesce(jsonb_object_agg(name, value) filter (where is_won and name is not null), '{}') as fields,
           coalesce(jsonb_object_agg(name, stamp) filter (where is_won and name is not null), '{}') as stamps
    from compared group by id
  )
  update public.conversations v set
    seq = m.seq,
    origin = case when v.origin = device and m.has_won and m.updated_at <= now() + interval '5 minutes' then device end,
    title = case when m.fields ? 'title' then m.fields ->> 'title' else v.title end,
    system_prompt = case when m.fields ? 'system_prompt' then m.fields ->> 'system_prompt' else v.system_prompt end,
    model = case when m.fields ? 'model' then m.fields ->> 'model' else v.model end,
    head_id = case when m.fields ? 'head_id' then (m.fields ->> 'head_id')::uuid else v.head_id end,
    trashed_at = case when m.fields ? 'trashed_at' then (m.fields ->> 'trashed_at')::timestamptz else v.trashed_at end,
    stamps = v.stamps || m.stamps,
    updated_at = greatest(v.updated_at, least(m.updated_at, now() + interval '5 minutes'))
  from merged m
  where v.user_id = for_user and v.id = m.id and v.deleted_at is null;
end $$;

-- A deletion is final. It clears the content and takes the messages, and files nothing else has, along; what was spent
-- stays in the books.
create or replace function aichat.sync_delete_conversations(for_user uuid, device uuid, changes jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  files text[];
begin
  update public.conversations v set
    seq = c.seq, origin = device, deleted_at = now(),
    title = '', system_prompt = null, model = null, head_id = null, trashed_at = null, stamps = '{}'
  from jsonb_to_recordset(changes) as c (kind text, id uuid, seq bigint)
  where c.kind = 'conversation_delete' and v.user_id = for_user and v.id = c.id and v.deleted_at is null;
  -- Also of one that never came here: a copy of the device that deleted it may still send it.
  insert into public.conversations (user_id, id, seq, origin, created_at, updated_at, deleted_at)
  select for_user, c.id, c.seq, device, now(), now(), now()
  from jsonb_to_recordset(changes) as c (kind text, id uuid, seq bigint)
  where c.kind = 'conversation_delete'
  on conflict do nothing;
  update public.usage u set conversation_id = null
  from jsonb_to_recordset(changes) as c (kind text, id uuid)
  where c.kind = 'conversation_delete' and u.user_id = for_user and u.conversation_id = c.id;
  with gone as (
    delete from public.messages m using jsonb_to_recordset(changes) as c (kind text, id uuid)
    where c.kind = 'conversation_delete' and m.user_id = for_user and m.conversation_id = c.id
    returning m.attachments
  )
  select array_agg(distinct a.file ->> 'sha256') into files
  from gone cross join jsonb_array_elements(gone.attachments) as a (file);
  delete from public.blobs b
  where b.user_id = for_user and b.sha256 = any (files) and not exists (
    select from public.messages m where m.user_id = for_user
      and m.attachments @> jsonb_build_array(jsonb_build_object('sha256', b.sha256)));
end $$;

-- A document that was read, or read anew: its chunks have been staged, and take the place of those that are there.
create or replace function aichat.sync_document(for_user uuid, device uuid, change jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  d       public.documents := jsonb_populate_record(null::public.documents, change || jsonb_build_object(
            'user_id', for_user, 'origin', device));
  current public.documents;
  staged  bigint;
begin
  select * into current from public.documents where user_id = for_user and id = d.id;
  if change ->> 'kind' = 'document_delete' then
    update public.documents set
      seq = d.seq, origin = device, stamp = d.stamp, deleted_at = now(), collection = '', name = '', path = '',
      root = null, title = null, media_type = '', size = 0, etag = null, sha256 = null, settings = '',
      embedding_model = null, dimensions = null, chunk_count = 0
    where user_id = for_user and id = d.id and deleted_at is null;
    delete from public.document_chunks where user_id = for_user and document_id = d.id;
    insert into public.documents (user_id, id, seq, origin, stamp, created_at, updated_at, deleted_at)
    values (for_user, d.id, d.seq, device, d.stamp, now(), now(), now()) on conflict do nothing;
  elsif current.deleted_at is null and (current.id is null or d.stamp collate "C" > current.stamp) then
    select count(*) into staged from aichat.staged_chunks s
    where s.user_id = for_user and s.document_id = d.id and s.version = change ->> 'version';
    if staged <> d.chunk_count then
      raise exception '% of % chunks have come', staged, d.chunk_count using errcode = 'AI409';
    end if;
    insert into public.documents as o (user_id, id, seq, origin, stamp, collection, name, path, root, title, media_type,
      size, etag, sha256, settings, embedding_model, dimensions, chunk_count, created_at, updated_at)
    values (for_user, d.id, d.seq, device, d.stamp, d.collection, d.name, d.path, d.root, d.title, d.media_type,
      d.size, d.etag, d.sha256, d.settings, d.embedding_model, d.dimensions, d.chunk_count, d.created_at, d.updated_at)
    on conflict (user_id, id) do update set
      seq = excluded.seq, origin = case when o.origin = device then device end, stamp = excluded.stamp,
      collection = excluded.collection, name = excluded.name, path = excluded.path, root = excluded.root,
      title = excluded.title, media_type = excluded.media_type, size = excluded.size, etag = excluded.etag,
      sha256 = excluded.sha256, settings = excluded.settings, embedding_model = excluded.embedding_model,
      dimensions = excluded.dimensions, chunk_count = excluded.chunk_count, updated_at = excluded.updated_at;
    delete from public.document_chunks where user_id = for_user and document_id = d.id;
    insert into public.document_chunks (user_id, document_id, collection, chunk_index, content, heading, start_char,
      end_char, line, page, token_count, hash, embedding_model, embedding, words)
    select for_user, d.id, d.collection, s.chunk_index, c.content, c.heading, c.start_char, c.end_char, c.line, c.page,
      c.token_count, c.hash, case when c.embedding is not null then d.embedding_model end, c.embedding,
      aichat.words_of(d.title, c.heading, c.content)
    from aichat.staged_chunks s cross join jsonb_populate_record(null::public.document_chunks, s.chunk) c
    where s.user_id = for_user and s.document_id = d.id and s.version = change ->> 'version';
  else
    update public.documents set seq = d.seq, origin = null where user_id = for_user and id = d.id;
  end if;
  delete from aichat.staged_chunks s
  where s.user_id = for_user and s.document_id = d.id
    and (s.version = change ->> 'version' or s.staged_at < now() - interval '1 day');
end $$;

-- Chunks of a version of a document, in parts and any number of times, before the change that brings it.
create or replace function aichat.sync_stage_chunks(for_user uuid, document uuid, version text, chunks jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into aichat.staged_chunks (user_id, document_id, version, chunk_index, chunk)
  select for_user, document, version, (c.chunk ->> 'chunk_index')::integer, c.chunk
  from jsonb_array_elements(chunks) as c (chunk)
  on conflict do nothing
$$;

-- The chunks of a version of a document, from beyond one; none where it was replaced meanwhile.
create or replace function aichat.sync_chunks(
  for_user uuid, document uuid, stamp text, after integer, most integer, most_bytes integer
) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(row order by chunk_index) filter (where before < most_bytes), '[]') from (
    select chunk_index, row, sum(octet_length(row::text)) over (order by chunk_index) - octet_length(row::text) as before
    from (
      select c.chunk_index, jsonb_build_object(
        'chunk_index', c.chunk_index, 'content', c.content, 'heading', c.heading, 'start_char', c.start_char,
        'end_char', c.end_char, 'line', c.line, 'page', c.page, 'token_count', c.token_count, 'hash', c.hash,
        'embedding', c.embedding::text) as row
      from public.document_chunks c join public.documents d on d.user_id = c.user_id and d.id = c.document_id
      where c.user_id = for_user and c.document_id = sync_chunks.document and c.chunk_index > after
        and d.stamp = sync_chunks.stamp
      order by c.chunk_index limit most
    ) found
  ) measured
$$;

-- Which of some files are not here yet.
create or replace function aichat.sync_missing_blobs(for_user uuid, hashes text[]) returns text[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(h), '{}') from unnest(hashes) as h
  where not exists (select from public.blobs b where b.user_id = for_user and b.sha256 = h)
$$;

-- A file under the hash of its content; another content under that hash is refused.
create or replace function aichat.sync_put_blob(for_user uuid, hash text, file bytea) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if encode(sha256(file), 'hex') <> hash then
    raise exception 'this is not the content of %', hash using errcode = 'invalid_parameter_value';
  end if;
  insert into public.blobs (user_id, sha256, content) values (for_user, hash, file) on conflict do nothing;
end $$;

-- Its content, null where it is not here: it was too large for the device that has it.
create or replace function aichat.sync_blob(for_user uuid, hash text) returns bytea
language sql stable security definer set search_path = '' as
  $$ select content from public.blobs where user_id = for_user and sha256 = hash $$;

-- The devices of a user, and how many changes of others each has not fetched yet.
create or replace function aichat.sync_devices(for_user uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', d.id, 'name', d.name, 'seen_at', aichat.iso(d.seen_at), 'created_at', aichat.iso(d.created_at),
    'unseen',
      (select count(*) from public.conversations c
       where c.user_id = for_user and c.seq > d.seen_seq and c.origin is distinct from d.id)
      + (select count(*) from public.messages m
         where m.user_id = for_user and m.seq > d.seen_seq and m.origin is distinct from d.id)
      + (select count(*) from public.usage u
         where u.user_id = for_user and u.seq > d.seen_seq and u.origin is distinct from d.id)
      + (select count(*) from public.documents o
         where o.user_id = for_user and o.seq > d.seen_seq and o.origin is distinct from d.id)
    ) order by d.seen_at desc), '[]')
  from public.sync_devices d where d.user_id = for_user
$$;

-- A device no longer syncs: it is not listed, and should it come back, it begins anew.
create or replace function aichat.sync_forget(for_user uuid, device uuid) returns void
language sql security definer set search_path = '' as
  $$ delete from public.sync_devices where user_id = for_user and id = device $$;

-- The same for a signed-in user, about themselves. A gateway's client calls these; without a user they are refused.
create or replace function aichat.asking() returns uuid
language plpgsql stable set search_path = '' as $$
declare
  asking uuid := (select auth.uid());
begin
  if asking is null then
    raise exception 'nobody is signed in' using errcode = 'insufficient_privilege';
  end if;
  return asking;
end $$;

create or replace function public.sync_pull(
  device uuid, device_name text, after bigint, most integer, most_bytes integer, horizon_at_start bigint default -1
) returns jsonb language sql security definer set search_path = '' as $$
  select aichat.sync_pull(aichat.asking(), device, device_name, after, least(most, 5000), least(most_bytes, 33554432),
                          horizon_at_start)
$$;
create or replace function public.sync_push(device uuid, device_name text, seen bigint, changes jsonb)
returns jsonb language sql security definer set search_path = '' as
  $$ select aichat.sync_push(aichat.asking(), device, device_name, seen, changes) $$;
create or replace function public.sync_stage_chunks(document uuid, version text, chunks jsonb)
returns void language sql security definer set search_path = '' as
  $$ select aichat.sync_stage_chunks(aichat.asking(), document, version, chunks) $$;
create or replace function public.sync_chunks(
  document uuid, stamp text, after integer, most integer, most_bytes integer
) returns jsonb language sql stable security definer set search_path = '' as
  $$ select aichat.sync_chunks(aichat.asking(), document, stamp, after, least(most, 5000), least(most_bytes, 33554432)) $$;
create or replace function public.sync_missing_blobs(hashes text[])
returns text[] language sql stable security definer set search_path = '' as
  $$ select aichat.sync_missing_blobs(aichat.asking(), hashes) $$;
create or replace function public.sync_put_blob(hash text, file bytea)
returns void language sql security definer set search_path = '' as
  $$ select aichat.sync_put_blob(aichat.asking(), hash, file) $$;
create or replace function public.sync_blob(hash text)
returns bytea language sql stable security definer set search_path = '' as
  $$ select aichat.sync_blob(aichat.asking(), hash) $$;
create or replace function public.sync_forget(device uuid)
returns void language sql security definer set search_path = '' as
  $$ select aichat.sync_forget(aichat.asking(), device) $$;
create or replace function public.sync_devices()
returns jsonb language sql stable security definer set search_path = '' as
  $$ select aichat.sync_devices(aichat.asking()) $$;

-- 8. Row security and grants -------------------------------------------------------------------------------------------
--
-- Postgres lets everybody call a new function, and Supabase grants all on whatever is new in public to its three roles. So
-- for what is ours, and only for that, everything is taken back first, each time, and what is granted is all there is: also
-- a policy or a grant of an older version goes. What others have in public is not touched.
--
-- Ours are all of schema aichat and what is named here. Whoever adds a table or a function to public adds it here; a test
-- walks the catalog and knows what each role may do with everything in it.

do $$
declare
  -- Tables of which a user may read rows of their own, with the columns where not all: neither the names things have at
  -- Stripe, nor the hash of a key. `select *` on those three is refused: ask for columns.
  readable constant jsonb := '{
    "profiles": "id, name, email, plan, balance_nano, held_nano, credits, created_at, suspended_at",
    "credit_ledger": null,
    "credit_holds": null,
    "rate_events": null,
    "api_keys": "id, user_id, name, prefix, scopes, plan, monthly_cap_nano, created_at, expires_at, last_used_at, revoked_at",
    "purchases": "id, user_id, package, credits, amount_cents, currency, is_live, state, created_at, updated_at",
    "sync_heads": null,
    "sync_devices": null,
    "conversations": null,
    "messages": null,
    "blobs": null,
    "usage": null,
    "documents": null,
    "document_chunks": null
  }';
  -- Functions in public, and who may call them, with whatever arguments they take. In aichat the service may call all.
  callable constant jsonb := '{
    "create_api_key": "authenticated",
    "revoke_api_key": "authenticated",
    "match_user_documents": "authenticated",
    "search_user_documents": "authenticated",
    "sync_push": "authenticated",
    "sync_pull": "authenticated",
    "sync_stage_chunks": "authenticated",
    "sync_chunks": "authenticated",
    "sync_missing_blobs": "authenticated",
    "sync_put_blob": "authenticated",
    "sync_blob": "authenticated",
    "sync_devices": "authenticated",
    "sync_forget": "authenticated",
    "deduct_credits": "service_role"
  }';
  -- Where a role is missing, there is nobody to grant anything to.
  present constant text[] := array(
    select rolname::text from pg_roles where rolname in ('anon', 'authenticated', 'service_role') order by rolname);
  everybody constant text := array_to_string('{public}'::text[] || present, ', ');
  has_users constant boolean := 'authenticated' = any (present);
  has_service constant boolean := 'service_role' = any (present);
  item record;
  policy record;
begin
  execute format('revoke all on schema aichat from %s', everybody);
  if has_service then
    grant usage on schema aichat to service_role;
  end if;
  -- Everybody may look into public, unless somebody has taken that back.
  if has_users and not has_schema_privilege('authenticated', 'public', 'usage') then
    grant usage on schema public to authenticated;
  end if;
  if has_service and not has_schema_privilege('service_role', 'public', 'usage') then
    grant usage on schema public to service_role;
  end if;

  -- Tables: nothing but reading, and only the rows that a policy lets through. The owner, which all functions of ours that
  -- write run as, is not subject to policies. The service reads everything, also where its role does not bypass them.
  for item in
    select c.oid::regclass as name, n.nspname = 'public' as is_public, readable ->> c.relname as columns,
      case when c.relname = 'profiles' then 'id' else 'user_id' end as owner_column
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and (n.nspname = 'aichat' or n.nspname = 'public' and readable ? c.relname)
  loop
    execute format('revoke all on table %s from %s', item.name, everybody);
    execute format('alter table %s enable row level security', item.name);
    for policy in select polname as name from pg_policy where polrelid = item.name loop
      execute format('drop policy %I on %s', policy.name, item.name);
    end loop;
    if has_users and item.is_public then
      execute format('grant select %s on table %s to authenticated', '(' || item.columns || ')', item.name);
      -- In a subquery it is asked once for a query; otherwise, once for each row.
      execute format('create policy own_rows on %s for select to authenticated using (%I = (select auth.uid()))',
        item.name, item.owner_column);
    end if;
    if has_service then
      execute format('grant select %s on table %s to service_role',
        case when item.name = 'public.api_keys'::regclass then '(' || item.columns || ')' end, item.name);
      execute format('create policy all_rows on %s for select to service_role using (true)', item.name);
    end if;
  end loop;

  -- Sequences: whoever sets one back has the next row refused.
  for item in
    select distinct s.oid::regclass as name
    from pg_class s
      join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i')
      join pg_class t on d.refclassid = 'pg_class'::regclass and t.oid = d.refobjid
      join pg_namespace n on n.oid = t.relnamespace
    where s.relkind = 'S' and (n.nspname = 'aichat' or n.nspname = 'public' and readable ? t.relname)
  loop
    execute format('revoke all on sequence %s from %s', item.name, everybody);
  end loop;

  -- Functions. Those of extensions bear other names; those of others that bear one of ours have another owner.
  for item in
    select p.oid::regprocedure as name, p.prorettype = 'trigger'::regtype as is_trigger,
      case n.nspname when 'aichat' then 'service_role' else callable ->> p.proname end as caller
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where (n.nspname = 'aichat' or n.nspname = 'public' and callable ? p.proname)
      and pg_has_role(p.proowner, 'usage')
  loop
    execute format('revoke all on routine %s from %s', item.name, everybody);
    if item.caller = any (present) and not item.is_trigger then
      execute format('grant execute on routine %s to %I', item.name, item.caller);
    end if;
  end loop;
end $$;

-- 9. Done --------------------------------------------------------------------------------------------------------------

insert into aichat.schema_versions (version) values (1), (2) on conflict do nothing;
