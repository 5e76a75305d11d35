"""Adapters: stores and agents behind the protocols of other programs."""
