"""Profiles: curated training settings as data, with a reason and a source for every value. Not: paths, triggers or an engine's own options.

A profile is untrusted, because communities share them: it is data only, and cannot contain paths, the trigger word, outputs
or native settings. `reading` and `checks` define what a file may contain; docs/guide/profiles.md explains it to users.
"""

from __future__ import annotations

from trainer_core.profiles.checks import uncited
from trainer_core.profiles.difference import Beside, Change, compare, diff
from trainer_core.profiles.exporting import Draft, by_name, checked, from_plan
from trainer_core.profiles.fetching import Incoming, incoming, uploaded
from trainer_core.profiles.lora import from_lora
from trainer_core.profiles.profile import FORMAT, Profile, Reference, Trial
from trainer_core.profiles.shelf import (
    for_family,
    known,
    load,
    loads,
    own,
    own_folder,
    put_back,
    remove,
    save,
    shipped,
    shipped_folder,
)
from trainer_core.profiles.writing import dumps

__all__ = [
    "FORMAT",
    "Beside",
    "Change",
    "Draft",
    "Incoming",
    "Profile",
    "Reference",
    "Trial",
    "by_name",
    "checked",
    "compare",
    "diff",
    "dumps",
    "for_family",
    "from_lora",
    "from_plan",
    "incoming",
    "known",
    "load",
    "loads",
    "own",
    "own_folder",
    "put_back",
    "remove",
    "save",
    "shipped",
    "shipped_folder",
    "uncited",
    "uploaded",
]
