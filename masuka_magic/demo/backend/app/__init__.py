"""The demo's backend: projects in PostgreSQL over HTTP. It knows nothing of masuka_magic."""
