"""Training on other machines: where datasets and results are stored, and who trains.

* `credentials`: keys and settings for buckets and endpoints, from the environment or a `.env` file
"""
