"""Downloads models: parses links, finds the files they lead to, reads their headers, and fetches them. Not: what a model is.

```
text - parse -> Link - resolve -> Remote - read_header -> Header
                                         - download -> Path
```
"""

from __future__ import annotations

from trainer_core.models.downloads.fetch import download, folder_for
from trainer_core.models.downloads.http import Patience
from trainer_core.models.downloads.links import Link, parse, shown
from trainer_core.models.downloads.look import read_header, resolve
from trainer_core.models.downloads.progress import Progress
from trainer_core.models.downloads.remote import Remote, RemoteFile

__all__ = [
    "Link",
    "Patience",
    "Progress",
    "Remote",
    "RemoteFile",
    "download",
    "folder_for",
    "parse",
    "read_header",
    "resolve",
    "shown",
]
