"""A real, encrypted keyring for tests: keyrings.alt's file backend, with its password given."""

from __future__ import annotations

from keyrings.alt.file import EncryptedKeyring


class UnlockedKeyring(EncryptedKeyring):  # type: ignore[misc]
    """The encrypted file backend of keyrings.alt; only the question for its password is answered here."""

    keyring_key = "a password for tests"
