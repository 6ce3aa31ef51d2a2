"""Changes of the user's datasets, each of which can be undone. It reads no engine's rules and trains nothing."""
