"""The worker of RunPod: what a container of a serverless endpoint runs. Not: anything that is imported elsewhere.

    python -m trainer_core.remote.worker

* `__main__`: starts RunPod's own library with the handler; `handler`: one request as a coroutine that can be cancelled
* `asked`: the two forms of a request, checked; `mapping` with `passes` and `workflow.toml`: a workflow of ComfyUI as settings of a plan
* `models`, `images`: what a request needs, brought onto this machine
* `working`: a request from its start to its end; `room`: its folders, its space, and what an earlier worker left
* `mirror`: what the run writes, kept in the bucket; `answers`: what the caller gets
"""
