"""Payload encryption and compression: ciphers, codec, manifest, key access."""
