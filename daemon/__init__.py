"""The process: settings, wiring, supervision, HTTP API, command line. Imported by nobody."""
