"""People, vehicles and their devices: what is registered, who is there, who may join by a link."""
