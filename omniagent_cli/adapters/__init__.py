"""Our sessions behind other people's interfaces."""
