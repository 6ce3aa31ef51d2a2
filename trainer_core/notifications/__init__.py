"""Messages to a webhook when a job has ended. They contain no paths, captions or log lines, and addresses never leave this room."""
