"""Where media comes in that is not a WebRTC peer: camera pulls, each in a worker process of its own."""
