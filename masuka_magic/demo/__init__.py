"""The room of the demo: a small real backend and the PostgreSQL it needs; the tests start the same two."""
