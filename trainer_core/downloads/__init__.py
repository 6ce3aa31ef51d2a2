"""Models from elsewhere: what a link is, what lies behind it, and bringing it here.

```
text - parse -> Link - resolve -> Remote - read_header -> Header
                                         - download -> Path
```
"""

from __future__ import annotations

from trainer_core.downloads.fetch import download, folder_for
from trainer_core.downloads.http import Patience
from trainer_core.downloads.links import Link, parse, shown
from trainer_core.downloads.look import read_header, resolve
from trainer_core.downloads.progress import Progress
from trainer_core.downloads.remote import Remote, RemoteFile

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
