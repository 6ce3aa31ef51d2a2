"""Takes out of a job's files what is private: secrets, names of people and machines, captions, the names of images.

The same name gets the same replacement in all files, so that they can still be compared. What was replaced is counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from trainer_core.text import counted_secrets, without_escapes

HOME, USER, HOST, CAPTION = "<home>", "<user>", "<host>", "<caption>"
SECRETS, HOMES, USERS, HOSTS, ADDRESSES, CAPTIONS, IMAGES = (
    "tokens, passwords and web hooks",
    "home folders",
    "user names",
    "host names",
    "e-mail and network addresses",
    "captions and prompts",
    "names of images",
)
KINDS = (SECRETS, HOMES, USERS, HOSTS, ADDRESSES, CAPTIONS, IMAGES)
_CAPTION_KEYS = re.compile(
    r"(?:\w+_)?(?:prompts?|captions?|trigger|trigger_word|class_tokens|instance_token|token_string|init_word|initializer_token|tags)\d*"
    r"(?:_(?:prefix|suffix|text|list|library))?",
    re.IGNORECASE,
)
"""The names of settings and entries whose value is a text about the images."""
_CAPTION_LINE = re.compile(
    rf"(?P<kept>\b{_CAPTION_KEYS.pattern}[\"']?(?: embed for validations)?\s*[:=]\s*)(?!\s*\d+%\||\s*(?:None|null|true|false|[\d.]+)\s*(?:$|,|\s{{3}}))(?P<text>\S.*)$",
    re.IGNORECASE,
)
# A home folder on Linux, macOS or Windows, also in an address (%2Fhome%2F) or with doubled backslashes.
_SLASH = r"(?:/|\\{1,4}|%2F|%5C)"
_HOME = re.compile(
    rf"(?:(?<![\w])[A-Za-z]:|%3A)?{_SLASH}(?:home\d*|media|run{_SLASH}media|Users|Benutzer|export{_SLASH}home|var{_SLASH}home){_SLASH}(?P<user>[^/\\%\s\"'<>:;,|*?\[\](){{}}]{{1,64}})"
    rf"|(?<![\w.-]){_SLASH}root(?=$|{_SLASH}|[\s\"':;,)\]])",
    re.IGNORECASE,
)
_SPACED_HOME = re.compile(
    r"(?:(?<!\w)[A-Za-z]:|(?<![\w.-])/mnt/[A-Za-z])[\\/]{1,4}Users[\\/]{1,4}(?P<user>[^\\/:*?\"<>|\n]{1,64})(?=[\\/])",
    re.IGNORECASE,
)
_SHARED = frozenset({"public", "shared", "default", "all users"})
_HOST_LINE = re.compile(
    r"(?P<kept>\b(?:host|hostname|nodename|node|computer)(?:_?name)?[\"']?\s*[:=]\s*[\"']?)(?P<host>[A-Za-z][\w.-]{1,100})",
    re.IGNORECASE,
)
_AT_HOST = re.compile(r"\b(?P<user>[a-z_][\w.-]{0,31})@(?P<host>[A-Za-z][\w-]{1,62})(?=[:\s]|$)(?!\.\w)")
_MAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b")
_NETWORK = re.compile(
    r"(?<![\w.])(?:(?<=//)|(?<=@)|(?<=\bhost ))?(?!127\.|0\.0\.0\.0|255\.)(?:\d{1,3}\.){3}\d{1,3}(?=[:/]\d|[/\s\"')\]]|$)"
)
_IMAGE_ENDINGS = "png|jpe?g|webp|bmp|gif|tiff?|avif|jxl|heic"
_IMAGE = re.compile(
    rf"(?P<stem>[^/\\\n\"'<>|:*?\s=,(\[]{{1,200}}|(?<=[/\\])[^/\\\n\"'<>|:*?]{{1,200}})\.(?P<ending>{_IMAGE_ENDINGS})\b",
    re.IGNORECASE,
)
_COMMON_WORDS = frozenset(
    {
        "root",
        "user",
        "users",
        "home",
        "admin",
        "runner",
        "ubuntu",
        "easel",
        "train",
        "data",
        "model",
        "models",
        "local",
        "localhost",
        "none",
        "main",
        "test",
        "disk",
        "cdrom",
        "external",
        "storage",
        "usb",
        "ssd",
        "hdd",
    }
)
"""User and host names that are ordinary words: replaced in paths only, so that the text stays readable."""
_SHORTEST_PREFIX = 16
_TAGS = 3


@dataclass
class Private:
    """What is known to be private.

    Attributes:
        users: User names; more are found in the paths of home folders.
        hosts: Host names.
        homes: Home folders.
        texts: Captions, prompts and trigger words.
        images: File names of images, without folders.
    """

    users: set[str] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    homes: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)


class Redactor:
    """Replaces what is private in texts and JSON data; `counts` has how often each kind was replaced."""

    def __init__(self, private: Private, *, with_captions: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._captions = not with_captions
        self._users, self._hosts = set(private.users), set(private.hosts)
        self._homes = sorted(
            {home.rstrip("/\\") for home in private.homes if len(home.rstrip("/\\")) > 1}, key=len, reverse=True
        )
        self._texts = sorted((text.strip() for text in private.texts if len(text.strip()) >= 2), key=len, reverse=True)
        self._tags = {tag.strip() for text in self._texts for tag in text.split(",") if len(tag.strip()) >= 4}
        self._numbers: dict[str, str] = {}
        self._stems = sorted({PurePath(name).stem for name in private.images}, key=len, reverse=True)
        for stem in sorted(self._stems):
            self._numbered(stem)

    def learn(self, text: str) -> None:
        """Finds names of users and hosts in a text; call it for all texts before the first is redacted."""
        for found in (*_HOME.finditer(text), *_SPACED_HOME.finditer(text)):
            user = found["user"]
            if user and user.lower() not in _SHARED:
                self._users.add(user)
        self._hosts |= {found["host"] for pattern in (_HOST_LINE, _AT_HOST) for found in pattern.finditer(text)}
        self._users |= {found["user"] for found in _AT_HOST.finditer(text)}

    def text(self, text: str) -> str:
        """The text, which may have several lines, without what is private."""
        return "\n".join(self._line(line) for line in text.split("\n"))

    def data(self, data: Any, key: str = "") -> Any:
        """JSON data without what is private; the value of an entry about captions is replaced as a whole."""
        if isinstance(data, Mapping):
            return {self._line(str(name)): self.data(value, _key(str(name), key)) for name, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.data(each, key) for each in data]
        if not isinstance(data, str):
            return data
        if self._captions and data and _CAPTION_KEYS.fullmatch(key) and not key.endswith("_extension"):
            self.counts[CAPTIONS] += 1
            return CAPTION
        # As a line of text it would show that the value is a secret.
        shown = self.text(f'{key}="{data}"')
        return shown[len(key) + 2 : -1] if shown.startswith(f'{key}="') else self.text(data)

    def _line(self, line: str) -> str:
        # The end of a colour would be read as the beginning of a word.
        line, count = counted_secrets(without_escapes(line))
        self.counts[SECRETS] += count
        if self._captions:
            line = self._without_captions(line)
        line = self._without_images(line)
        return self._without_people(line)

    def _without_captions(self, line: str) -> str:
        for text in self._texts:
            for form in {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}:
                line = self._replaced(line, form)
        if len(near := [tag for tag in self._tags if tag in line]) >= _TAGS:
            for tag in sorted(near, key=len, reverse=True):
                line = self._sub(re.compile(re.escape(tag)), CAPTION, line, CAPTIONS)
        return self._sub(_CAPTION_LINE, lambda found: f"{found['kept']}{CAPTION}", line, CAPTIONS)

    def _replaced(self, line: str, text: str) -> str:
        """The line without a text, and without a long beginning of it: a log may have cut it."""
        if text in line:
            # A short one, such as a trigger word, must not be replaced within other words.
            whole = rf"(?<!\w){re.escape(text)}" if len(text) < 4 else re.escape(text)
            line = self._sub(re.compile(whole + (r"(?!\w)" if len(text) < 4 else "")), CAPTION, line, CAPTIONS)
        beginning = text[:_SHORTEST_PREFIX]
        while len(beginning) == _SHORTEST_PREFIX and (at := line.find(beginning)) >= 0:
            end = at
            while end < len(line) and end - at < len(text) and line[end] == text[end - at]:
                end += 1
            line = f"{line[:at]}{CAPTION}{line[end:]}"
            self.counts[CAPTIONS] += 1
        return line

    def _without_images(self, line: str) -> str:
        # The known names first: they can contain spaces.
        for stem in self._stems:
            if len(stem) >= 3 and stem in line:
                whole = re.compile(rf"(?<!\w){re.escape(stem)}(?![A-Za-z0-9])")
                line = self._sub(whole, self._numbered(stem), line, IMAGES)
        return self._sub(_IMAGE, lambda found: f"{self._numbered(found['stem'])}.{found['ending']}", line, IMAGES)

    def _numbered(self, stem: str) -> str:
        if re.fullmatch(r"image-\d{3,}", stem):
            return stem
        return self._numbers.setdefault(stem, f"image-{len(self._numbers) + 1:03}")

    def _without_people(self, line: str) -> str:
        line = self._sub(_MAIL, "<address>", line, ADDRESSES)
        for home in self._homes:
            for form in {home, home.replace("\\", "\\\\"), home.replace("/", "%2F")}:
                line = self._sub(re.compile(rf"{re.escape(form)}(?![\w-]|\.\w)"), HOME, line, HOMES)
        for pattern in (_SPACED_HOME, _HOME):
            line = self._sub(pattern, HOME, line, HOMES)
        line = self._sub(_HOST_LINE, lambda found: f"{found['kept']}{HOST}", line, HOSTS)
        for names, shown, kind in ((self._hosts, HOST, HOSTS), (self._users, USER, USERS)):
            for name in sorted(names, key=len, reverse=True):
                if len(name) >= 2 and name.lower() not in _COMMON_WORDS and name.lower() in line.lower():
                    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
                    line = self._sub(word, shown, line, kind)
        return self._sub(_NETWORK, "<address>", line, ADDRESSES)

    def _sub(self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str], line: str, kind: str) -> str:
        line, count = pattern.subn((lambda _: new) if isinstance(new, str) else new, line)
        self.counts[kind] += count
        return line


def _key(name: str, above: str) -> str:
    """The name that tells what an entry is about: the text of a prompt has that of the prompts."""
    return above if name == "text" and _CAPTION_KEYS.fullmatch(above) else name


def named_texts(data: Any, key: str = "") -> Iterable[str]:
    """The captions and prompts in JSON data, by the names of their entries."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from named_texts(value, _key(str(name), key))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from named_texts(value, key)
    elif isinstance(data, str) and data and _CAPTION_KEYS.fullmatch(key):
        yield data
