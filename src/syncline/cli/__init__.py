"""The command `syncline`. Each command imports what it needs when it runs, so that `--help` stays fast and a missing extra is told."""
