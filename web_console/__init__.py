"""The console: page shells, built assets, and the front end that makes them (`frontend/`)."""
