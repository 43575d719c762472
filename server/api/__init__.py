"""HTTP: thin handlers, each one row of a table with what it requires (`server.api.table`)."""
