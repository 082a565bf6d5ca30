"""Every error a user can meet, with its exit code and its HTTP status.

    AichatError                 1
    ├── UsageError              2    bad flag, value or model name
    │   ├── UnknownModel        2
    │   └── NotConfirmed        2    the user was asked, or could not be, and did not agree
    ├── ConfigError             1    the settings file cannot be read or written
    ├── NotFound                1    no such conversation, setting or key
    ├── ArchiveError            1    a file to import cannot be read, or one to export cannot be written
    ├── DocumentError           1    a document, page or folder cannot be taken in
    │   └── NotText             1    it is binary
    ├── EmbeddingError          1    a collection's embedding model is another one, or is not here
    ├── PurchaseFailed          1    credits were not paid for, or not as they should have been
    ├── BadSignature            1    (400) an event that Stripe did not sign, or not now
    ├── ApiKeyError             3    (401)
    │   ├── KeyMissing          3
    │   └── KeyRejected         3
    ├── AccountError            3    what a gateway refuses somebody's key
    │   ├── KeyRefused          3    (401) no such key, or one that was revoked or has expired
    │   ├── ScopeMissing        3    (403) the key may not be used for this
    │   └── AccountSuspended    3    (403)
    ├── CallKnown               1    (409) a call was admitted under this id before
    ├── PaymentRequired         4    (402)
    │   ├── OutOfCredits        4
    │   ├── CapReached          4    of a day, a month or `--max-cost`
    │   └── PriceUnknown        4    a limit is set, and nobody knows what the call costs
    ├── RateLimited             5    (429) says when to try again
    ├── ProviderError           6    (502)
    │   ├── ConnectFailed       6    retried: nothing was sent
    │   ├── TimedOut            6    retried before the first byte
    │   ├── ProviderUnavailable 6    retried: 408 and 5xx
    │   ├── StreamBroken        6    died in the middle; what arrived is kept
    │   ├── BadResponse         6    not the protocol we speak
    │   ├── RequestRejected     6    400, 403, 413, 422: the provider read it and said no
    │   │   └── ContextTooLong  6
    │   ├── ModelNotFound       6    404
    │   └── LocalModelError     6    the embedded model is missing or does not run
    ├── SyncError               1    sync is not set up, is on already, or is running in another process
    ├── HostedError             6    (502) the hosted database, or the network between
    │   ├── HostedUnavailable   6    it cannot be reached, or the connection was lost: nothing is lost by it
    │   ├── HostedLogin         3    it refused the password or the role
    │   ├── HostedSchema        6    its schema is missing, older or newer than this program
    │   └── HostedFull          6    no space left there
    └── StorageError            1
        ├── DatabaseLocked      1
        ├── DatabaseCorrupt     1
        ├── DatabaseTooNew      1
        ├── DatabaseReadOnly    1
        └── DiskFull            1
A message says what failed and where; `hint` is the next command to run, without a trailing full stop.
"""

from __future__ import annotations

from aichat_cli.core.exits import EXIT_CREDITS, EXIT_ERROR, EXIT_KEY, EXIT_PROVIDER, EXIT_RATE_LIMITED, EXIT_USAGE


class AichatError(Exception):
    """Base of all errors that are reported to the user in one line.

    Args:
        message: what failed and where, one sentence.
        hint: what to run or do next, or None.
    """

    code = "error"
    exit_code = EXIT_ERROR
    http_status = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AichatError):
    """A flag, a value or a combination of them that cannot work."""

    code = "usage"
    exit_code = EXIT_USAGE
    http_status = 400


class UnknownModel(UsageError):
    """A model name that no provider, alias or custom model answers to."""

    code = "unknown_model"


class NotConfirmed(UsageError):
    """Something that costs was not agreed to; nothing was sent."""

    code = "not_confirmed"


class ConfigError(AichatError):
    """The settings file, or a value in it, cannot be used."""

    code = "config"


class NotFound(AichatError):
    """Something was asked for by name or id and is not there."""

    code = "not_found"
    http_status = 404


class ArchiveError(AichatError):
    """A file of conversations cannot be read or written."""

    code = "archive"


class DocumentError(AichatError):
    """A document, page or folder cannot be read, or is refused; the message is the reason, one sentence."""

    code = "document"


class NotText(DocumentError):
    """A file is binary: a picture, a program, an archive."""

    code = "not_text"


class EmbeddingError(AichatError):
    """The embedding model of a collection is not the one that is asked for, or cannot run here. Nothing is deleted."""

    code = "embedding"


class PurchaseFailed(AichatError):
    """Credits were not paid for, or what was paid is not what was to be bought."""

    code = "purchase"


class BadSignature(AichatError):
    """An event that Stripe did not sign, that was changed, or that is older or newer than it may be."""

    code = "bad_signature"
    http_status = 400


class ApiKeyError(AichatError):
    """A provider key is missing or was refused."""

    code = "key"
    exit_code = EXIT_KEY
    http_status = 401


class KeyMissing(ApiKeyError):
    """No key was found anywhere for a provider that needs one."""

    code = "key_missing"


class KeyRejected(ApiKeyError):
    """The provider answered 401."""

    code = "key_rejected"


class AccountError(AichatError):
    """A gateway does not let this key do this."""

    code = "account"
    exit_code = EXIT_KEY
    http_status = 403


class KeyRefused(AccountError):
    """There is no such key, or it was revoked or has expired."""

    code = "invalid_api_key"
    http_status = 401


class ScopeMissing(AccountError):
    """The key was not made for this."""

    code = "scope_missing"


class AccountSuspended(AccountError):
    """The keys of this user are refused for now."""

    code = "account_suspended"


class CallKnown(AichatError):
    """A call was admitted under this id before: it is not made, nor charged, a second time."""

    code = "call_known"
    http_status = 409


class PaymentRequired(AichatError):
    """Nothing was sent: what it may cost is more than may be spent."""

    code = "payment_required"
    exit_code = EXIT_CREDITS
    http_status = 402


class OutOfCredits(PaymentRequired):
    """The balance does not cover the call."""

    code = "out_of_credits"


class CapReached(PaymentRequired):
    """The call might go over a cap that the user set."""

    code = "cap_reached"


class PriceUnknown(PaymentRequired):
    """A limit is set and the model has no known price."""

    code = "price_unknown"


class RateLimited(AichatError):
    """The provider, or our own window, says not now.

    Args:
        retry_after: seconds to wait, where known.
        limit: how many calls the window holds, where it is our own.
    """

    code = "rate_limited"
    exit_code = EXIT_RATE_LIMITED
    http_status = 429

    def __init__(
        self, message: str, *, retry_after: float | None = None, limit: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.limit = limit


class ProviderError(AichatError):
    """The provider or the network between failed."""

    code = "provider"
    exit_code = EXIT_PROVIDER
    http_status = 502


class ConnectFailed(ProviderError):
    """No connection, or it was closed before a response began."""

    code = "connect_failed"


class TimedOut(ProviderError):
    """Connect, first byte or idle time was exceeded."""

    code = "timed_out"
    http_status = 504


class ProviderUnavailable(ProviderError):
    """The provider answered 408 or 5xx.

    Args:
        retry_after: seconds to wait, where the provider said.
    """

    code = "provider_unavailable"
    http_status = 503

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class StreamBroken(ProviderError):
    """The connection died, or the provider reported an error, after the answer had begun."""

    code = "stream_broken"


class BadResponse(ProviderError):
    """The response is not the protocol it should be."""

    code = "bad_response"


class RequestRejected(ProviderError):
    """The provider read the request and will not serve it."""

    code = "request_rejected"
    http_status = 400


class ContextTooLong(RequestRejected):
    """The prompt is larger than the model's window."""

    code = "context_too_long"


class ModelNotFound(ProviderError):
    """The provider has no such model."""

    code = "model_not_found"
    http_status = 404


class LocalModelError(ProviderError):
    """The embedded model is missing, corrupt or cannot run here."""

    code = "local_model"


class SyncError(AichatError):
    """Sync cannot be done: it is not set up, is set up already, or another process is doing it."""

    code = "sync"


class HostedError(AichatError):
    """The hosted database, or the network between, failed. What was not confirmed stays here and is sent again."""

    code = "hosted"
    exit_code = EXIT_PROVIDER
    http_status = 502


class HostedUnavailable(HostedError):
    """It cannot be reached, or the connection was lost."""

    code = "hosted_unavailable"
    http_status = 503


class HostedLogin(HostedError):
    """It refused the password, the role, or the role may not do this."""

    code = "hosted_login"
    exit_code = EXIT_KEY
    http_status = 401


class HostedSchema(HostedError):
    """Its schema is missing, older or newer than this program knows."""

    code = "hosted_schema"


class HostedFull(HostedError):
    """No space is left there."""

    code = "hosted_full"
    http_status = 507


class StorageError(AichatError):
    """The local database could not be read or written."""

    code = "storage"


class DatabaseLocked(StorageError):
    """Another process held the database for longer than the busy timeout."""

    code = "database_locked"


class DatabaseCorrupt(StorageError):
    """The file is not a database, or is damaged."""

    code = "database_corrupt"


class DatabaseTooNew(StorageError):
    """A newer aichat wrote this database."""

    code = "database_too_new"


class DatabaseReadOnly(StorageError):
    """The file or its folder cannot be written."""

    code = "database_read_only"


class DiskFull(StorageError):
    """No space left for a write."""

    code = "disk_full"


def is_transient(error: AichatError) -> bool:
    """Whether the same request may succeed a moment later: 408, 429, 5xx, no connection, a timeout."""
    return isinstance(error, RateLimited | ConnectFailed | TimedOut | ProviderUnavailable)
