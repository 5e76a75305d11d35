"""Other forms of a session."""
