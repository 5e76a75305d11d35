"""The checks of `omniagent doctor`, one module per area; each yields findings and changes nothing."""
