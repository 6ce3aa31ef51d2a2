"""The panels of the apps: each is a widget that shows the state of a session. Not the state itself."""
