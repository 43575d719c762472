"""What must survive a restart: `tables` say what, `engine` says how."""
