"""How a text from elsewhere, a file or a command's output, stands in a prompt: between tags that it cannot close."""

from __future__ import annotations

import re
from itertools import count

MOST_OUTPUT_CHARACTERS = 100_000
"""Of a command's output; more is cut in the middle, where the least is usually lost."""

# CSI, strings (OSC, DCS, SOS, PM, APC) up to their end or the end of the line, and two-character sequences.
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def file_block(name: str, text: str) -> str:
    """A file's exact text between tags that name it; a newline is added where the text does not end with one.

    Models follow XML-like tags best in long prompts. Where the text holds the closing tag, a number makes another tag.
    """
    return _between_tags("file", f'name="{_attribute(name)}"', text)


def command_output_block(command: str, output: str, code: int) -> str:
    """What a shell command printed, for a prompt, without control sequences; what is cut is said in its place."""
    attributes = f'command="{_attribute(command)}" exit_code="{code}"'
    return _between_tags("output", attributes, _shortened(_plain(output)))


def passage_block(number: int, source: str, heading: str, text: str) -> str:
    """A numbered passage of a document, for a prompt, without control sequences."""
    attributes = f'number="{number}" source="{_attribute(_plain(source))}"'
    if heading:
        attributes += f' heading="{_attribute(_plain(heading))}"'
    return _between_tags("passage", attributes, _plain(text))


def _between_tags(tag: str, attributes: str, text: str) -> str:
    end = "" if not text or text.endswith("\n") else "\n"
    # Models take `</ FILE` for an end as well.
    closed = set(re.findall(rf"<\s*/\s*{tag}(-[0-9]+)?", text, re.IGNORECASE))
    number = next(f"-{n}" for n in count(2) if f"-{n}" not in closed) if closed else ""
    return f"<{tag}{number} {attributes}>\n{text}{end}</{tag}{number}>"


def _attribute(value: str) -> str:
    """Readable in quotes and on one line; a path or a command keeps its look unless it holds what would end them."""
    return "".join(_ESCAPES.get(character, character) for character in value)


_ESCAPES = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def _plain(output: str) -> str:
    """The text a terminal would be left with: no sequences, and of a line drawn over and over its last state."""
    lines = _SEQUENCE.sub("", output).split("\n")
    return _CONTROL.sub("", "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def _shortened(text: str) -> str:
    if len(text) <= MOST_OUTPUT_CHARACTERS:
        return text
    half = MOST_OUTPUT_CHARACTERS // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out:,} characters left out here ...]\n{text[-half:]}"
