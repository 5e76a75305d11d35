"""omniagent: a local agent for the terminal whose conversations belong to the person who had them."""

__version__ = "0.1.0"
