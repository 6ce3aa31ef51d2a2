"""Submits the job beside this file to a Ray cluster, such as: python submit.py --address http://127.0.0.1:8265 --follow.

It needs the package `ray[default]`. The variables that the job names are taken from your environment, if they are set there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import secrets
import shlex
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


def main() -> int:
    """The exit code: 0 done, 1 the job did not succeed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS", "http://127.0.0.1:8265"))
    parser.add_argument("--results", default="", help="the folder for the results, on the node of the job's driver")
    parser.add_argument("--follow", action="store_true", help="wait until the job has ended, and show its log")
    given = parser.parse_args()
    # Without this, Ray leaves out what a .gitignore of yours names, also one in a folder above.
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"
    client = importlib.import_module("ray.job_submission").JobSubmissionClient(given.address)
    name = f"easel-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    passed = json.loads((HERE / "work" / "job.json").read_text("utf-8"))["passed"]
    values = {variable: os.environ[variable] for variable in passed if os.environ.get(variable)}
    missing = [variable for variable in passed if variable not in values]
    if missing:
        print(f"Not set here, so not passed on: {', '.join(missing)}", file=sys.stderr)
    words = ["python", "job.py", "--id", name, *(["--results", given.results] if given.results else [])]
    client.submit_job(
        entrypoint=shlex.join(words),
        submission_id=name,
        runtime_env={"working_dir": str(HERE / "work"), "env_vars": values},
    )
    print(name, flush=True)
    print(f"Its log: ray job logs --address {given.address} --follow {name}", file=sys.stderr)
    print(f"Stop it: ray job stop --address {given.address} {name}", file=sys.stderr)
    return _followed(client, name) if given.follow else 0


def _followed(client: Any, name: str) -> int:
    shown = 0
    while True:
        status = str(client.get_job_status(name).value)
        log = client.get_job_logs(name)
        print(log[shown:], end="", flush=True)
        shown = len(log)
        if status in ENDED:
            print(status)
            return 0 if status == "SUCCEEDED" else 1
        time.sleep(2)


if __name__ == "__main__":
    sys.exit(main())
