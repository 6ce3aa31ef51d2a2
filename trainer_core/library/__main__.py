"""A process that reads headers for a scan: takes paths as JSON strings, one a line, and answers each by a row of JSON."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from trainer_core.library.reading import recognise

if __name__ == "__main__":
    # A header is ten thousand small objects without circles: looking for those is a tenth of the time.
    gc.disable()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(recognise(Path(json.loads(line)))) + "\n")
        sys.stdout.flush()
