"""Who waits for the floor, in the order in which they get it (TS 24.380 4.1.1.2). Pure."""
