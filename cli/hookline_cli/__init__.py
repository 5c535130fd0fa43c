"""
The `hookline` command.

`main` finds the command that was asked for and imports nothing else, so that `--help` is quick; each command is a
module of its own. `failure` says what exit codes mean; `output` prints tables for people and JSON for scripts.
"""
