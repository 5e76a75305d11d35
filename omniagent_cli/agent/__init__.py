"""Turns: a question, the model, its tools, the answer."""
