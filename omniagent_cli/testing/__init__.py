"""What authors of backends and skills test with."""
