"""The panels of a notebook: each is a widget over the session, and shows it anew when it changed."""
