"""A process that reads headers for a scan: it reads one path per line as a JSON string and writes one JSON row for each."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from trainer_core.models.library.reading import recognise

if __name__ == "__main__":
    # A header is ten thousand small objects without reference cycles: searching for cycles takes a tenth of the time.
    gc.disable()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(recognise(Path(json.loads(line)))) + "\n")
        sys.stdout.flush()
