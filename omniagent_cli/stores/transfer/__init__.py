"""Copying sessions between stores."""
