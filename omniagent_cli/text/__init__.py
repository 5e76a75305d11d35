"""Untrusted text: words for search, display forms that cannot drive a terminal, redaction of secrets."""
