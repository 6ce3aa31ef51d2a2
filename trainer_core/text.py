"""Makes untrusted text (file names, captions, logs, metadata) safe to show. Standard library only."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

# Characters of these classes can control a terminal, reverse the reading direction, or cannot be encoded. Callers that
# want several lines keep line breaks and tabs.
HIDDEN_CLASSES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Colours and cursor moves (CSI), and links and titles (OSC), which end with BEL or ESC \\.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")

# Letters that Unicode does not decompose.
_PLAIN = str.maketrans(
    {
        "ß": "ss",
        "ẞ": "SS",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "Ð": "D",
        "þ": "th",
        "Þ": "Th",
    }
)


def without_escapes(text: str) -> str:
    """The text that a program wrote for a terminal, without colours, cursor moves and links."""
    return _ESCAPES.sub("", text)


def plain_letters(text: str) -> str:
    """The text with letters that have a plain form in ASCII in that form: "Éloïse Straße" becomes "Eloise Strasse"."""
    parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(char for char in parts if not unicodedata.combining(char))


def size(count: float) -> str:
    """A number of bytes in a unit that suits it, such as "1.4 GiB", "35.0 KiB"."""
    for unit, width in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= width:
            return f"{count / width:.1f} {unit}"
    return f"{count:.0f} bytes"


def plain_number(number: float, digits: int = 3) -> str:
    """A number rounded to so many significant digits, never with an exponent: "1,600", "0.05"."""
    rounded = Decimal(f"{number:.{digits}g}")
    return f"{rounded:,f}" if rounded.is_finite() else str(number)


def amount(number: int, what: str) -> str:
    """A number of things with their name in singular or plural, such as "1 image", "1,200 images"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def printable(text: str, limit: int = 2000, keep: str = "") -> str:
    """The text with control, direction and surrogate characters shown as escapes, cut to `limit` characters.

    `keep` lists characters that stay as they are, for example a line break.
    """
    shown = "".join(
        char if char in keep or unicodedata.category(char) not in HIDDEN_CLASSES else f"\\u{ord(char):04x}"
        for char in text[: limit + 1]
    )
    return shown if len(text) <= limit else shown[:limit] + "…"


# Tokens by their prefixes: Hugging Face, GitHub, GitLab, RunPod, OpenAI, Amazon, Google, Slack, JSON web tokens; and 32 hexadecimal
# digits, as Civitai uses.
# The first ones are found even where they follow a letter, such as the end of a colour.
TOKEN = re.compile(
    r"(?:(?:hf|api_org)_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|rpa_[A-Za-z0-9]{20,}"
    r"|A(?:KI|SI)A[0-9A-Z]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{10,}|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}|(?<![0-9A-Za-z])[0-9a-f]{32}(?![0-9a-f]))"
)
_USER = re.compile(r"(?<=://)[^/\s@]{1,200}@")
_USER_OF_LINK = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{1,20}:/{1,2})[^/\s@]{1,200}@", re.IGNORECASE)
"""As above; a path that was made of an address has only one slash."""
_BEARER = re.compile(
    r"\b(?P<kept>(?:Bearer|Basic)[ =:]+|Authorization[\"']?[ =:]+[\"']?(?:Token +)?)(?!Bearer|Basic)[\w.~+/=-]{6,}",
    re.IGNORECASE,
)
# A variable, an option or a key whose name says that its value is a secret. Not: keep_tokens, token_warmup, max_token_length.
_NAMED = re.compile(
    r"(?P<kept>(?<![A-Za-z])(?:[A-Za-z][\w-]{0,60}?[_-])?"
    r"(?:token|secret|passw(?:or)?d|passwd|api_?key|apikey|access_?key(?:_?id)?|secret_?key|private_?key|credentials?|webhook(?:_?url)?)"
    r"[\"']?\s{0,4}[=:]\s{0,4}(?:[\"']|(?=[\w%+/])))(?!(?:none|null|true|false|\d{1,5})\b)[^\s\"',;&}\])]{4,}",
    re.IGNORECASE,
)
_SIGNED = re.compile(
    r"(?P<kept>[?&](?:X-(?:Amz|Goog)-[\w-]+|Signature|sig|se|sp|sv|token|access_token|api_?key|key|Key-Pair-Id|Policy|AWSAccessKeyId"
    r"|auth|hash|secret|password)=)[^&\s\"'<>)]+",
    re.IGNORECASE,
)
SECRETS = (_SIGNED, _BEARER, _NAMED)
WEBHOOK = re.compile(
    r"https?://(?:[\w-]+\.)*(?:discord(?:app)?\.com/api/webhooks|hooks\.slack\.com|api\.telegram\.org/bot|ntfy\.sh|maker\.ifttt\.com"
    r"|[\w.-]*webhook[\w.-]*)[^\s\"'<>)\]]*|https?://[^\s\"'<>)\]]*webhook[^\s\"'<>)\]]*",
    re.IGNORECASE,
)
"""An address with which anybody can send messages in the name of its owner."""


def without_secrets(text: str) -> str:
    """The text without tokens, passwords, the signatures of addresses, and the user and password of an address."""
    return counted_secrets(text)[0]


def without_link_secrets(text: str) -> str:
    """The text without the user, the password and the signatures in addresses; unlike `without_secrets` it changes nothing else."""
    if "@" in text:
        text = _USER_OF_LINK.sub(r"\g<scheme>", text)
    return _SIGNED.sub(_hidden, text) if "=" in text else text


def counted_secrets(text: str) -> tuple[str, int]:
    """The text as from `without_secrets`, and how many secrets were taken out."""
    text, total = WEBHOOK.subn("[webhook]", text)
    text, count = _USER.subn("", text)
    total += count
    text, count = TOKEN.subn("[token]", text)
    total += count
    for pattern in SECRETS:
        text, count = pattern.subn(_hidden, text)
        total += count
    return text, total


def _hidden(found: re.Match[str]) -> str:
    return f"{found['kept']}[token]"


NEAR = 0.75
"""The similarity from which on one name is likely a misspelling of another: one wrong letter in four."""
WRONG_LETTERS = 2
"""The most letters by which a misspelling is longer or shorter; max_steps is none of max_timestep."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant: a misspelling, or one that begins with this name; else ""."""
    near = (each for each in known if abs(len(each) - len(name)) <= WRONG_LETTERS or each.startswith(name))
    return next(iter(difflib.get_close_matches(name, list(near), 1, NEAR)), "")
