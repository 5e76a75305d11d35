"""The conversation window sent to a model: selection, tokens, compaction, titles, cost and attachments."""
