-- A gateway writes down itself what a call through it used, under the same id as this device, and knows nothing of the
-- conversation. Its record may come by sync before the call has ended here. So the two references of a row may be filled in
-- where they are empty, which is sent on; everything else is written once, as before.
DROP TRIGGER usage_is_not_changed;

CREATE TRIGGER usage_is_not_changed BEFORE UPDATE ON usage
WHEN NOT (
  (new.conversation_id IS old.conversation_id OR new.conversation_id IS NULL OR old.conversation_id IS NULL)
  AND (new.message_id IS old.message_id OR new.message_id IS NULL OR old.message_id IS NULL)
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

CREATE TRIGGER sync_usage_referenced AFTER UPDATE OF conversation_id, message_id ON usage
WHEN (old.conversation_id IS NULL AND new.conversation_id IS NOT NULL OR old.message_id IS NULL AND new.message_id IS NOT NULL)
  AND (SELECT is_recording FROM sync_state) = 1
BEGIN
  INSERT INTO outbox (kind, id) VALUES ('usage', new.request_id);
END;
