"""Talk groups: who may talk, who talks now, and which groups are patched together."""
