"""Where units are: WGS 84 degrees, metres, metres per second."""
