#!/bin/sh
# An action: notes a new group in groups.txt of the handler's data folder, once, however often it is run.
set -eu
touch groups.txt
grep -q "^$HOOKLINE_IDEMPOTENCY_KEY " groups.txt || echo "$HOOKLINE_IDEMPOTENCY_KEY group $1 of $2" >> groups.txt
