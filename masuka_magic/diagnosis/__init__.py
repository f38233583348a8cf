"""The room that names causes: evidence in, findings out; it reads no file and starts nothing."""
