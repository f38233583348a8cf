"""The room of checks before the start: each looks at one thing and gives a verdict; none shows or starts."""
