"""`omniagent prompts`: the saved prompts."""
