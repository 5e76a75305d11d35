"""Real servers on this machine for tests, in place of what is far away."""
