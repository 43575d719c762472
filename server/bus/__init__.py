"""Events between modules and nodes, never media. In memory for one node, over Redis for several."""
