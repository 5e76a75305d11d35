"""What `omniagent doctor` looks at: one module an area, each a function that yields findings and changes nothing."""
