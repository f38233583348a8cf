"""The room of processes and their files: spawning, identity, stopping, logs, records."""
