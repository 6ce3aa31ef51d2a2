"""What a job and its machine use while the job runs: GPUs, RAM, CPU, disk space. Not what training says: that is `training/`."""
