"""The Agent Client Protocol: editors run turns in the sessions of a store."""
