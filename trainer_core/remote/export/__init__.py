"""Exports plans as tasks of other schedulers. Not: starting them, or an account at one of them.

```
plan, options -- preparing.prepared --> Task -- an exporter of targets/ --> Exported -- writing.write --> files
```

* `task`: what an export contains, and what an exporter must provide
* `preparing`: a plan as a `Task`: checked, with the places of its files there; with `mounts` (its files) and `gpus` (which fit)
* `scripts`: what the machine runs, the same for every scheduler; `source`: Easel as one file
* `targets`: one module for each scheduler, found by `registry`
* `programs`: programs that an export copies
* `writing`: the files of an export
"""
