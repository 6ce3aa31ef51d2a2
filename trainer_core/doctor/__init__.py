"""What `easel doctor` finds out about this machine and its engines, as findings with a fix. Not: repairing it, printing."""
