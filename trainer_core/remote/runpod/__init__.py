"""RunPod serverless: a small client, what its answers mean, and the one state of a remote run. Not: what is trained.

* `client`: the requests, with their limits; `connection`: how one request is sent; `web_address`: where to
* `answers`: the bodies of responses as types; `refusals`: what is wrong, as sentences
* `limits`: the times and sizes that RunPod allows
* `settle`: from all that is known of a remote run to its state
* `webhook`: the address that RunPod calls when a job has ended

Source: RunPod documentation, "Send API requests", "Operation reference", "Job states and metrics", and the source of
runpod-python 1.12.0 (serverless/modules/rp_job.py). Easel was tried with a server of its own on this machine that answers as
these documents say; no account in the cloud was used.
"""
