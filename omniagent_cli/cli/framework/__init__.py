"""Shared parts of all commands: context, groups, options, exit codes, session selection."""
