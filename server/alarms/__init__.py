"""Emergency alarms: from the key that is pressed to the officer who closes it."""
