"""Store whose messages are kept by OpenAI's Conversations API."""
