"""The scripts of an export: what installs, trains and keeps the results, the same for every scheduler. Every text is quoted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer_core import __version__
from trainer_core.remote.export.source import Source
from trainer_core.remote.export.task import FILES, RESULTS, Mount

SETUP, TRAIN, PLAN = "setup.sh", "train.sh", "plan.toml"
KEPT = ("engine.log", "events.jsonl", "plan.toml", "result.json", "spec.json", "versions.json", "output")
"""What of a run is kept beside its result: log, losses, checkpoints and samples."""

_SETUP = """\
#!/bin/bash
# Made by Easel {version}. Installs Easel and the engine if they are not there, and fetches what was not sent.
set -euo pipefail
files=$(cd "$(dirname "$0")" && pwd)
job=$(dirname "$files")
easel={folder}
{install}
cd "$job"
{fetch}
"""
_INSTALL = """\
mkdir -p "$(dirname "$easel")"
exec 9> "$easel.lock"
flock 9
if [ ! -e "$easel/installer.py" ]; then
    rm -rf "$easel.new"
    {fetch}
    mv -T "$easel.new" "$easel"
fi
(cd "$easel" && python3 installer.py{engine})
exec 9>&-
"""
_CHECK = """\
if [ ! -x "$easel/.venv/bin/easel" ]; then
    echo "There is no Easel in $easel on this machine. Install it there, or export without --easel." >&2
    exit 1
fi
"""
_TRAIN = """\
#!/bin/bash
# Made by Easel {version}. Trains the plan beside it. The results are in the folder {results}, also those of a run that failed.
set -uo pipefail
files=$(cd "$(dirname "$0")" && pwd)
job=$(dirname "$files")
easel={folder}
cd "$job" || exit 1
# A stop while the training is being started is kept until it can be passed on.
stopped=
trap 'stopped=yes' TERM INT
"$easel/.venv/bin/easel" train "$files/{plan}" --detach --json > started.json
code=$?
if [ "$code" != 0 ]; then
    cat started.json >&2
    exit "$code"
fi
value() {{ "$easel/.venv/bin/python" -c 'import json, sys; print(json.load(open("started.json"))[sys.argv[1]])' "$1"; }}
run=$(value run)
folder=$(value folder)
# The training is a process of its own: it would go on if this script were only killed.
trap '"$easel/.venv/bin/easel" runs stop "$run"' TERM INT
if [ -n "$stopped" ]; then
    "$easel/.venv/bin/easel" runs stop "$run"
fi
"$easel/.venv/bin/easel" runs follow "$run" &
follower=$!
while true; do
    wait "$follower"
    code=$?
    kill -0 "$follower" 2> /dev/null || break
done
kept={results}/$run
mkdir -p "$kept"
for name in {kept}; do
    if [ -e "$folder/$name" ]; then
        cp -al "$folder/$name" "$kept/" 2> /dev/null || cp -a "$folder/$name" "$kept/" || code=1
    fi
done
{upload}exit "$code"
"""
_UPLOAD = """\
if ! "$easel/.venv/bin/easel" remote s3 upload {results} --to {address}"$run/"; then
    echo "The results could not be uploaded. They are in $job/{results}." >&2
    code=1
fi
"""


def setup(source: Source, engine: str, fetched: Sequence[Mount], bucket: str, model_from: str, model: str) -> str:
    """The script that prepares the machine. `engine` is "" for one that needs no installation.

    `fetched` come from the `bucket`, the base model from the link `model_from` to the path `model`.
    """
    installs = f" && python3 installer.py backend install {shlex.quote(engine)}" if engine else ""
    install = _INSTALL.format(fetch="\n    ".join(source.fetch), engine=installs) if source.fetch else _CHECK
    fetch = [_download(mount, bucket) for mount in fetched]
    fetch += [_model(model_from, model)] if model_from else []
    return _SETUP.format(version=__version__, folder=source.folder, install=install, fetch="\n".join(fetch) or ":")


def _download(mount: Mount, bucket: str) -> str:
    folder = mount.target if mount.is_folder else mount.target.parent
    name = f"{mount.target}/" if mount.is_folder else str(mount.target)
    quoted = shlex.quote(str(folder))
    return f'mkdir -p {quoted}\n"$easel/.venv/bin/easel" remote s3 download {shlex.quote(bucket + name)} --to {quoted}'


def _model(link: str, model: str) -> str:
    """The lines that download the base model once, and link it to the path that the plan has."""
    find = "import json, sys; print(json.load(sys.stdin)['path'])"
    return (
        "mkdir -p models\n"
        f'path=$("$easel/.venv/bin/easel" models download --json --to models/downloaded -- {shlex.quote(link)} '
        f'| "$easel/.venv/bin/python" -c {shlex.quote(find)})\n'
        f'ln -sfn "$(realpath "$path")" {shlex.quote(model)}'
    )


def train(source: Source, bucket: str) -> str:
    """The script that trains, and keeps what the run made; with a `bucket` it uploads that."""
    upload = _UPLOAD.format(results=RESULTS, address=shlex.quote(f"{bucket}{RESULTS}/")) if bucket else ""
    kept = " ".join(KEPT)
    return _TRAIN.format(
        version=__version__, folder=source.folder, plan=PLAN, results=RESULTS, kept=kept, upload=upload
    )


def upload(mounts: Iterable[Mount], bucket: str) -> str:
    """The script that the user runs here, to bring the files of a plan into the bucket."""
    easel = shlex.quote(str(Path(sys.executable).with_name("easel")))
    lines = [
        "#!/bin/bash",
        f"# Made by Easel {__version__}. Run this on the machine with the files, before the task is started.",
        "set -euo pipefail",
    ]
    for mount in mounts:
        key = f"{mount.target}/" if mount.is_folder else str(mount.target)
        lines.append(f"{easel} remote s3 upload {shlex.quote(str(mount.source))} --to {shlex.quote(bucket + key)}")
    return "\n".join(lines) + "\n"


def there(name: str) -> str:
    """The path of a script in the folder of the task."""
    return f"{FILES}/{name}"
