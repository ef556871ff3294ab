"""Observers of the server's facts: who listens, and the log that people read."""
