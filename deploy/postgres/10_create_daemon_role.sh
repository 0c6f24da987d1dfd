#!/bin/bash
# Runs once, when the database is first made: the daemon's role with a password. The migrations find the
# role there and grant it what it may do; it owns nothing.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --set password="$LANDBRIDGE_DAEMON_PASSWORD" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE landbridge_daemon LOGIN PASSWORD :'password';
SQL
