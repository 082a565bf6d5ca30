"""Who pays for a turn: what it may cost is estimated, confirmed and admitted before anything is sent, and settled after.

`billing` decides; this knows what a turn sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import ceil, isfinite

from aichat_cli.billing import admission as admissions
from aichat_cli.billing.admission import Admission
from aichat_cli.billing.charges import usage_of_call
from aichat_cli.billing.estimates import Call, most_nano
from aichat_cli.billing.limits import Limits
from aichat_cli.billing.standing import standing, warnings
from aichat_cli.core.errors import StorageError
from aichat_cli.core.events import Finished
from aichat_cli.core.ids import RequestId
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.messages import AttachmentSummary, ChatMessage, Status
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord, UsageType
from aichat_cli.providers import tokens
from aichat_cli.providers.base import OptionValue, longest_answer
from aichat_cli.storage.accounts import NewHold
from aichat_cli.storage.database import Database

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
_MOST_PER_IMAGE = 5_000
"""Tokens, to the models of OpenAI and Anthropic that look closest."""
_MOST_PER_IMAGE_MINI = 48_000
"""Tokens, to gpt-4o-mini, which counts an image as some thirty of what it costs to gpt-4o."""


class PromptEstimate(Struct, frozen=True):
    """What reading a prompt will cost, before it is sent; `answer_nano` is what the longest answer would add."""

    model: str
    tokens: int
    prompt_nano: int
    answer_nano: int


Confirm = Callable[[PromptEstimate], None]
"""Asks the user; raises NotConfirmed where they do not agree."""


def call_of(
    model: Model,
    messages: Sequence[ChatMessage],
    system: str | None,
    options: Mapping[str, OptionValue],
    usage_type: UsageType,
) -> Call:
    """A turn as billing sees it."""
    texts = [message.content for message in messages] + ([system] if system else [])
    files = [file.summary for message in messages for file in message.attachments]
    of_files = sum(_most_of_file(file, model) for file in files)
    around = tokens.TOKENS_PER_REPLY + 2 * tokens.TOKENS_PER_MESSAGE * len(texts)
    limit = _most_of(options, OUTPUT_LIMITS)
    margin = 1.0 if model.provider == "openai" else tokens.FOREIGN_VOCABULARY
    return Call(
        model,
        most_input=around + of_files + sum(map(tokens.most, texts)),
        count_input=lambda: around + of_files + int(margin * sum(tokens.count(text, model) for text in texts)),
        likely_input=sum(tokens.estimate(text) + tokens.TOKENS_PER_MESSAGE for text in texts)
        + sum(tokens.estimate_file(file) for file in files),
        longest_answer=longest_answer(model) if limit is None else limit,
        is_limit_given=limit is not None,
        is_limit_known=limit is not None or model.max_output_tokens is not None,
        answers=_most_of(options, ("n",)) or 1,
        type=usage_type,
    )


class Payment:
    """The money of one turn, from its admission to its end.

    Args:
        books: the user's database, or one in memory where that cannot be used.
        unusable: why it cannot.
    """

    def __init__(self, limits: Limits, books: Database, unusable: StorageError | None, confirm: Confirm | None) -> None:
        self._limits = limits
        self._books = books
        self._unusable = unusable
        self._confirm = confirm
        self._admission: Admission | None = None
        self._type: UsageType = "chat"

    @property
    def admission(self) -> Admission:
        """Of the call under way."""
        assert self._admission is not None
        return self._admission

    @property
    def request_id(self) -> RequestId:
        """Of the call under way."""
        return self.admission.request_id

    @property
    def hold(self) -> NewHold | None:
        """What is still to be noted where the turn is stored."""
        return self.admission.hold

    def admit(self, call: Call, *, message_seq: int | None = None) -> None:
        """Ask where it is expensive, and admit the call; a second one takes the place of the first, which failed.

        Raises:
            AichatError: as `billing.admission.admit` says, or the user does not agree.
        """
        if self._unusable is not None and self._limits.of_provider(call.model.provider).are_set:
            raise self._unusable
        self._type = call.type
        self._require_consent(call)
        is_first = self._admission is None
        if not is_first:
            with suppress(StorageError):  # the hold ends with the process then
                admissions.release(self.admission, self._limits, self._books)
        with shielded():
            self._admission = admissions.admit(
                call, self._limits, self._books, message_seq=message_seq, is_first=is_first
            )

    def release(self) -> None:
        """The turn was admitted, perhaps, and could not begin."""
        if self._admission is not None and self._admission.hold is None:
            with suppress(StorageError), shielded():
                admissions.release(self._admission, self._limits, self._books)

    def usage(
        self,
        model: Model,
        counted: TokenUsage | None,
        finished: Finished | None,
        status: Status,
        *,
        arrived: str,
        prompt_tokens: Callable[[], int],
    ) -> UsageRecord | None:
        """The row of the call: the provider's count where the answer came to its end, ours for what is missing.

        None where nothing was counted and nothing arrived.
        """
        return usage_of_call(
            self.request_id,
            model,
            counted,
            self._type,
            finished=finished,
            status=status,
            prompt_tokens=prompt_tokens,
            answer_tokens=(lambda: tokens.count(arrived, model)) if arrived else None,
        )

    def settled(self, cost_nano: int | None) -> None:
        """The turn is stored, with what it cost."""
        if self._limits.budget is not None:
            self._limits.budget.settle(self.request_id, cost_nano or 0)

    def limited(self, options: Mapping[str, OptionValue]) -> Mapping[str, OptionValue]:
        """The options to send: with the longest answer that is paid for."""
        limit = self.admission.output_limit
        if limit is None or any(name in options for name in OUTPUT_LIMITS):
            return options
        return {**options, "max_tokens": limit}

    def warnings(self) -> Iterator[str]:
        """What the user should hear now that the turn is paid for."""
        before = self.admission.before
        if before is None:
            return
        with suppress(StorageError):
            yield from warnings(before, standing(self._books, self._limits))

    def _require_consent(self, call: Call) -> None:
        price, threshold = call.model.price, self._limits.confirm_nano
        if self._confirm is None or threshold is None or price is None:
            return
        if most_nano(price, call.most_input, 0) <= threshold:
            return
        counted = call.input_tokens()
        prompt_nano = most_nano(price, counted, 0)
        if prompt_nano > threshold:
            whole = most_nano(price, counted, call.longest_answer * call.answers)
            self._confirm(PromptEstimate(call.model.name, counted, prompt_nano, whole - prompt_nano))


def _most_of_file(file: AttachmentSummary, model: Model) -> int:
    """Of a file without content nothing but its kind is known, as where a provider fetches it by its address."""
    if file.kind == "image":
        return _MOST_PER_IMAGE_MINI if "gpt-4o-mini" in model.wire_name else _MOST_PER_IMAGE
    if file.kind == "pdf" and not file.bytes:
        return 2 * tokens.MOST_TOKENS_PER_PDF
    return 2 * tokens.estimate_file(file)


def _most_of(options: Mapping[str, OptionValue], names: Sequence[str]) -> int | None:
    """The largest number that is given under one of the names, whichever of them a wire keeps."""
    given = [options.get(name) for name in names]
    numbers = [
        ceil(value)
        for value in given
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    ]
    return max((number for number in numbers if number > 0), default=None)
