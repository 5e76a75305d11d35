"""Sessions whose text is kept by OpenAI's Conversations API."""
